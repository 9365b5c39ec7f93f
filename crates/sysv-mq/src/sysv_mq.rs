//! A System V message queue: the kernel keeps whole messages, each with a type, and who takes one says of which.
//!
//! Two programs find the queue by a key, a number that both know. It lives in the kernel until it is removed or the
//! machine restarts. It is no file: there is nothing to open or close, and poll(2) cannot wait for it.
//!
//! ```text
//! sender  msgsnd ──▶ 0xcafe: [3 hello] [1 world] [2 bye] … up to 16,384 bytes ──▶ msgrcv  receiver
//!                                                                   msgtyp   0: hello, the oldest
//!                                                                            2: bye, the oldest of type 2
//!                                                                           -2: world, the lowest type up to 2
//! ```
//!
//! Manual pages: sysvipc(7), msgget(2), msgop(2), msgctl(2).
#![expect(unsafe_code, reason = "the calls have no safe wrapper")]

use std::mem::MaybeUninit;
use std::{fs, io, ptr};

use libc::{c_int, c_long, msqid_ds};
use nix::errno::Errno;
use nix::unistd::geteuid;

/// Bytes in the longest message; `kernel.msgmax` allows no more by default.
pub const MAX_MESSAGE: usize = 8192;

/// Room for one message, to be used again and again.
pub struct Message {
    len: usize,
    buffer: Box<Buffer>,
}

/// What msgsnd(2) and msgrcv(2) take for a message: the type in front, then the text. The length is an argument of its
/// own, and does not count the type.
#[repr(C)]
struct Buffer {
    mtype: c_long,
    mtext: [u8; MAX_MESSAGE],
}

impl Message {
    /// Room, and nothing in it.
    pub fn empty() -> Message {
        Message { len: 0, buffer: Box::new(Buffer { mtype: 1, mtext: [0; MAX_MESSAGE] }) }
    }

    /// Puts a text in. A type is at least 1.
    ///
    /// # Errors
    /// `EMSGSIZE` above [`MAX_MESSAGE`].
    pub fn set(&mut self, mtype: c_long, text: &[u8]) -> io::Result<()> {
        self.buffer.mtext.get_mut(..text.len()).ok_or(Errno::EMSGSIZE)?.copy_from_slice(text);
        (self.len, self.buffer.mtype) = (text.len(), mtype);
        Ok(())
    }

    /// Its type.
    pub fn mtype(&self) -> c_long {
        self.buffer.mtype
    }

    /// Its text.
    pub fn text(&self) -> &[u8] {
        &self.buffer.mtext[..self.len]
    }
}

/// A queue, by the number that the kernel has given it. Dropping it closes nothing, for nothing is open.
pub struct Queue {
    id: c_int,
    /// For msgsnd(2) and msgrcv(2).
    flags: c_int,
}

impl Queue {
    /// Makes the queue, which only this user may use.
    ///
    /// # Errors
    /// `EEXIST` where the key is in use; an explanation where a limit of the system is too low.
    pub fn create(key: i32) -> io::Result<Queue> {
        check_limits()?;
        // IPC_EXCL, because without it a queue that exists is taken as it is: another user's, which everybody may
        // read, or one with a dead program's messages in it.
        get(key, libc::IPC_CREAT | libc::IPC_EXCL | 0o600).map(|id| Queue { id, flags: 0 }).map_err(explain)
    }

    /// Finds an existing queue of this user's.
    ///
    /// # Errors
    /// `ENOENT`; `EIDRM` where the queue is removed meanwhile; `EPERM` or `EACCES` where it is another user's.
    pub fn open(key: i32) -> io::Result<Queue> {
        let id = get(key, 0)?;
        check_owner(id)?;
        Ok(Queue { id, flags: 0 })
    }

    /// Does not wait any more: [`put`](Self::put) and [`take`](Self::take) fail with `EAGAIN` where they would have to.
    pub fn spin(&mut self) {
        self.flags = libc::IPC_NOWAIT;
    }

    /// Puts one message in; blocks while the queue is full.
    ///
    /// # Errors
    /// `EINTR` after a signal, whatever `SA_RESTART` says; `EIDRM` where the queue is gone; `EINVAL` for a type
    /// below 1.
    pub fn put(&self, message: &Message) -> io::Result<()> {
        // SAFETY: `buffer` begins with a long, and `len` bytes of text follow; the kernel reads no more than these.
        let put = unsafe { libc::msgsnd(self.id, ptr::from_ref(&*message.buffer).cast(), message.len, self.flags) };
        Errno::result(put).map(drop).map_err(|error| self.tell(error))
    }

