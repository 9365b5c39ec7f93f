//! Messages in parts of eight bytes, which is what a realtime signal's value holds, with a window: the kernel's queue has
//! a limit, which all processes of a user share, so the writer is never ahead by more than 256 parts. The reader answers
//! each batch that it takes with how many parts it has taken in all.
//!
//! ```text
//! writer  [hello, wo: 12][rld\n: 4] … ──▶ reader
//!         ◀── [2 taken]
//! ```
//!
//! Manual pages: sigqueue(3), getrlimit(2).

use std::io;

use nix::errno::Errno;

use crate::rt_signal::{BATCH, Inbox, Peer};

/// Bytes in one value.
pub const BYTES: usize = size_of::<usize>();
/// Parts that the writer may be ahead of the reader. With the answers to them, twice as many signals may be
/// queued, which is little against the usual limit of thousands.
pub const WINDOW: usize = 256;
/// Until an answer that found no room is tried again, in milliseconds.
const RETRY: u8 = 10;

/// What one signal carries of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// How many bytes of the message are still to come, with those of this part.
    pub left: i32,
    /// The first of them. Behind the last come zeroes.
    pub bytes: [u8; BYTES],
}

impl Part {
    /// No message will follow. (A queue of signals cannot be closed.)
    pub const END: Part = Part { left: -1, bytes: [0; BYTES] };

    /// A message's parts: of an empty one there is one, too.
    pub fn all(message: &[u8]) -> impl Iterator<Item = Part> {
        (0..message.len().max(1)).step_by(BYTES).map(|at| {
            let left = &message[at..];
            let mut bytes = [0; BYTES];
            let len = left.len().min(BYTES);
            bytes[..len].copy_from_slice(&left[..len]);
            Part { left: left.len() as i32, bytes }
        })
    }
}

/// What a part brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The message goes on.
    More,
    /// The message is whole.
    Whole,
    /// No message will follow.
    End,
}

/// Puts messages together again.
#[derive(Default)]
pub struct Message {
    bytes: Vec<u8>,
    /// After the parts that have come; `None` between two messages.
    left: Option<usize>,
}

impl Message {
    /// Adds a part.
    ///
    /// # Errors
    /// `InvalidData` where it is not the next one.
    pub fn add(&mut self, part: Part) -> io::Result<Came> {
        // Never trust a length that comes from outside. It is not asked for memory either: each part has its bytes with it.
        let left = match (usize::try_from(part.left), self.left) {
            (Ok(left), None) => left,
            (Ok(left), Some(expected)) if left == expected => left,
            (Err(_), None) if part.left == Part::END.left => return Ok(Came::End),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not the next part of a message")),
        };
        if self.left.is_none() {
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(&part.bytes[..left.min(BYTES)]);
        self.left = left.checked_sub(BYTES).filter(|&left| left > 0);
        Ok(if self.left.is_some() { Came::More } else { Came::Whole })
    }

    /// The bytes that have come of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Sends parts.
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

    /// Sends one signal, when there is room for it.
    ///
    /// # Errors
    /// `EPIPE` where the other process has ended; `EINTR` after another signal.
    pub fn put(&mut self, part: Part) -> io::Result<()> {
        let value = usize::from_be_bytes(part.bytes);
        loop {
            while self.sent - self.taken >= WINDOW {
                self.wait_for_answer()?;
            }
            match self.peer.queue(part.left, value) {
                Ok(()) => break,
                // The queue has less room than the window. What the reader takes will make some.
                Err(Errno::EAGAIN) if self.sent > self.taken => self.wait_for_answer()?,
                Err(Errno::EAGAIN) => return Err(io::Error::other(FULL)),
                Err(Errno::ESRCH) => return Err(Errno::EPIPE.into()),
                Err(error) => return Err(error.into()),
            }
        }
        self.sent += 1;
        Ok(())
    }

    /// Waits until the reader has taken everything. Who does not wait may be gone before the reader looks.
    ///
    /// # Errors
    /// `EINTR` after another signal.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.taken < self.sent {
            self.wait_for_answer()?;
        }
        Ok(())
    }

    fn wait_for_answer(&mut self) -> io::Result<()> {
        for (pid, _, taken) in self.inbox.take()? {
            if pid == self.peer.pid() && (self.taken..=self.sent).contains(&taken) {
                self.taken = taken;
            }
        }
        Ok(())
    }
}

