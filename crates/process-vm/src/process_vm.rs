//! One process reads the memory of another: a message is copied once, straight from its sender's buffer.
//!
//! Processes cannot see each other's memory, but the kernel sees all of it. process_vm_readv(2) copies bytes from an
//! address in another process to one in ours. What a debugger does with this, two processes that agree can do too.
//! They only need to tell each other where the bytes are and when they have been read, by a socket of theirs:
//!
//! ```text
//! sender    offer: address, length ─▶ ▒▒▒ socket ▒▒▒ ─▶ process_vm_readv(sender's pid, address)   receiver
//!           waits: may be reused   ◀─ ▒▒▒▒▒▒▒▒▒▒▒▒▒▒ ◀─ taken
//! ```
//!
//! It could go the other way round, by process_vm_writev(2). But who reads from a wrong address fails, or reads
//! rubbish into a buffer of its own; who writes to one destroys the other process.
//!
//! Whoever may read may do everything: the kernel asks for the same permission as for a debugger (ptrace(2)). So the
//! reader must be a process of the same user, and where Yama guards the machine
//! (`/proc/sys/kernel/yama/ptrace_scope` is 1) the sender must name it: see [`grant`].
//!
//! Manual pages: process_vm_readv(2), ptrace(2) (access mode checking), prctl(2) (`PR_SET_PTRACER`), unix(7).
#![expect(unsafe_code, reason = "nix has no PR_SET_PTRACER")]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{MsgFlags, Shutdown, getsockopt, recv, send, shutdown};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

/// Bytes in the longest message.
pub const MAX_MESSAGE: usize = 16 << 20;

/// The length that says that no message will follow.
const END: u64 = u64::MAX;
/// An address and a length.
const OFFER: usize = 2 * size_of::<u64>();

/// Lets one process read this one's memory where Yama would otherwise let nobody do so but ancestors. It takes the
/// place of an earlier grant, and ends with either process; 0 takes it back.
///
/// # Errors
/// `EINVAL` where there is no Yama, and no need for this; or no such process.
pub fn grant(pid: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers and touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::c_ulong::try_from(pid).unwrap_or(0)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The pid of the process that has connected or listened at the other end of the socket.
fn peer(socket: &OwnedFd) -> io::Result<i32> {
    Ok(getsockopt(socket, PeerCredentials)?.pid())
}

/// The end whose memory is read.
pub struct Writer(OwnedFd);

impl Writer {
    /// Lets the process at the other end of this connected `SOCK_SEQPACKET` socket read this one's memory.
    ///
    /// # Errors
    /// None for a connected socket.
    pub fn new(socket: OwnedFd) -> io::Result<Writer> {
        match grant(peer(&socket)?) {
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
            _ => Ok(Writer(socket)),
        }
    }

    /// Tells the other end where a message is. It must stay there unchanged until it is [`taken`](Offer::taken).
    ///
    /// # Errors
    /// `EINTR` after a signal, with nothing offered; `EPIPE` where the receiver is gone; `EMSGSIZE` above
    /// [`MAX_MESSAGE`].
    pub fn offer<'a>(&'a self, message: &'a [u8]) -> io::Result<Offer<'a>> {
        if message.len() > MAX_MESSAGE {
            return Err(Errno::EMSGSIZE.into());
        }
        self.say(message.as_ptr().expose_provenance() as u64, message.len() as u64)?;
        Ok(Offer { socket: &self.0, _message: message, taken: false })
    }

    /// Says that no message will follow.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn end(&self) -> io::Result<()> {
        self.say(0, END)
    }

    fn say(&self, address: u64, len: u64) -> io::Result<()> {
        let mut offer = [0; OFFER];
        offer[..8].copy_from_slice(&address.to_ne_bytes());
        offer[8..].copy_from_slice(&len.to_ne_bytes());
        send(self.0.as_raw_fd(), &offer, MsgFlags::MSG_NOSIGNAL)?;
        Ok(())
    }
}

