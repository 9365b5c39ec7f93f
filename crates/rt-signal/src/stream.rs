//! A stream of bytes over the values of realtime signals, with a window: the kernel's queue has a limit, which all
//! processes of a user share, so the writer is never ahead by more than 256 values. The reader answers each batch
//! that it takes with how many values it has taken in all.
//!
//! ```text
//! writer  [3 bytes: abc][7 bytes: defghij] … ──▶ reader
//!         ◀── [2 taken]
//! ```
//!
//! Manual pages: sigqueue(3), getrlimit(2).

use std::io::{self, Read, Write};

use nix::errno::Errno;

use crate::rt_signal::{BATCH, Inbox, Peer};

/// Bytes of the stream in one value: all but the first, which says how many there are.
pub const BYTES: usize = size_of::<usize>() - 1;
/// Values that the writer may be ahead of the reader. With the answers to them, twice as many signals may be
/// queued, which is little against the usual limit of thousands.
pub const WINDOW: usize = 256;
/// Until an answer that found no room is tried again, in milliseconds.
const RETRY: u8 = 10;

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
            if pid == self.peer.pid() && (self.taken..=self.sent).contains(&taken) {
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
            if self.peer.as_ref().is_none_or(|peer| peer.pid() != pid) {
                continue;
            }
            let [len, bytes @ ..] = value.to_be_bytes();
            // Never trust a length that comes from outside.
            let Some(bytes) = bytes.get(..len.into()).filter(|bytes| !bytes.is_empty()) else {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a value with a wrong length"));
            };
            self.bytes[self.end..][..bytes.len()].copy_from_slice(bytes);
            self.end += bytes.len();
            self.taken += 1;
        }
        if self.taken > before || self.owes_answer { self.answer() } else { Ok(()) }
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
