//! A realtime signal as a channel: the kernel queues each one, with a value of eight bytes, and hands them out in the
//! order in which they were sent.
//!
//! Of a standard signal it keeps one bit, "pending": of a thousand, one is seen. Realtime signals, SIGRTMIN to
//! SIGRTMAX, have no meaning of their own and all of them arrive. But there is a limit to what the kernel keeps for one user,
//! and who exceeds it gets `EAGAIN`. So the reader answers with how many it has taken, by the same signal the
//! other way, and the writer is never ahead by more than a window.
//!
//! ```text
//! writer  pidfd_send_signal ──▶ [value][value][value] … ──▶ read(signalfd)   reader
//!         read(signalfd) ◀── [how many in all] ◀── pidfd_send_signal
//! ```
//!
//! Manual pages: signal(7), sigqueue(3), signalfd(2), pidfd_send_signal(2), getrlimit(2).
#![expect(unsafe_code, reason = "realtime signals, their values and the pidfd calls have no safe wrapper")]

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::{process, ptr};

use libc::{siginfo_t, signalfd_siginfo};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{getuid, read};

/// Bytes of the stream in one value. Its first byte says how many there are.
pub const BYTES: usize = size_of::<usize>() - 1;
/// Values that the writer may be ahead of the reader. With the answers to them, twice as many signals may be
/// queued, which is little against the limit, for it counts those of all programs of the user together.
pub const WINDOW: usize = 256;
/// Signals taken by one read.
const BATCH: usize = 64;
/// Until an answer that found no room is tried again, in milliseconds.
const RETRY: u8 = 10;

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

    /// Queues one signal with a value.
    ///
    /// # Errors
    /// `EAGAIN` where as many are queued for this user as the other process's RLIMIT_SIGPENDING allows; `ESRCH` where it
    /// has ended.
    pub fn queue(&self, value: usize) -> Result<(), Errno> {
        const { assert!(size_of::<Queued>() <= size_of::<siginfo_t>()) };
        let pidfd = self.pidfd.as_ref().ok_or(Errno::ESRCH)?.as_raw_fd();
        // The kernel believes what is said here of pid and user; for SI_USER, kill(2), it would fill them in itself.
        let rt = Rt { pid: self.own.0, uid: self.own.1, value };
        let queued = Queued { signo: signal(), errno: 0, code: libc::SI_QUEUE, rt };
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

    /// Waits for signals and takes as many as there are, up to 64: each one's sender, as it calls itself, and its
    /// value. Those without a value, which kill(2) sends, are not shown.
    ///
    /// # Errors
    /// `EINTR` after another signal.
    pub fn take(&mut self) -> io::Result<impl Iterator<Item = (i32, usize)>> {
        let len = read(&self.fd, &mut self.bytes)?;
        let infos = self.bytes[..len].chunks_exact(size_of::<signalfd_siginfo>());
        Ok(infos.filter_map(|info| {
            // SAFETY: the chunk has the size of the struct, whose fields are all integers.
            let info = unsafe { ptr::read_unaligned(info.as_ptr().cast::<signalfd_siginfo>()) };
            (info.ssi_code == libc::SI_QUEUE).then_some((info.ssi_pid.cast_signed(), info.ssi_ptr as usize))
        }))
    }

    /// Is there something to take, within so many milliseconds?
    fn fills_within(&self, milliseconds: u8) -> io::Result<bool> {
        Ok(poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(milliseconds))? > 0)
    }
}

/// Writes bytes, up to seven with each signal.
pub struct Writer {
    peer: Peer,
    inbox: Inbox,
    sent: usize,
    /// How many of these the reader has taken, as far as it has said so.
    taken: usize,
}

impl Writer {
    /// Talks to `peer`, which reads.
    ///
    /// # Errors
    /// As [`Inbox::new`].
    pub fn new(peer: Peer) -> io::Result<Writer> {
        Ok(Writer { peer, inbox: Inbox::new()?, sent: 0, taken: 0 })
    }

    fn wait_for_answer(&mut self) -> io::Result<()> {
        for (pid, taken) in self.inbox.take()? {
            if pid == self.peer.pid && (self.taken..=self.sent).contains(&taken) {
                self.taken = taken;
            }
        }
        Ok(())
    }
}

