//! Two signals as a channel: SIGUSR1 is a 0 and SIGUSR2 is a 1, and each bit is acknowledged by SIGUSR1.
//!
//! A standard signal is not a message. It is one bit in the receiving process, "pending", which is set by sending
//! and cleared by taking. To send it again before it has been taken changes nothing: of a thousand, one is
//! seen. So the writer sends the next bit only after the reader has said that it has the last one.
//!
//! ```text
//! writer  pidfd_send_signal(SIGUSR2) ──▶ pending ──▶ sigwaitinfo  reader: a 1
//!         sigwaitinfo ◀── pending ◀── pidfd_send_signal(SIGUSR1)          got it
//! ```
//!
//! Both ends block the two signals and take them with sigwaitinfo(2), which returns them like a read. A handler
//! would run between any two instructions, where it may do almost nothing.
//!
//! Manual pages: signal(7), sigprocmask(2), sigwaitinfo(2), pidfd_open(2), pidfd_send_signal(2).
#![expect(unsafe_code, reason = "sigwaitinfo and the pidfd calls have no safe wrapper")]

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

const ZERO: Signal = Signal::SIGUSR1;
const ONE: Signal = Signal::SIGUSR2;
const ACKNOWLEDGED: Signal = Signal::SIGUSR1;

/// Blocks the two signals in this thread and in those that it starts later.
///
/// Call it before the other process can know this one, and in a thread that no thread without the block has
/// started beside: an unblocked SIGUSR1 kills the process, whichever thread the kernel gives it to.
///
/// # Errors
/// None on Linux.
pub fn block() -> io::Result<()> {
    Ok(bits().thread_block()?)
}

/// The other process. A pid is given to a new process some time after the old one has ended; a pidfd never is,
/// so no signal can go to a stranger.
pub struct Peer {
    pid: i32,
    pidfd: OwnedFd,
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
            Ok(fd) if fd >= 0 => Ok(Peer { pid, pidfd: unsafe { OwnedFd::from_raw_fd(fd) } }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The process of a descriptor that one has already, whose pid is `pid`.
    pub fn new(pid: i32, pidfd: OwnedFd) -> Peer {
        Peer { pid, pidfd }
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        let (fd, no_info) = (self.pidfd.as_raw_fd(), ptr::null::<libc::siginfo_t>());
        // SAFETY: the descriptor is open, and without a siginfo the kernel fills in who we are.
        match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as i32, no_info, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Waits for a signal from this process; from others they are ignored.
    fn wait(&self, signals: &SigSet) -> io::Result<Signal> {
        loop {
            let (signal, pid) = wait(signals)?;
            if pid == self.pid {
                return Ok(signal);
            }
        }
    }
}

/// Writes bits: each byte's most significant bit first.
pub struct Writer {
    peer: Peer,
    /// Bits of the byte under way that have been acknowledged.
    done: u32,
    /// The next one has been sent, and its acknowledgement is missing.
    sent: bool,
}

impl Writer {
    /// Talks to `peer`, which reads.
    pub fn new(peer: Peer) -> Writer {
        Writer { peer, done: 0, sent: false }
    }
}

impl Write for Writer {
    /// Writes one byte, the first. After `EINTR` it has been written in part: the next call must bring the same
    /// byte, and goes on with the bit that is due. `EPIPE` where the other process has ended.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(byte) = bytes.first() else { return Ok(0) };
        if self.done == 0 && !self.sent {
            // The next acknowledgement would be merged with what a stranger has sent since the last byte.
            discard_pending();
        }
        while self.done < u8::BITS {
            if !self.sent {
                let bit = byte << self.done & 0x80 != 0;
                self.peer.send(if bit { ONE } else { ZERO }).map_err(no_process_is_no_reader)?;
                self.sent = true;
            }
            self.peer.wait(&ACKNOWLEDGED.into())?;
            (self.done, self.sent) = (self.done + 1, false);
        }
        self.done = 0;
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads bits and acknowledges them.
pub struct Reader {
    peer: Peer,
    byte: u8,
    /// Bits of the byte under way.
    len: u32,
    /// The first of all, which `accept` has taken.
    taken: Option<Signal>,
}

impl Reader {
    /// Waits for the first bit. `peer` tells who sent it, given the pid; where it says `None`, the signal
    /// was a stranger's.
    ///
    /// # Errors
    /// `EINTR` after a signal; what `peer` says.
    pub fn accept(mut peer: impl FnMut(i32) -> io::Result<Option<Peer>>) -> io::Result<Reader> {
        loop {
            let (signal, pid) = wait(&bits())?;
            if let Some(peer) = peer(pid)? {
                return Ok(Reader { peer, byte: 0, len: 0, taken: Some(signal) });
            }
        }
    }
}

impl Read for Reader {
    /// Reads one byte. `EINTR` after a signal: the next call goes on with the bit that is due.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(first) = buffer.first_mut() else { return Ok(0) };
        while self.len < u8::BITS {
            let signal = match self.taken.take() {
                Some(signal) => signal,
                None => self.peer.wait(&bits())?,
            };
            self.byte = self.byte << 1 | u8::from(signal == ONE);
            self.len += 1;
            match self.peer.send(ACKNOWLEDGED) {
                // The writer has ended; what it sent still counts.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
        *first = self.byte;
        self.len = 0;
        Ok(1)
    }
}

/// Waits for one of the blocked `signals` and takes it. The second value is the pid of the process that sent it:
/// one of this user's or of root's, for nobody else may (kill(2)).
///
/// # Errors
/// `EINTR` after another signal.
fn wait(signals: &SigSet) -> io::Result<(Signal, i32)> {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: the set is initialised, and `info` has room for what the kernel tells.
        let signal = unsafe { libc::sigwaitinfo(signals.as_ref(), info.as_mut_ptr()) };
        if signal < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all zeroes are a valid siginfo_t, and the call has filled it in.
        let info = unsafe { info.assume_init() };
        // SI_USER is what the kernel vouches for: kill(2) and pidfd_send_signal(2) by a process that it names.
        if info.si_code == libc::SI_USER {
            // SAFETY: with SI_USER the kernel sets this field.
            return Ok((Signal::try_from(signal)?, unsafe { info.si_pid() }));
        }
    }
}

/// Takes what is pending and forgets it.
fn discard_pending() {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the set and the time are initialised, and a null siginfo is not written to.
    while unsafe { libc::sigtimedwait(bits().as_ref(), ptr::null_mut(), &now) } > 0 {}
}

fn bits() -> SigSet {
    SigSet::from_iter([ZERO, ONE])
}

fn no_process_is_no_reader(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::ESRCH) { Errno::EPIPE.into() } else { error }
}
