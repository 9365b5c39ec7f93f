//! How the two ends find each other, and learn of each other's death: one lock file for each endpoint.
//!
//! The receiver owns the file and three of its bytes carry meaning, not by what is written there but by
//! who has locked them (fcntl(2), `F_SETLK`). The kernel drops a lock when its holder dies, however that
//! comes about, so a lock can never be stale the way a pid in a file can:
//!
//! | byte | locked by | says |
//! |---|---|---|
//! | 0 | the receiver | this endpoint has an owner |
//! | 1 | the receiver | everything that a sender needs is there |
//! | 2 | the sender | this receiver is taken |
//!
//! `F_GETLK` tells the holder's pid, and a pidfd of it (pidfd_open(2)) becomes readable when it ends. Whoever makes the file
//! writes first that it is a lock file of ours, and of which technique: other programs have files that are called so, too,
//! and what they guard is not ours to remove. Each of the two appends a line with its pid. That wakes those who wait for it
//! by inotify(7), and the sender's says for good that a sender has come: the next one, which asks with the lock in its hand,
//! must let go of it again.
//!
//! These are process-associated locks. They suit here for the very property that makes them notorious: a
//! forked child does not share them. The other one, that closing any descriptor of the file drops all of
//! them, is why the file is opened once.
#![expect(unsafe_code, reason = "pidfd_open(2) has no safe wrapper")]

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::unistd::geteuid;

use crate::cleanup::Cleanup;
use crate::endpoint;

#[derive(Clone, Copy)]
enum Byte {
    Owner = 0,
    Ready = 1,
    Sender = 2,
}

/// A receiver's hold on its endpoint.
pub(crate) struct Claim {
    // Dropped in this order: while the objects and the lock file are removed, the locks are still held.
    objects: Vec<Cleanup>,
    _lock: Cleanup,
    file: LockFile,
}

impl Claim {
    /// Takes the endpoint of this technique whose lock file is at `path`. What a dead owner of it left goes first, by
    /// `remove`; so does whatever is there if the name is one that `only_we` ever use.
    ///
    /// # Errors
    /// `EADDRINUSE` where a living receiver has it; [`Foreign`] where the file is another program's or another
    /// technique's; `EPERM` where another user made it; what `remove` says.
    pub(crate) fn take(
        path: &Path,
        technique: &str,
        only_we: bool,
        remove: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Claim> {
        let at = path.to_owned();
        let undo = move || {
            let _ = fs::remove_file(at);
            endpoint::remove_runtime_dir_if_empty();
        };
        let take = || {
            let (file, stale) = own(path, technique)?;
            if stale || only_we {
                match remove() {
                    Err(error) if !is_gone(&error) => {
                        undo();
                        return Err(error);
                    }
                    _ => {}
                }
            }
            Ok((file, undo))
        };
        let (file, lock) = Cleanup::create(take)?;
        Ok(Claim { objects: Vec::new(), _lock: lock, file })
    }

    /// Keeps what undoes the creation of an object for as long as this claim lives.
    pub(crate) fn keep(&mut self, object: Cleanup) {
        self.objects.push(object);
    }

    /// Lets senders in.
    pub(crate) fn ready(&self) -> io::Result<()> {
        lock(&self.file.0, Byte::Ready)?;
        write_line(&self.file.0, "receiver")
    }

    /// What finds the sender that has attached: its pid and, while it lives, a pidfd of it.
    pub(crate) fn sender(&self) -> impl Fn() -> io::Result<Option<(i32, Option<OwnedFd>)>> + Send + use<> {
        let file = Arc::clone(&self.file.0);
        move || attached_sender(&file)
    }

    /// What tells of changes of the lock file, which is at `path`.
    pub(crate) fn changes(&self, path: &Path) -> io::Result<Inotify> {
        let changes = inotify()?;
        watch(&changes, path)?;
        Ok(changes)
    }
}

impl AsFd for Claim {
    /// The lock file.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.0.as_fd()
    }
}