impl Write for Writer {
    /// Writes the first bytes, as many as fit into one value. `EPIPE` where the other process has ended.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(BYTES);
        if len == 0 {
            return Ok(0);
        }
        let mut value = [0; size_of::<usize>()];
        value[0] = len as u8;
        value[1..=len].copy_from_slice(&bytes[..len]);
        loop {
            while self.sent - self.taken >= WINDOW {
                self.wait_for_answer()?;
            }
            match self.peer.queue(usize::from_be_bytes(value)) {
                Ok(()) => break,
                // The queue has less room than the window. What the reader takes will make some.
                Err(Errno::EAGAIN) if self.sent > self.taken => self.wait_for_answer()?,
                Err(Errno::EAGAIN) => return Err(io::Error::other(FULL)),
                Err(Errno::ESRCH) => return Err(Errno::EPIPE.into()),
                Err(error) => return Err(error.into()),
            }
        }
        self.sent += 1;
        Ok(len)
    }

    /// Waits until the reader has taken everything. Who does not wait may be gone before the reader looks.
    fn flush(&mut self) -> io::Result<()> {
        while self.taken < self.sent {
            self.wait_for_answer()?;
        }
        Ok(())
    }
}

const FULL: &str = "EAGAIN: other programs of this user have queued as many signals as RLIMIT_SIGPENDING allows: \
                    see SigQ in /proc/PID/status, or raise ulimit -i for the receiver";

/// Reads bytes and says how many signals it has taken.
pub struct Reader<F> {
    find: F,
    peer: Option<Peer>,
    inbox: Inbox,
    /// `bytes[start..end]` has been taken and not yet read.
    bytes: [u8; BATCH * BYTES],
    start: usize,
    end: usize,
    taken: usize,
    /// The last answer found no room.
    owes_answer: bool,
}

impl<F: FnMut(i32) -> io::Result<Option<Peer>>> Reader<F> {
    /// Reads what the first peer sends that `find` knows, given a pid; where it says `None`, the signal was a stranger's.
    ///
    /// # Errors
    /// As [`Inbox::new`].
    pub fn new(find: F) -> io::Result<Reader<F>> {
        let inbox = Inbox::new()?;
        Ok(Reader { find, peer: None, inbox, bytes: [0; _], start: 0, end: 0, taken: 0, owes_answer: false })
    }

    fn fill(&mut self) -> io::Result<()> {
        // Nothing tells when there is room again.
        while self.owes_answer && !self.inbox.fills_within(RETRY)? {
            self.answer()?;
        }
        (self.start, self.end) = (0, 0);
        let before = self.taken;
        for (pid, value) in self.inbox.take()? {
            if self.peer.is_none() {
                self.peer = (self.find)(pid)?;
            }
            if self.peer.as_ref().is_none_or(|peer| peer.pid != pid) {
                continue;
            }
            let [len, bytes @ ..] = value.to_be_bytes();
            // Never trust a length that comes from outside.
            let bytes = bytes.get(..len.into()).filter(|bytes| !bytes.is_empty());
            let bytes =
                bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a value with a wrong length"))?;
            self.bytes[self.end..][..bytes.len()].copy_from_slice(bytes);
            self.end += bytes.len();
            self.taken += 1;
        }
        if self.taken > before { self.answer() } else { Ok(()) }
    }

    fn answer(&mut self) -> io::Result<()> {
        let Some(peer) = &self.peer else { return Ok(()) };
        match peer.queue(self.taken) {
            Err(Errno::EAGAIN) => self.owes_answer = true,
            // ESRCH: the writer has ended; what it sent still counts.
            Ok(()) | Err(Errno::ESRCH) => self.owes_answer = false,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl<F: FnMut(i32) -> io::Result<Option<Peer>>> Read for Reader<F> {
    /// Reads what there is. `EINTR` after another signal.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.start == self.end {
            self.fill()?;
        }
        let len = buffer.len().min(self.end - self.start);
        buffer[..len].copy_from_slice(&self.bytes[self.start..][..len]);
        self.start += len;
        Ok(len)
    }
}