const FULL: &str = "EAGAIN: other programs of this user have queued as many signals as RLIMIT_SIGPENDING allows: \
                    see SigQ in /proc/PID/status, or raise ulimit -i for the receiver";

/// Takes parts and says how many it has taken.
pub struct Reader<F> {
    find: F,
    peer: Option<Peer>,
    inbox: Inbox,
    /// `parts[start..end]` have been taken from the kernel and not yet from here.
    parts: [Part; BATCH],
    start: usize,
    end: usize,
    taken: usize,
    due: usize,
    /// The last answer found no room.
    owes_answer: bool,
}

impl<F: FnMut(i32) -> io::Result<Option<Peer>>> Reader<F> {
    /// Takes what the first peer sends that `find` knows, given a pid; where it says `None`, the signal was a stranger's.
    ///
    /// # Errors
    /// As [`Inbox::new`].
    pub fn new(find: F) -> io::Result<Reader<F>> {
        let inbox = Inbox::new()?;
        Ok(Reader {
            find,
            peer: None,
            inbox,
            parts: [Part::END; _],
            start: 0,
            end: 0,
            taken: 0,
            due: 0,
            owes_answer: false,
        })
    }

    /// The next part, of those that have come.
    pub fn next_part(&mut self) -> Option<Part> {
        let part = self.parts[self.start..self.end].first().copied();
        self.start += usize::from(part.is_some());
        part
    }

    /// How many parts will come soon, for certain or by all appearances, that the kernel did not have yet. It is as well to
    /// wait a moment for them: whoever queues a signal and whoever takes one need the same lock, and the memory of
    /// a signal goes from one's core to the other's and back. Taken one by one as they came, each cost the writer twice as
    /// much as by the dozen.
    pub fn due(&self) -> usize {
        self.due
    }

    /// Waits for more, once there is no next one, and says how many have come.
    ///
    /// # Errors
    /// `EINTR` after another signal.
    pub fn fill(&mut self) -> io::Result<usize> {
        (self.start, self.end) = (0, 0);
        while self.end == 0 {
            // Nothing tells when there is room again.
            while self.owes_answer && !self.inbox.fills_within(RETRY)? {
                self.answer()?;
            }
            for (pid, left, value) in self.inbox.take()? {
                if self.peer.is_none() {
                    self.peer = (self.find)(pid)?;
                }
                if self.peer.as_ref().is_some_and(|peer| peer.pid() == pid) {
                    self.parts[self.end] = Part { left, bytes: value.to_be_bytes() };
                    self.end += 1;
                }
            }
            self.taken += self.end;
            self.due = due(&self.parts[..self.end]);
            if self.end > 0 || self.owes_answer {
                self.answer()?;
            }
        }
        Ok(self.end)
    }

    fn answer(&mut self) -> io::Result<()> {
        let Some(peer) = &self.peer else { return Ok(()) };
        match peer.queue(0, self.taken) {
            Err(Errno::EAGAIN) => self.owes_answer = true,
            // ESRCH: the writer has ended; what it sent still counts.
            Ok(()) | Err(Errno::ESRCH) => self.owes_answer = false,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// How many parts will come soon behind these.
fn due(parts: &[Part]) -> usize {
    let Some((last, before)) = parts.split_last() else { return 0 };
    // A writer that has begun another message does not wait for an answer to each.
    if before.iter().any(|part| behind(*part) == 0) { BATCH } else { behind(*last) }
}

/// How many parts of its message come behind this one.
fn behind(part: Part) -> usize {
    usize::try_from(part.left).unwrap_or(0).saturating_sub(1) / BYTES
}
