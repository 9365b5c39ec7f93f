//! An ordinary file as a channel: one process appends to it, the other follows it.
//!
//! A file is the one mechanism here that was never meant for talking. It keeps every byte, it has room until
//! the disk is full, and nobody is told when something is written: read(2) at the end of a file returns 0 at
//! once. So the reader must look again and again, or ask the kernel to be woken: inotify(7).
//!
//! ```text
//! writer  open(O_APPEND)              inotify_add_watch, open(O_RDONLY)  reader
//!         write ──▶ page cache ──▶ read … 0: nothing more yet
//!                       └─ IN_MODIFY ──▶ read(inotify) returns, read again
//! ```
//!
//! Manual pages: open(2), write(2), read(2), inotify(7), poll(2).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::{self, geteuid};

/// Makes the file, empty and only for this user.
///
/// # Errors
/// `EEXIST` where the path exists, whatever it is: nobody's file is emptied or taken over.
pub fn create(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(())
}

/// Removes the name. The bytes go when the last process closes the file.
///
/// # Errors
/// `EEXIST` where the path is not such a file as [`create`] makes; `ENOENT`.
pub fn remove(path: &Path) -> io::Result<()> {
    if !is_ours(&fs::symlink_metadata(path)?) {
        return Err(Errno::EEXIST.into());
    }
    fs::remove_file(path)
}

/// Opens the file for appending: each write goes to where the end is at that moment.
///
/// A write can fail with `ENOSPC` after it has written a part. Beyond `ulimit -f` the signal SIGXFSZ kills the
/// process, unless it ignores the signal: then it is `EFBIG`.
///
/// # Errors
/// `ENOENT`; `EEXIST` as for [`remove`].
pub fn open_appender(path: &Path) -> io::Result<File> {
    // O_APPEND, and not a seek to the end: between a seek and a write another process can write too, and one
    // of the two texts is lost. No O_CREAT: a file that nobody reads would take every byte without a word.
    check(OpenOptions::new().append(true).custom_flags(no_surprise()).open(path)?)
}

/// Reads a file to its end and then waits for more: its `read` never returns 0.
///
/// Nothing in a file says that the writer has finished or died. What is written must say it.
pub struct Follower {
    file: File,
    /// Bytes read so far.
    at: u64,
    /// It has waited since the last byte.
    waited: bool,
    pace: Pace,
}

enum Pace {
    /// Sleeps until the kernel reports a change.
    Woken(Inotify),
    /// Sleeps for this long, whatever happens.
    Polling(PollTimeout),
    /// Does not sleep.
    Spinning,
}

impl Follower {
    /// Follows the file at `path`, woken by each change.
    ///
    /// # Errors
    /// `ENOENT`; `EEXIST` as for [`remove`]; `EMFILE` where this user has `max_user_instances` of inotify.
    pub fn woken(path: &Path) -> io::Result<Follower> {
        let changes = Inotify::init(InitFlags::IN_CLOEXEC)?;
        // The watch comes before the first read. The other way round, what is written in between is neither
        // read nor reported, and the wait that follows may last for ever.
        changes.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        Follower::open(path, Pace::Woken(changes))
    }

    /// Follows the file at `path` by looking every `pause`; 0 looks without a pause.
    ///
    /// # Errors
    /// `ENOENT`; `EEXIST` as for [`remove`]; `EINVAL` for a pause above 24 days.
    pub fn polling(path: &Path, pause: Duration) -> io::Result<Follower> {
        if pause.is_zero() {
            return Follower::open(path, Pace::Spinning);
        }
        let pause = PollTimeout::try_from(pause).map_err(|_| Errno::EINVAL)?;
        Follower::open(path, Pace::Polling(pause))
    }

    fn open(path: &Path, pace: Pace) -> io::Result<Follower> {
        let file = check(OpenOptions::new().read(true).custom_flags(no_surprise()).open(path)?)?;
        Ok(Follower { file, at: 0, waited: false, pace })
    }

    /// Waits until there may be more.
    fn pause(&self) -> io::Result<()> {
        match &self.pace {
            Pace::Woken(changes) => {
                // What has changed is known, so the events need no decoding. Equal ones that wait are merged
                // by the kernel: this queue holds one at most, however much was written.
                unistd::read(changes, &mut [0; 1024])?;
            }
            Pace::Polling(pause) => {
                // A sleep that a signal ends. std::thread::sleep would go on sleeping.
                poll(&mut [], *pause)?;
            }
            // The caller calls again, and so can stop doing so.
            Pace::Spinning => return Err(io::ErrorKind::WouldBlock.into()),
        }
        Ok(())
    }
}

impl Read for Follower {
    /// Waits for bytes. `EINTR` after a signal; `EAGAIN` without a pause and nothing new; `InvalidData` where
    /// the file has shrunk.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.file.read(buffer)?;
            if len > 0 || buffer.is_empty() {
                self.at += len as u64;
                self.waited = false;
                return Ok(len);
            }
            // Something has changed, and there is nothing to read. A reader whose place is behind the end would find
            // nothing ever again, not even new bytes before its place.
            if self.waited && self.file.metadata()?.len() < self.at {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the file was truncated"));
            }
            self.waited = true;
            self.pause()?;
        }
    }
}

/// Neither through a symbolic link nor waiting for the other end of a FIFO that stands there instead.
fn no_surprise() -> i32 {
    (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits()
}

fn check(file: File) -> io::Result<File> {
    if is_ours(&file.metadata()?) { Ok(file) } else { Err(Errno::EEXIST.into()) }
}

/// A regular file of this user's with the mode that [`create`] gives.
fn is_ours(meta: &fs::Metadata) -> bool {
    meta.is_file() && meta.uid() == geteuid().as_raw() && meta.mode() & 0o7777 == 0o600
}