    /// Takes one message out; blocks while there is none that `msgtyp` asks for: 0 is the oldest of all, 3 the
    /// oldest of type 3, -3 the oldest of the lowest type there is from 1 to 3.
    ///
    /// # Errors
    /// As [`put`](Self::put); `E2BIG` for a message above [`MAX_MESSAGE`], which stays in the queue.
    pub fn take(&self, msgtyp: c_long, message: &mut Message) -> io::Result<()> {
        let buffer = ptr::from_mut(&mut *message.buffer).cast();
        // SAFETY: `buffer` has room for a long and `MAX_MESSAGE` bytes, and any bytes will do for both.
        let len = unsafe { libc::msgrcv(self.id, buffer, MAX_MESSAGE, msgtyp, self.flags) };
        message.len = Errno::result(len).map_err(|error| self.tell(error))?.cast_unsigned();
        Ok(())
    }

    /// Who comes after the queue was removed is told `EINVAL`, which could mean anything. And msgrcv(2) says `ENOMSG` where
    /// every other call says `EAGAIN`.
    fn tell(&self, error: Errno) -> io::Error {
        match error {
            Errno::EINVAL if status(self.id).is_err() => Errno::EIDRM.into(),
            Errno::ENOMSG => Errno::EAGAIN.into(),
            other => other.into(),
        }
    }
}

/// Removes the queue and the messages in it. Whoever waits for it is told `EIDRM`.
///
/// # Errors
/// `ENOENT`; `EIDRM` where somebody else removes it meanwhile; `EPERM` or `EACCES` where it is another user's.
pub fn remove(key: i32) -> io::Result<()> {
    let id = get(key, 0)?;
    check_owner(id)?;
    // SAFETY: IPC_RMID takes no argument, and so no memory.
    Errno::result(unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) }).map_err(gone)?;
    Ok(())
}

fn get(key: i32, flags: c_int) -> io::Result<c_int> {
    // SAFETY: the call takes two numbers and touches no memory.
    Ok(Errno::result(unsafe { libc::msgget(key, flags) })?)
}

fn status(id: c_int) -> io::Result<msqid_ds> {
    let mut status = MaybeUninit::zeroed();
    // SAFETY: `status` has room for what the kernel tells.
    Errno::result(unsafe { libc::msgctl(id, libc::IPC_STAT, status.as_mut_ptr()) }).map_err(gone)?;
    // SAFETY: all zeroes are a valid msqid_ds, and the call has filled it in.
    Ok(unsafe { status.assume_init() })
}

/// The error of msgctl(2). Who waits while the queue is removed is told `EIDRM`; who comes later is told `EINVAL`, for the
/// identifier means nothing any more.
fn gone(error: Errno) -> Errno {
    if error == Errno::EINVAL { Errno::EIDRM } else { error }
}

/// Whoever made the queue, or was given it, can change who may read it. So both must be this user.
fn check_owner(id: c_int) -> io::Result<()> {
    let (user, perm) = (geteuid().as_raw(), status(id)?.msg_perm);
    if (perm.cuid, perm.uid) == (user, user) { Ok(()) } else { Err(Errno::EPERM.into()) }
}

/// Finds out beforehand what msgsnd(2) would answer with a bare `EINVAL`, or never.
fn check_limits() -> io::Result<()> {
    for limit in ["msgmax", "msgmnb"] {
        // No such file: a kernel without System V queues, which msgget will tell.
        let Ok(text) = fs::read_to_string(format!("/proc/sys/kernel/{limit}")) else { continue };
        if let Ok(allowed) = text.trim().parse::<u64>()
            && allowed < MAX_MESSAGE as u64
        {
            return Err(io::Error::other(format!(
                "kernel.{limit} is {allowed} and must be at least {MAX_MESSAGE}: sudo sysctl kernel.{limit}={MAX_MESSAGE}"
            )));
        }
    }
    Ok(())
}

fn explain(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::ENOSPC) => "ENOSPC: the system has kernel.msgmni queues: remove old ones (ipcs -q, ipcrm -q)",
        Some(libc::ENOSYS) => "ENOSYS: this kernel has no System V message queues",
        _ => return error,
    };
    io::Error::other(why)
}
