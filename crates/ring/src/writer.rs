//! What the writing end does.
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::io;
use std::sync::atomic::Ordering;

use super::{END, LONGEST, MAGIC, Memory, PIECE, Ring, VERSION, cells_of, copy, header, size, turns};

/// A reader that sleeps is woken when so many bytes of a message are there.
const STEP: usize = 4 * PIECE;

/// The writing end, which opens the ring.
pub struct Writer<M: Memory> {
    ring: Ring<M>,
    turns: turns::Writer,
}

impl<M: Memory> Writer<M> {
    /// Opens the ring that a reader has made.
    ///
    /// # Errors
    /// `EAGAIN` while it is half-made; `InvalidData` where it is something else.
    pub fn open(memory: M, cells: u32) -> io::Result<Writer<M>> {
        if memory.size() != size(cells) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not {} bytes of memory", size(cells))));
        }
        let header = header(&memory);
        match header.magic.load(Ordering::Acquire) {
            0 => return Err(io::ErrorKind::WouldBlock.into()),
            MAGIC if header.version.load(Ordering::Relaxed) == VERSION => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a ring of this version")),
        }
        match header.cells.load(Ordering::Relaxed) {
            known if known == cells => {
                Ok(Writer { ring: Ring::new(memory, cells), turns: turns::Writer::new(cells, 0) })
            }
            other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a ring of {other} cells"))),
        }
    }

    /// Never sleeps, but looks again and again: `put` then returns `EINTR` now and then, so that its caller can look
    /// after other things. Good on a core of one's own, and a waste of everybody else's.
    pub fn spin(&mut self) {
        self.turns.spin(self.ring.board());
    }

    /// The memory.
    pub fn memory(&self) -> &M {
        &self.ring.memory
    }

    /// Puts a message, or as much of it as there is room for, and returns how many bytes; waits for room for some.
    /// Where it was not all, the next call is to put the rest.
    ///
    /// # Errors
    /// `EINTR` after a signal; `EMSGSIZE` above [`LONGEST`]; `InvalidData` where the reader's count is impossible.
    #[inline]
    pub fn put(&mut self, message: &[u8]) -> io::Result<usize> {
        if message.len() > LONGEST {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let mut len = 0;
        loop {
            let Some(piece) = self.put_piece(&message[len..])? else {
                if len > 0 {
                    break; // What there is may be all that the reader waits for.
                }
                self.turns.wait(self.ring.board())?;
                continue;
            };
            len += piece;
            if len == message.len() || len >= STEP {
                break;
            }
        }
        self.turns.wake(self.ring.board());
        Ok(len)
    }

    /// Puts all of a message.
    ///
    /// # Errors
    /// As [`put`](Self::put). After any of them it is not known how much has been put.
    pub fn put_all(&mut self, message: &[u8]) -> io::Result<()> {
        let mut len = self.put(message)?;
        while len < message.len() {
            len += self.put(&message[len..])?;
        }
        Ok(())
    }

    /// Puts a message's next piece, if there is room for it; how many bytes.
    #[inline]
    fn put_piece(&mut self, rest: &[u8]) -> io::Result<Option<usize>> {
        let piece = &rest[..rest.len().min(PIECE)];
        let board = self.ring.board();
        let Some(first) = self.turns.room(board, cells_of(piece.len()))? else { return Ok(None) };
        // SAFETY: from `first` on there are as many cells as the piece needs, within the memory, and they are this side's.
        unsafe { copy(piece.as_ptr(), self.ring.cell(first), piece.len()) };
        // How much is still to come, the piece included: so the reader knows at the first one how long the message is.
        self.turns.put(board, rest.len() as u32);
        Ok(Some(piece.len()))
    }

    /// Says that there will be no more messages.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn end(&mut self) -> io::Result<()> {
        let board = self.ring.board();
        while self.turns.room(board, 1)?.is_none() {
            self.turns.wait(board)?;
        }
        self.turns.put(board, END);
        self.turns.wake(board);
        Ok(())
    }
}
