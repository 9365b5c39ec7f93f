//! A folder for the endpoints of a program that has many.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::unistd::{geteuid, mkdtemp};

use crate::cleanup::Cleanup;
use crate::{Context, Result};

/// A new folder that only this user may enter. It goes away with this value, or when SIGINT, SIGTERM or SIGHUP ends
/// the program.
pub struct Folder {
    path: PathBuf,
    _cleanup: Cleanup,
    /// Shows scripts/leftovers.sh that the folder has an owner.
    _open: File,
}

impl Folder {
    /// Makes it in /tmp, for the path of a socket has at most 108 bytes.
    ///
    /// # Errors
    /// [`Error::System`](crate::Error::System), as of mkdtemp(3).
    pub fn new() -> Result<Folder> {
        let template = format!("/tmp/ipc-lab-{}-run-{}-XXXXXX", geteuid(), std::process::id());
        let create = || {
            let path = mkdtemp(template.as_str())?;
            let open = File::open(&path).inspect_err(|_| drop(fs::remove_dir(&path)))?;
            let undo = path.clone();
            Ok(((path, open), move || drop(fs::remove_dir_all(undo))))
        };
        let ((path, open), cleanup) = Cleanup::create(create).doing(format!("mkdtemp {template}"))?;
        Ok(Folder { path, _cleanup: cleanup, _open: open })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