/// Waits, in a thread of its own, until the sender has come and gone; `own` are the receiver's lock file and what tells
/// of its changes.
pub(crate) fn sender_death(own: Vec<OwnedFd>) -> io::Result<()> {
    let mut own = own.into_iter().map(File::from);
    let (Some(file), Some(mut changes)) = (own.next(), own.next()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // Never closed: in a table that is shared, this would release the receiver's locks.
    let file = ManuallyDrop::new(file);
    loop {
        match attached_sender(&file)? {
            Some((_, Some(pidfd))) => return wait_for_exit(&pidfd),
            Some((_, None)) => return Ok(()),
            // What has changed makes no difference.
            None => match changes.read(&mut [0; 4096]) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            },
        }
    }
}

/// A file is called as a lock file of ours would be, and is none, or none of this technique's.
#[derive(Debug)]
pub(crate) struct Foreign(PathBuf);

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.0.display();
        write!(f, "{at} is no lock file of this technique's; remove it or choose another --endpoint")
    }
}

impl std::error::Error for Foreign {}

/// Makes the lock file and locks it. A file that a dead owner left is replaced, never used again: a sender
/// of the dead one may still hold its lock. Returns whether there was one whose owner may have made more than the file.
fn own(path: &Path, technique: &str) -> io::Result<(LockFile, bool)> {
    let mark = format!("ipc-lab {technique}\n");
    let mut stale = false;
    loop {
        let (file, found) = match open(path, true) {
            Ok(file) => (file, false),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match open(path, false) {
                Ok(file) => (file, true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let file = LockFile(Arc::new(file));
        match lock(&file.0, Byte::Owner) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
            }
            other => other?,
        }
        // Between our open and our lock somebody else may have removed or replaced the file.
        let named = fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()));
        let locked = file.0.metadata().map(|meta| (meta.dev(), meta.ino()))?;
        if named.is_ok_and(|named| named == locked) {
            if !found {
                // Before anything else is made: a file without it guards nothing.
                let written = (&*file.0).write_all(mark.as_bytes());
                return written.map(|()| (file, stale)).inspect_err(|_| drop(fs::remove_file(path)));
            }
            match written(&file.0)? {
                text if text.starts_with(&mark) => stale = true,
                // Its owner died as soon as it had made it.
                text if text.is_empty() && is_forsaken(&file.0)? => {}
                _ => return Err(io::Error::new(io::ErrorKind::AlreadyExists, Foreign(path.to_owned()))),
            }
            fs::remove_file(path)?;
        }
    }
}

/// Is this empty file as ours are, and does nobody hold it in another way either (flock(2)), as another program might?
fn is_forsaken(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.mode() & 0o7777 == 0o600 && file.try_lock().is_ok())
}

/// The lock file of an endpoint; its drop releases the locks. It must not be opened twice in one process.
pub(crate) struct LockFile(Arc<File>);

impl Drop for LockFile {
    fn drop(&mut self) {
        // A watching thread may keep the file open for longer; the locks must go now.
        let _ = fcntl(&self.0, FcntlArg::F_SETLK(&range(libc::F_UNLCK, 0, 0)));
    }
}

fn open(path: &Path, create: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        // Wherever the other end's line is by now, ours comes behind it.
        .append(true)
        .create_new(create)
        .mode(0o600)
        // Neither through a link nor waiting for the other end of a FIFO that somebody put here.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.uid() != geteuid().as_raw() {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(file)
}

fn lock(file: &File, byte: Byte) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETLK(&range(libc::F_WRLCK, byte as i64, 1)))?;
    Ok(())
}

/// The pid of the process that has locked the byte.
fn holder(file: &File, byte: Byte) -> io::Result<Option<i32>> {
    let mut lock = range(libc::F_WRLCK, byte as i64, 1);
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok((i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid))
}

/// Writes who this process is, and wakes those who wait for a change of the file.
fn write_line(mut file: &File, role: &str) -> io::Result<()> {
    file.write_all(format!("{role} {}\n", std::process::id()).as_bytes())
}

/// There was nothing to remove, or somebody else has removed it at this moment.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::EIDRM)
}

