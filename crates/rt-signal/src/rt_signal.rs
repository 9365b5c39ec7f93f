//! Realtime signals: the kernel queues each one, with a value of eight bytes, and hands them out in the order in
//! which they were sent.
//!
//! Of a standard signal it keeps one bit, "pending": of a thousand, one is seen. Realtime signals, SIGRTMIN to
//! SIGRTMAX, have no meaning of their own, and all of them arrive. But there is a limit to what the kernel keeps
//! for one user, and who exceeds it gets `EAGAIN`. What to do about that, `parts.rs` shows.
//!
//! ```text
//! one process   pidfd_send_signal ──▶ [value][value][value] … ──▶ read(signalfd)   the other
//! ```
//!
//! A signal's value is the size of a pointer. Beside it goes a small number, `si_errno`, which Linux has no use for and
//! hands on as it is; sigqueue(3) always makes it 0.
//!
//! Manual pages: signal(7), sigaction(2), sigqueue(3), signalfd(2), pidfd_send_signal(2), getrlimit(2).
#![expect(unsafe_code, reason = "realtime signals, their values and the pidfd calls have no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::{process, ptr};

use libc::{siginfo_t, signalfd_siginfo};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getuid, read};

/// Signals taken by one read.
pub const BATCH: usize = 64;

/// Blocks the signal in this thread and in those that it starts later.
///
/// Call it before the other process can know this one, and in a thread that no thread without the block has
/// started beside: a realtime signal that is not blocked kills the process, whichever thread the kernel gives it to.
///
/// # Errors
/// None on Linux.
pub fn block() -> io::Result<()> {
    Ok(signals().thread_block()?)
}

/// Which signal: the lowest that the C library leaves to programs (34 with glibc, which keeps two for itself).
fn signal() -> i32 {
    libc::SIGRTMIN()
}

fn signals() -> SigSet {
    let mut set = *SigSet::empty().as_ref();
    // SAFETY: the set is an initialised one, and the signal exists.
    unsafe { libc::sigaddset(&mut set, signal()) };
    // SAFETY: the set was made by sigemptyset(3).
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

/// The other process. A pid is given to a new process some time after the old one has ended; a pidfd never is,
/// so no signal can go to a stranger.
pub struct Peer {
    pid: i32,
    /// None once it has ended.
    pidfd: Option<OwnedFd>,
    /// What our signals say of us: pid and user.
    own: (i32, u32),
}

/// What sigqueue(3) makes a siginfo_t of. It takes a pid; pidfd_send_signal(2) leaves this to its caller.
#[repr(C)]
struct Queued {
    signo: i32,
    errno: i32,
    code: i32,
    rt: Rt,
}

#[repr(C)]
struct Rt {
    pid: i32,
    uid: u32,
    value: usize,
}

impl Peer {
    /// The process that has this pid now.
    ///
    /// # Errors
    /// `ESRCH` where there is none.
    pub fn open(pid: i32) -> io::Result<Peer> {
        // SAFETY: the call takes two integers and touches no memory.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        match i32::try_from(fd) {
            // SAFETY: the kernel has just made this descriptor (close-on-exec), and nobody else knows it.
            Ok(fd) if fd >= 0 => Ok(Peer::new(pid, Some(unsafe { OwnedFd::from_raw_fd(fd) }))),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The process of a descriptor that one has already, whose pid is `pid`; without one, a process that has ended.
    pub fn new(pid: i32, pidfd: Option<OwnedFd>) -> Peer {
        Peer { pid, pidfd, own: (process::id().cast_signed(), getuid().as_raw()) }
    }

    /// The process's pid.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Queues one signal with a value, and `number` as its `si_errno`.
    ///
    /// # Errors
    /// `EAGAIN` where as many are queued for this user as the other process's RLIMIT_SIGPENDING allows; `ESRCH` where it
    /// has ended.
    pub fn queue(&self, number: i32, value: usize) -> Result<(), Errno> {
        const { assert!(size_of::<Queued>() <= size_of::<siginfo_t>()) };
        let pidfd = self.pidfd.as_ref().ok_or(Errno::ESRCH)?.as_raw_fd();
        // The kernel believes what is said here of pid and user; for SI_USER, kill(2), it would fill them in itself.
        let rt = Rt { pid: self.own.0, uid: self.own.1, value };
        let queued = Queued { signo: signal(), errno: number, code: libc::SI_QUEUE, rt };
        let mut info = MaybeUninit::<siginfo_t>::zeroed();
        // SAFETY: `info` has room for `queued`, which is laid out as the beginning of a siginfo_t.
        unsafe { info.as_mut_ptr().cast::<Queued>().write(queued) };
        // SAFETY: the descriptor is open, and `info` is initialised, as zeroes and the fields of `queued`.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal(), info.as_ptr(), 0) };
        Errno::result(sent).map(drop)
    }
}

/// Where blocked signals are taken, like bytes from a file.
pub struct Inbox {
    fd: SignalFd,
    bytes: [u8; BATCH * size_of::<signalfd_siginfo>()],
}

impl Inbox {
    /// Takes nothing yet.
    ///
    /// # Errors
    /// `EMFILE` and the like.
    pub fn new() -> io::Result<Inbox> {
        let fd = SignalFd::with_flags(&signals(), SfdFlags::SFD_CLOEXEC)?;
        Ok(Inbox { fd, bytes: [0; _] })
    }

    /// Waits for signals and takes as many as there are, up to 64: each one's sender, as it calls itself, its number and
    /// its value. Those without a value, which kill(2) sends, are not shown.
    ///
    /// # Errors
    /// `EINTR` after another signal.
    pub fn take(&mut self) -> io::Result<impl Iterator<Item = (i32, i32, usize)>> {
        let len = read(&self.fd, &mut self.bytes)?;
        let infos = self.bytes[..len].chunks_exact(size_of::<signalfd_siginfo>());
        Ok(infos.filter_map(|info| {
            // SAFETY: the chunk has the size of the struct, whose fields are all integers.
            let info = unsafe { ptr::read_unaligned(info.as_ptr().cast::<signalfd_siginfo>()) };
            let sent = (info.ssi_pid.cast_signed(), info.ssi_errno, info.ssi_ptr as usize);
            (info.ssi_code == libc::SI_QUEUE).then_some(sent)
        }))
    }

    /// Is there something to take, within so many milliseconds?
    ///
    /// # Errors
    /// `EINTR` after another signal.
    pub fn fills_within(&self, milliseconds: u8) -> io::Result<bool> {
        Ok(poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(milliseconds))? > 0)
    }
}
