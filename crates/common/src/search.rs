//! How a sender finds its receiver, whichever of them was started first.

use std::io;
use std::path::{Path, PathBuf};

use nix::sys::inotify::Inotify;

use crate::cleanup::Cleanup;
use crate::endpoint;
use crate::link::explain;
use crate::rendezvous::{Attachment, folder_of, inotify, watch};
use crate::{Context, Result};

/// A sender's search for the receiver of one lock file.
pub(crate) struct Search<'a> {
    path: &'a Path,
    folder: PathBuf,
    in_runtime_dir: bool,
    changes: Option<Inotify>,
    /// Keeps the runtime folder from being left behind, should nobody come.
    kept: Option<Cleanup>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(path: &'a Path, in_runtime_dir: bool) -> Search<'a> {
        Search { path, folder: folder_of(path), in_runtime_dir, changes: None, kept: None }
    }

    /// Looks for the receiver; from the second call on, once something has changed. `None` is a reason to call
    /// again. `first_wait` runs before the first wait.
    pub(crate) fn look(&mut self, first_wait: impl Fn()) -> Result<Option<Attachment>> {
        match &self.changes {
            Some(changes) => match changes.read_events() {
                Err(nix::Error::EINTR) => return Ok(None),
                other => drop(other.doing("read inotify")?),
            },
            None => {
                let found = self.attach()?;
                if found.is_some() {
                    return Ok(found);
                }
                first_wait();
                self.changes = Some(inotify().doing("inotify").map_err(explain)?);
            }
        }
        // Watch first, look second: what comes in between is seen by one or the other.
        self.watch()?;
        self.attach()
    }

    fn attach(&self) -> Result<Option<Attachment>> {
        Attachment::try_new(self.path).doing(format!("lock {}", self.path.display())).map_err(explain)
    }

    /// Watches the folder, and makes it where it is the runtime folder.
    fn watch(&mut self) -> Result<()> {
        let Some(changes) = &self.changes else { return Ok(()) };
        loop {
            if self.in_runtime_dir
                && let Some(last) = self.kept.replace(runtime_folder()?)
            {
                last.forget();
            }
            match watch(changes, &self.folder) {
                // Another pair has ended in between and removed the folder, which was empty.
                Err(error) if self.in_runtime_dir && error.kind() == io::ErrorKind::NotFound => {}
                other => return other.doing(format!("watch {}", self.folder.display())),
            }
        }
    }
}

/// Makes the runtime folder. Whoever comes and waits in vain leaves no empty one behind.
pub(crate) fn runtime_folder() -> Result<Cleanup> {
    let mut made = Ok(());
    let create = || {
        made = endpoint::make_runtime_dir();
        Ok(((), endpoint::remove_runtime_dir_if_empty))
    };
    let ((), folder) = Cleanup::create(create).doing("mkdir")?;
    made.map(|()| folder)
}
