//! The files below the root, and nothing else.
//!
//! Names are looked up by the kernel from the root's descriptor, never as a text that was glued together: openat2(2)
//! with `RESOLVE_BENEATH` fails as soon as a step would leave the root, by `..`, by an absolute path or by a symbolic
//! link, whatever anybody renames at that moment. A hard link is no way out: it is the file itself.
//!
//! Manual pages: openat2(2), stat(2), symlink(7), path_resolution(7).

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use crate::reply::Status;
use crate::target::Target;

/// The directory whose files are served.
#[derive(Debug)]
pub struct Root(OwnedFd);

/// What a target names.
#[derive(Debug)]
pub enum Found {
    /// A regular file.
    File {
        /// It, open for reading.
        file: OwnedFd,
        /// Its length in bytes.
        len: u64,
        /// When it was changed last, in whole seconds.
        modified: SystemTime,
        /// The media type that its name promises.
        media_type: Option<&'static str>,
    },
    /// A directory, and the target lacks the slash.
    Directory,
}

impl Root {
    /// Opens the directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`; `ENOSYS` on a kernel before 5.6.
    pub fn open(path: &Path) -> io::Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = Root(open(path, flags, Mode::empty())?);
        root.open_beneath(Path::new("."))?;
        Ok(root)
    }

    /// Finds what a target names; for a directory, the `index.html` in it.
    ///
    /// # Errors
    /// 404 for what does not exist, is not below the root, or is neither file nor directory; 403 for what may not be
    /// read; 503 where descriptors or memory have run out.
    pub fn find(&self, target: &Target) -> Result<Found, Status> {
        let index;
        let path = if target.is_directory() {
            index = target.path().join("index.html");
            &index
        } else {
            target.path()
        };
        // To open a FIFO would disturb whoever waits at its other end, and to open a device can do anything. Whether
        // this look leads out of the root does not matter: nobody is told what it saw.
        if fstatat(&self.0, path, AtFlags::empty()).is_ok_and(|stat| !is(&stat, SFlag::S_IFREG) && !is_directory(&stat))
        {
            return Err(Status::NotFound);
        }
        let file = self.open_beneath(path).map_err(status)?;
        let stat = fstat(&file).map_err(status)?;
        if is_directory(&stat) {
            // An index.html that is a directory is no index.
            return if target.is_directory() { Err(Status::NotFound) } else { Ok(Found::Directory) };
        }
        // It may have been exchanged since the look.
        if !is(&stat, SFlag::S_IFREG) {
            return Err(Status::NotFound);
        }
        Ok(Found::File {
            file,
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0)),
            media_type: mime_guess::from_path(path).first_raw(),
        })
    }

    fn open_beneath(&self, path: &Path) -> nix::Result<OwnedFd> {
        // O_NONBLOCK: to open a FIFO must not wait for a writer, should one have taken the file's place just now.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let how = OpenHow::new().flags(flags).resolve(resolve);
        // EAGAIN: something was renamed while `..` in a link was followed, so that the kernel cannot tell.
        let tries = (0..8).map(|_| openat2(&self.0, path, how));
        let decided = |opened: &nix::Result<OwnedFd>| !matches!(opened, Err(Errno::EAGAIN));
        tries.into_iter().find(decided).unwrap_or(Err(Errno::EAGAIN))
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn is(stat: &FileStat, kind: SFlag) -> bool {
    stat.st_mode & SFlag::S_IFMT.bits() == kind.bits()
}

fn is_directory(stat: &FileStat) -> bool {
    is(stat, SFlag::S_IFDIR)
}

/// What a client is told. EXDEV, a way out of the root, looks like a name that does not exist.
fn status(error: Errno) -> Status {
    match error {
        Errno::EACCES | Errno::EPERM => Status::Forbidden,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN => Status::ServiceUnavailable,
        Errno::EIO => Status::InternalServerError,
        _ => Status::NotFound,
    }
}