/// The sender that has attached, whatever has become of it since: its pid and, while it lives, a pidfd of it.
fn attached_sender(file: &File) -> io::Result<Option<(i32, Option<OwnedFd>)>> {
    // In this order: a sender writes while it holds the lock, so if it had written before, and has the lock no more, then
    // it is gone. Asked the other way round, it may have come in between.
    let Some(pid) = written_sender(file)? else { return Ok(None) };
    // Another one may hold the lock for the moment in which it looks whether the receiver is taken.
    let living = death_watch(file, Byte::Sender)?.filter(|(holder, _)| *holder == pid);
    Ok(Some((pid, living.map(|(_, pidfd)| pidfd))))
}

/// The pid that the sender wrote when it attached. It may be another process's by now.
fn written_sender(file: &File) -> io::Result<Option<i32>> {
    Ok(written(file)?.lines().find_map(|line| line.strip_prefix("sender ")?.parse().ok()))
}

/// What stands in a lock file. One of ours is not longer than that.
fn written(file: &File) -> io::Result<String> {
    let mut text = [0; 256];
    let len = file.read_at(&mut text, 0)?;
    Ok(String::from_utf8_lossy(&text[..len]).into_owned())
}

/// The pid of the holder of `byte`, if there is one, and a descriptor that becomes readable when it ends.
fn death_watch(file: &File, byte: Byte) -> io::Result<Option<(i32, OwnedFd)>> {
    while let Some(pid) = holder(file, byte)? {
        match pidfd_open(pid) {
            // Still the holder? Then the descriptor is of the holder, not of a later process with its pid.
            Ok(pidfd) if holder(file, byte)? == Some(pid) => return Ok(Some((pid, pidfd))),
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A sender's hold on a receiver.
pub(crate) struct Attachment {
    _file: LockFile,
    /// Becomes readable when the receiver ends.
    pub(crate) receiver: OwnedFd,
    /// The receiver's process.
    pub(crate) pid: i32,
}

impl Attachment {
    /// Attaches to the receiver that serves the lock file at `path`; `None` while there is none that is
    /// ready and free.
    pub(crate) fn try_new(path: &Path) -> io::Result<Option<Attachment>> {
        let file = match open(path, false) {
            Ok(file) => LockFile(Arc::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if holder(&file.0, Byte::Ready)?.is_none() {
            return Ok(None);
        }
        match lock(&file.0, Byte::Sender) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?,
        }
        // A receiver serves one sender. One that has served its own is about to end and must not be
        // mistaken for the next one.
        if written_sender(&file.0)?.is_some() {
            return Ok(None);
        }
        let Some((pid, receiver)) = death_watch(&file.0, Byte::Ready)? else { return Ok(None) };
        write_line(&file.0, "sender")?;
        Ok(Some(Attachment { _file: file, receiver, pid }))
    }
}

/// Events of `path`: for a folder, that a lock file in it came or changed; for a lock file, that it changed.
pub(crate) fn watch(inotify: &Inotify, path: &Path) -> io::Result<()> {
    let events = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_DELETE_SELF;
    inotify.add_watch(path, events)?;
    Ok(())
}

pub(crate) fn inotify() -> io::Result<Inotify> {
    Ok(Inotify::init(InitFlags::IN_CLOEXEC)?)
}

/// The folder to watch for the coming of `path`.
pub(crate) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Waits until the process of a pidfd ends.
pub(crate) fn wait_for_exit(pidfd: &OwnedFd) -> io::Result<()> {
    wait_for(pidfd, PollFlags::POLLIN)
}

/// Waits until nobody has the other end of a pipe or stream socket any more.
pub(crate) fn wait_for_hang_up(line: &OwnedFd) -> io::Result<()> {
    // POLLHUP, or POLLERR for a pipe's writing end, comes without being asked for.
    wait_for(line, PollFlags::empty())
}

fn wait_for(fd: &OwnedFd, events: PollFlags) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(fd.as_fd(), events)], PollTimeout::NONE) {
            Err(nix::Error::EINTR) => {}
            other => return other.map(drop).map_err(Into::into),
        }
    }
}

pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made this descriptor (close-on-exec), and nobody else knows it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn range(kind: i32, start: i64, len: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: start, l_len: len, l_pid: 0 }
}
