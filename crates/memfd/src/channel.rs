//! Messages through sealed memfds: each long one is a memfd of its own, whose descriptor the socket carries.
//!
//! ```text
//! writer  sealed(message) ──▶ [length + descriptor] [length, short message] … ──▶ Mapping  reader
//!                         ◀── [so many bytes let go of] ◀──
//! ```
//!
//! A short message costs less copied than mapped: it goes through the socket itself, into the kernel and out again.
//!
//! Manual pages: unix(7), send(2), recv(2).

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::memfd::{Mapping, sealed};
use super::scm_rights;

/// Bytes in the longest message.
pub const MAX_MESSAGE: usize = 16 << 20;
/// Bytes in the longest message that a receiver takes from the socket itself.
pub const MAX_INLINE: usize = 128 << 10;
/// Bytes that may be on their way in memfds. The socket's buffer holds hundreds of descriptors, and does not count
/// what hangs on them.
pub const WINDOW: usize = 32 << 20;

/// After so many bytes the receiver tells what it has let go of. The longest message fits into the window besides.
const REPORT: usize = WINDOW / 4;
/// The length that says that no message will follow.
const END: u32 = u32::MAX;
const HEADER: usize = size_of::<u32>();

/// The end that hands messages over.
pub struct Writer {
    socket: OwnedFd,
    large: usize,
    /// Bytes in memfds that the receiver has not said to have let go of.
    under_way: usize,
}

impl Writer {
    /// Messages of `large` bytes or more travel as memfds, shorter ones in the records of this connected
    /// `SOCK_SEQPACKET` socket. `large` counts as 1 where it is 0, and as [`MAX_INLINE`] + 1 where it is more.
    pub fn new(socket: OwnedFd, large: usize) -> Writer {
        // An empty file cannot be mapped.
        Writer { socket, large: large.clamp(1, MAX_INLINE + 1), under_way: 0 }
    }

    /// Hands over one message; waits while too much is under way.
    ///
    /// # Errors
    /// `EINTR` after a signal, with nothing handed over; `EPIPE` or `UnexpectedEof` where the receiver is gone;
    /// `EMSGSIZE` above [`MAX_MESSAGE`]; as [`sealed`] and [`scm_rights::send`].
    pub fn put(&mut self, message: &[u8]) -> io::Result<()> {
        let len = message.len();
        if len > MAX_MESSAGE {
            return Err(Errno::EMSGSIZE.into());
        }
        let header = (len as u32).to_be_bytes();
        if len < self.large {
            return scm_rights::send(&self.socket, [&header, message], None);
        }
        while self.under_way + len > WINDOW {
            self.hear()?;
        }
        // Ours is closed at the end of this function. The one that is under way is not.
        let memfd = sealed(message)?;
        scm_rights::send(&self.socket, [&header, &[]], Some(&memfd))?;
        self.under_way += len;
        Ok(())
    }

    /// Says that no message will follow.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_end(&mut self) -> io::Result<()> {
        scm_rights::send(&self.socket, [&END.to_be_bytes(), &[]], None)
    }

    /// Waits for the receiver's report of how many bytes it has let go of.
    fn hear(&mut self) -> io::Result<()> {
        let mut report = [0; HEADER];
        if recv(self.socket.as_raw_fd(), &mut report, MsgFlags::empty())? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = u32::from_be_bytes(report) as usize;
        self.under_way = self.under_way.checked_sub(len).ok_or_else(|| invalid("a report of more than was sent"))?;
        Ok(())
    }
}

/// The end that takes messages.
pub struct Reader {
    socket: OwnedFd,
    /// The record: its header, and a short message.
    record: Box<[u8]>,
    short: usize,
    /// A long message.
    mapping: Option<Mapping>,
    /// Bytes in memfds that have been let go of and not yet reported.
    let_go: usize,
}

impl Reader {
    /// Takes what comes out of a connected `SOCK_SEQPACKET` socket.
    pub fn new(socket: OwnedFd) -> Reader {
        let record = vec![0; HEADER + MAX_INLINE].into();
        Reader { socket, record, short: 0, mapping: None, let_go: 0 }
    }

    /// Lets go of the message and waits for the next one; `false` is the end.
    ///
    /// # Errors
    /// `EINTR` after a signal, with nothing taken; `UnexpectedEof` where the sender is gone without having said the
    /// end; `InvalidData` for what no honest sender sends.
    pub fn take(&mut self) -> io::Result<bool> {
        self.let_go();
        let (len, fd) = match scm_rights::recv(&self.socket, &mut self.record) {
            // The writer has closed its end and left a report of ours unread. What it has sent is still here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                scm_rights::recv(&self.socket, &mut self.record)?
            }
            other => other?,
        };
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((header, payload)) = self.record[..len].split_first_chunk() else {
            return Err(invalid("a record without a length"));
        };
        let announced = u32::from_be_bytes(*header);
        match fd {
            None if announced == END && payload.is_empty() => return Ok(false),
            None if announced as usize == payload.len() => self.short = payload.len(),
            Some(memfd) if announced as usize <= MAX_MESSAGE => {
                self.mapping = Some(Mapping::new(memfd, announced as usize)?);
            }
            _ => return Err(invalid(&format!("a message of {announced} bytes, which is not there"))),
        }
        Ok(true)
    }

    /// The message that was taken. A long one lies where its sender has put it: nothing was copied here.
    pub fn message(&self) -> &[u8] {
        match &self.mapping {
            Some(mapping) => mapping,
            None => &self.record[HEADER..HEADER + self.short],
        }
    }

    fn let_go(&mut self) {
        let Some(mapping) = self.mapping.take() else { return };
        self.let_go += mapping.len();
        drop(mapping);
        if self.let_go >= REPORT {
            let report = (self.let_go as u32).to_be_bytes();
            // It need not arrive: a sender that is gone has no use for it, and one that does not listen must not
            // make us wait.
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let _ = send(self.socket.as_raw_fd(), &report, flags);
            self.let_go = 0;
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
