//! What the reading end does.
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::hint::spin_loop;
use std::io;
use std::mem;
use std::sync::atomic::Ordering;

use super::{CELL, END, LONGEST, MAGIC, MOST, Memory, PIECE, Ring, VERSION, cells_of, copy, header, turns};

/// Messages that are copied out together, at the most: their words lie in two or three cache lines.
const RUN: usize = 32;

/// Turns of spin_loop() for a writer to get ahead in: some microseconds.
const HEAD_START: u32 = 200;

/// The reading end, which makes the ring.
pub struct Reader<M: Memory> {
    ring: Ring<M>,
    turns: turns::Reader,
    /// Whole messages that have been copied out, each at a cell's beginning, or a part of a long one.
    buffer: Buffer,
    /// How long they are; those from `next` to `there` have not been taken yet, and the next one begins at `at`.
    lens: [u32; RUN],
    next: usize,
    there: usize,
    at: usize,
    /// Of a long message: bytes that have come, and bytes that are to come.
    came: usize,
    to_come: usize,
    ended: bool,
    /// Have several messages been there at once, and none behind them?
    caught_up: bool,
}

impl<M: Memory> Reader<M> {
    /// Makes a ring in fresh memory, which is all zeros.
    ///
    /// # Panics
    /// Where the memory is not [`size`]`(cells)` bytes long.
    pub fn create(memory: M, cells: u32) -> Reader<M> {
        let ring = Ring::new(memory, cells);
        let header = header(&ring.memory);
        header.version.store(VERSION, Ordering::Relaxed);
        header.cells.store(cells, Ordering::Relaxed);
        // Last, with Release: whoever sees it sees all of the above.
        header.magic.store(MAGIC, Ordering::Release);
        Reader {
            ring,
            turns: turns::Reader::new(cells, 0),
            buffer: Buffer::new(MOST as usize * CELL),
            lens: [0; RUN],
            next: 0,
            there: 0,
            at: 0,
            came: 0,
            to_come: 0,
            ended: false,
            caught_up: false,
        }
    }

    /// As [`Writer::spin`]: `fill` returns `EINTR` now and then.
    pub fn spin(&mut self) {
        self.turns.spin(self.ring.board());
    }

    /// Is there a message to take, or the end?
    #[inline]
    pub fn is_filled(&self) -> bool {
        self.next < self.there || self.ended
    }

    /// Waits until there is a message to take, or the end.
    ///
    /// # Errors
    /// `EINTR` after a signal: nothing is lost, the next call goes on; `InvalidData` where the writer has said something
    /// impossible.
    #[inline]
    pub fn fill(&mut self) -> io::Result<()> {
        while !self.is_filled() {
            // Right behind a writer that goes on, this side would fetch the line with the words for each one of them, and the
            // writer would have to fetch it back.
            if mem::take(&mut self.caught_up) {
                (0..HEAD_START).for_each(|_| spin_loop());
            }
            match self.turns.word(self.ring.board(), 0) {
                None => self.turns.wait(self.ring.board())?,
                Some(word) if self.to_come == 0 && word as usize <= PIECE => self.copy_run(word),
                Some(END) if self.to_come == 0 => self.ended = true,
                Some(word) => self.copy_piece(word as usize)?,
            }
        }
        Ok(())
    }

    /// The next message that [`fill`](Self::fill) has waited for, valid until the next call; `None` at the end.
    #[inline]
    pub fn take(&mut self) -> Option<&[u8]> {
        if self.next == self.there {
            return None;
        }
        let (begin, len) = (self.at, self.lens[self.next] as usize);
        self.next += 1;
        self.at += cells_of(len) as usize * CELL;
        Some(&self.buffer.bytes()[begin..begin + len])
    }

    /// Copies out a message of one piece, and with it those behind it that are there, too, as far as they are short.
    #[inline]
    fn copy_run(&mut self, word: u32) {
        let board = self.ring.board();
        let first = cells_of(word as usize);
        let (cell, until_end) = self.turns.cells(first);
        self.lens[0] = word;
        let (mut words, mut cells) = (1, first);
        while words < RUN {
            let Some(word) = self.turns.word(board, words as u32) else {
                self.caught_up = words > 1;
                break;
            };
            let more = cells_of(word as usize);
            if more > MOST || cells + more > until_end.min(MOST) {
                break;
            }
            self.lens[words] = word;
            (words, cells) = (words + 1, cells + more);
        }
        let len = cells as usize * CELL;
        // SAFETY: these cells lie one behind the other within the memory and are this side's; should the writer touch them,
        // the bytes are garbage, and any byte is a valid u8. The buffer is not in the memory.
        unsafe { copy(self.ring.cell(cell), self.buffer.bytes_mut()[..len].as_mut_ptr(), len) };
        self.turns.take(board, words as u32, first, cells);
        (self.next, self.there, self.at) = (0, words, 0);
    }

    /// Copies out the next piece of a message that has several.
    fn copy_piece(&mut self, to_come: usize) -> io::Result<()> {
        if self.to_come == 0 && to_come <= LONGEST {
            self.to_come = to_come;
            self.buffer.grow(to_come);
        } else if self.to_come != to_come {
            return Err(turns::corrupt());
        }
        let len = to_come.min(PIECE);
        let cells = cells_of(len);
        let (cell, _) = self.turns.cells(cells);
        // SAFETY: as above.
        unsafe { copy(self.ring.cell(cell), self.buffer.bytes_mut()[self.came..][..len].as_mut_ptr(), len) };
        self.turns.take(self.ring.board(), 1, cells, cells);
        self.came += len;
        self.to_come -= len;
        if self.to_come == 0 {
            self.lens[0] = self.came as u32;
            (self.next, self.there, self.at, self.came) = (0, 1, 0, 0);
        }
        Ok(())
    }
}

/// Bytes that begin with a cache line, as the cells do.
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new(len: usize) -> Buffer {
        let memory = vec![0; len + CELL];
        Buffer { start: memory.as_ptr().align_offset(CELL), memory }
    }

    /// Makes it `len` bytes long at least; what was in it is lost.
    fn grow(&mut self, len: usize) {
        if len > self.memory.len() - CELL {
            *self = Buffer::new(len);
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }
}