/// A message that the other end has not taken yet. The borrow is the point: while there is an offer, nothing can change
/// what it offers.
pub struct Offer<'a> {
    socket: &'a OwnedFd,
    _message: &'a [u8],
    taken: bool,
}

impl Offer<'_> {
    /// Waits until the message has been read.
    ///
    /// # Errors
    /// `EINTR` after a signal: call it again; `UnexpectedEof` where the receiver is gone; what the receiver has met
    /// when it read, such as `EPERM`.
    pub fn taken(&mut self) -> io::Result<()> {
        let mut answer = [0; 4];
        if recv(self.socket.as_raw_fd(), &mut answer, MsgFlags::empty())? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match i32::from_ne_bytes(answer) {
            0 => self.taken = true,
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
        Ok(())
    }
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        if !self.taken {
            // From here on the message may change. Whoever reads it now cannot say so any more, and throws it away.
            let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Both);
        }
    }
}

/// The end that reads.
pub struct Reader {
    socket: OwnedFd,
    sender: Pid,
}

impl Reader {
    /// Reads from the process at the other end of this connected `SOCK_SEQPACKET` socket.
    ///
    /// # Errors
    /// None for a connected socket.
    pub fn new(socket: OwnedFd) -> io::Result<Reader> {
        let sender = Pid::from_raw(peer(&socket)?);
        Ok(Reader { socket, sender })
    }

    /// The process that is read from; 0 where it is in another PID namespace and cannot be.
    pub fn sender(&self) -> i32 {
        self.sender.as_raw()
    }

    /// Waits for the next offer, copies the message to the beginning of `buffer`, and returns its length; `None` is the
    /// end.
    ///
    /// # Errors
    /// `EINTR` after a signal, with nothing taken; `UnexpectedEof` or `EPIPE` where the sender is gone without having
    /// said the end; `EPERM` where it may not be read; `EFAULT` where there is nothing at the address that it told;
    /// `InvalidData` for a message longer than `buffer`.
    pub fn take(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        // Room for one byte more, so that a longer record is not taken for an offer.
        let mut offer = [0; OFFER + 1];
        match recv(self.socket.as_raw_fd(), &mut offer, MsgFlags::empty())? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            OFFER => {}
            _ => return Err(invalid("no offer")),
        }
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| offer[at + byte]));
        let (address, len) = (word(0), word(8));
        if len == END {
            return Ok(None);
        }
        let Some(buffer) = usize::try_from(len).ok().and_then(|len| buffer.get_mut(..len)) else {
            return Err(invalid(&format!("a message of {len} bytes")));
        };
        let read = read_all(self.sender, address as usize, buffer);
        // A pid outlives its process and may be given to another one. But a process that has ended has closed its
        // socket first: if the answer can be sent now, then it was the sender that we have read from.
        let errno = read.map_or_else(|errno| errno as i32, |()| 0);
        // An honest sender has no more than one offer under way, so there is room.
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        let answered = send(self.socket.as_raw_fd(), &errno.to_ne_bytes(), flags);
        read?;
        match answered {
            Ok(_) => Ok(Some(buffer.len())),
            Err(Errno::EAGAIN) => Err(invalid("offers without waiting")),
            Err(error) => Err(error.into()),
        }
    }
}

/// Fills `buffer` from the memory of another process.
fn read_all(pid: Pid, mut address: usize, mut buffer: &mut [u8]) -> nix::Result<()> {
    while !buffer.is_empty() {
        let remote = RemoteIoVec { base: address, len: buffer.len() };
        // It may return early, where the rest is not there: then the next call says EFAULT.
        let len = match process_vm_readv(pid, &mut [IoSliceMut::new(buffer)], &[remote]) {
            // The process is dead, though its socket may not be closed yet.
            Err(Errno::ESRCH) => return Err(Errno::EPIPE),
            other => other?,
        };
        address = address.wrapping_add(len);
        buffer = &mut buffer[len..];
    }
    Ok(())
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
