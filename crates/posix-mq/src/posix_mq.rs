//! A POSIX message queue: the kernel keeps whole messages, each with a priority, under a name.
//!
//! A message goes in as one piece and comes out as one piece, the highest priority first and the oldest of
//! equals first. The queue lives in the kernel until it is removed or the machine restarts, whether or not a
//! process has it open.
//!
//! ```text
//! sender  mq_send ──▶ /name: [p1 hello] [p1 world] … up to 10 messages of 8,192 bytes ──▶ mq_receive  receiver
//! ```
//!
//! Manual pages: mq_overview(7), mq_open(3), mq_send(3), mq_receive(3), mq_unlink(3).
#![expect(unsafe_code, reason = "posixmq lends its descriptor as a bare number only")]

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use nix::unistd::geteuid;
use posixmq::{OpenOptions, PosixMq};

/// Messages that the queue holds before a put blocks; `fs.mqueue.msg_max` allows no more by default.
pub const CAPACITY: usize = 10;
/// Bytes in the longest message; `fs.mqueue.msgsize_max` allows no more by default.
pub const MAX_MESSAGE: usize = 8192;

/// One end of a queue.
pub struct Queue(PosixMq);

impl Queue {
    /// Makes the queue, which only this user may open, and opens it for taking.
    ///
    /// # Errors
    /// `EEXIST` where the name exists; `EINVAL` where it is not one `/` and then no other; an explanation where a limit of
    /// the system is too low.
    pub fn create(name: &str) -> io::Result<Queue> {
        check_name(name)?;
        check_limits()?;
        // create_new, because without O_EXCL an existing queue would be opened as it is: with its own
        // sizes, whatever is asked for here, and with a dead program's messages still in it.
        OpenOptions::readonly()
            .create_new()
            .mode(0o600)
            .capacity(CAPACITY)
            .max_msg_len(MAX_MESSAGE)
            .open(name)
            .map(Queue)
            .map_err(explain)
    }

    /// Opens an existing queue of this user's for putting.
    ///
    /// # Errors
    /// `ENOENT`; `EINVAL` as for [`create`](Queue::create); `EPERM` or `EACCES` where the queue is another user's.
    pub fn open(name: &str) -> io::Result<Queue> {
        check_name(name)?;
        let queue = Queue(OpenOptions::writeonly().open(name)?);
        check_owner(&queue)?;
        Ok(queue)
    }

    /// Puts one message in; blocks while the queue is full.
    ///
    /// # Errors
    /// `EMSGSIZE` above [`MAX_MESSAGE`]; `EAGAIN` after [`stop_blocking`].
    pub fn put(&self, priority: u32, message: &[u8]) -> io::Result<()> {
        self.0.send(priority, message)
    }

    /// Takes one message out and returns its priority and length; blocks while the queue is empty. `buffer`
    /// must have room for [`MAX_MESSAGE`] bytes, however short the message is: mq_receive(3) insists.
    ///
    /// # Errors
    /// `EMSGSIZE` for a buffer that is too small; `EAGAIN` after [`stop_blocking`].
    pub fn take(&self, buffer: &mut [u8]) -> io::Result<(u32, usize)> {
        self.0.recv(buffer)
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: a queue descriptor of Linux is a file descriptor, and it is open for as long as the queue is.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}

/// Makes an end fail with `EAGAIN` where it would block; a duplicate of its descriptor does, for both are of one open
/// file description.
/// The crate posixmq goes back to sleep when a signal interrupts it; a signal together with this ends a wait all the
/// same.
///
/// # Errors
/// None in practice; see fcntl(2), `F_SETFL`.
pub fn stop_blocking(queue: impl AsFd) -> io::Result<()> {
    fcntl(queue, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Removes the name; processes that have the queue open go on using it.
///
/// # Errors
/// `ENOENT`; `EPERM` or `EACCES` where the queue is another user's.
pub fn remove(name: &str) -> io::Result<()> {
    check_owner(&Queue(OpenOptions::readonly().open(name)?))?;
    posixmq::remove_queue(name)
}

/// Whoever made the queue can read it, so it must be this user.
fn check_owner(queue: &Queue) -> io::Result<()> {
    if fstat(queue)?.st_uid == geteuid().as_raw() { Ok(()) } else { Err(nix::Error::EPERM.into()) }
}

/// Finds out beforehand what mq_open(3) would answer with a bare `EINVAL` or `EMFILE`.
fn check_limits() -> io::Result<()> {
    for (limit, needed) in [("msg_max", CAPACITY as u64), ("msgsize_max", MAX_MESSAGE as u64)] {
        // No such file: a kernel without this limit, or without message queues, which mq_open will tell.
        let Ok(text) = fs::read_to_string(format!("/proc/sys/fs/mqueue/{limit}")) else { continue };
        if let Ok(allowed) = text.trim().parse::<u64>()
            && allowed < needed
        {
            return Err(io::Error::other(format!(
                "fs.mqueue.{limit} is {allowed} and must be at least {needed}: sudo sysctl fs.mqueue.{limit}={needed}"
            )));
        }
    }
    // What one queue costs, with what the kernel keeps about each message (getrlimit(2), RLIMIT_MSGQUEUE).
    let bytes = (CAPACITY * (MAX_MESSAGE + 96)) as u64;
    let (allowed, _) = getrlimit(Resource::RLIMIT_MSGQUEUE)?;
    if allowed < bytes {
        return Err(io::Error::other(format!(
            "RLIMIT_MSGQUEUE is {allowed} bytes and must be at least {bytes}: ulimit -q unlimited"
        )));
    }
    Ok(())
}

/// The kernel takes names without the slash, and so does the crate posixmq; the C library's mq_open(3), by which programs in
/// other languages find the queue, takes none but these.
fn check_name(name: &str) -> io::Result<()> {
    match name.strip_prefix('/') {
        Some(rest) if !rest.is_empty() && !rest.contains('/') => Ok(()),
        _ => Err(nix::Error::EINVAL.into()),
    }
}

fn explain(error: io::Error) -> io::Error {
    let why = match nix::Error::try_from(error) {
        Ok(nix::Error::EMFILE) => {
            "EMFILE: this user's queues fill RLIMIT_MSGQUEUE (remove old ones or raise ulimit -q), or see ulimit -n"
        }
        Ok(nix::Error::ENOSPC) => "ENOSPC: the system has fs.mqueue.queues_max queues: remove old ones or raise it",
        Ok(nix::Error::ENOSYS) => "ENOSYS: this kernel has no POSIX message queues",
        Ok(other) => return other.into(),
        Err(error) => return error,
    };
    io::Error::other(why)
}
