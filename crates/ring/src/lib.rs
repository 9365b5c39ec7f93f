//! A ring of messages in memory that two processes share. Where the memory comes from is not its business: shm_open(3),
//! shmget(2) and a mapped file all lead here.
//!
//! ```text
//! writer  copy ─▶ ┌ header ─┬─ words ──┬──────────── cells ────────────┐ ─▶ copy  reader
//!                 │ emptied │ 5 ·20 ·7 │ hello···│a longer me|ssage ···│
//!                 └─────────┴──────────┴───────────────────────────────┘
//! ```
//!
//! A cell is a cache line. A message begins with a cell of its own, so that a core fetches no line for it that the other
//! core has just written to for another message; and what says how long it is stands elsewhere, in the list of words, and says
//! at the same time that the message is there. A message of 64 bytes costs two lines from core to core.
//!
//! This file is the memory and the copying; `turns.rs` says who may touch what and when to sleep, `patience.rs` how long to
//! look again before, and `futex.rs` is sleeping itself.
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::io;
use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub mod futex;
pub mod patience;
pub mod turns;

use turns::{Board, Shared, corrupt};

/// Says that everything else in the header is there.
const MAGIC: u64 = u64::from_be_bytes(*b"ipc-ring");
const VERSION: u32 = 2;
const PAGE: usize = 4096;
/// The words begin on a page of their own.
const WORDS: usize = PAGE;
/// Bytes in a cell.
pub const CELL: usize = 64;

/// Bytes in the longest message.
pub const LONGEST: usize = 16 << 20;
/// A longer message is put in pieces of so many bytes, and the rest: the reader copies one while the writer copies the next,
/// and a message may be larger than the ring.
pub const PIECE: usize = 16 << 10;
/// Cells that a piece takes at the most.
const MOST: u32 = cells_of(PIECE);
/// A reader that sleeps is woken when so many bytes of a message are there.
const STEP: usize = 4 * PIECE;
/// Instead of a length: there will be no more messages.
const END: u32 = turns::ROUND - 1;

/// The beginning of the memory. All zero bytes are a valid header, of an empty ring that is not ready yet.
#[repr(C)]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    cells: AtomicU32,
    turns: Shared,
}

const _: () = assert!(size_of::<Header>() <= WORDS);

/// Where the cells begin.
const fn cells_at(cells: u32) -> usize {
    WORDS + cells as usize * size_of::<AtomicU32>()
}

/// Bytes of memory that a ring of so many cells needs.
pub const fn size(cells: u32) -> usize {
    cells_at(cells) + cells as usize * CELL
}

/// Memory that two processes have mapped.
///
/// # Safety
/// From `start()`, which is page-aligned, `size()` bytes can be read and written for as long as the value lives, and
/// neither function ever returns anything else. Nobody holds a reference into these bytes.
pub unsafe trait Memory {
    /// The first byte.
    fn start(&self) -> *mut u8;
    /// How many bytes there are.
    fn size(&self) -> usize;
}

struct Ring<M> {
    memory: M,
    cells: u32,
}

fn header<M: Memory>(memory: &M) -> &Header {
    // SAFETY: the memory is page-aligned, longer than a Header (`Ring::new` and `Writer::open` check its size), and valid as
    // long as `memory`. A Header is made of atomics only, so that stores by the other process are no data race and
    // every bit pattern is valid.
    unsafe { &*memory.start().cast::<Header>() }
}

impl<M: Memory> Ring<M> {
    fn new(memory: M, cells: u32) -> Ring<M> {
        assert_eq!(memory.size(), size(cells));
        assert!(cells >= 2 * MOST, "whatever is left empty at the end, there is room for a piece");
        // A page that this process has not touched yet costs a fault. Here all of them are paid for in one call, and not one
        // by one on the first way round. (As if read: pages of a file that were written have to go to its disk.) It need not
        // succeed, and does not before Linux 5.14.
        // SAFETY: the range is the memory, of which no byte is changed.
        unsafe { libc::madvise(memory.start().cast(), memory.size(), libc::MADV_POPULATE_READ) };
        Ring { memory, cells }
    }

    #[inline]
    fn board(&self) -> Board<'_> {
        let words = self.memory.start().wrapping_add(WORDS).cast::<AtomicU32>();
        // SAFETY: `cells_at` counts so many words from here on, and `new` has checked the size; they are atomics.
        let words = unsafe { slice::from_raw_parts(words, self.cells as usize) };
        Board { shared: &header(&self.memory).turns, words }
    }

    #[inline]
    fn cell(&self, index: u32) -> *mut u8 {
        self.memory.start().wrapping_add(cells_at(self.cells) + index as usize * CELL)
    }
}

/// Cells that so many bytes take. An empty message has one, too. And behind a page or more one is left empty: if each message
/// and each piece began at the same place in its page, they would be copied a little more slowly.
#[inline]
const fn cells_of(len: usize) -> u32 {
    match len {
        0 => 1,
        1..PAGE => len.div_ceil(CELL) as u32,
        _ => len.div_ceil(CELL) as u32 + 1,
    }
}

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
        let mut len = self.put_piece(message)?;
        while len < message.len() && len < STEP {
            match self.room(message.len() - len)? {
                Some(_) => len += self.put_piece(&message[len..])?,
                None => break,
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

    /// The first cell for the next piece of so many bytes, or more.
    #[inline]
    fn room(&mut self, len: usize) -> io::Result<Option<u32>> {
        self.turns.room(self.ring.board(), cells_of(len.min(PIECE)))
    }

    #[inline]
    fn put_piece(&mut self, rest: &[u8]) -> io::Result<usize> {
        let first = loop {
            match self.room(rest.len())? {
                Some(first) => break first,
                None => self.turns.wait(self.ring.board())?,
            }
        };
        let piece = &rest[..rest.len().min(PIECE)];
        // SAFETY: from `first` on there are as many cells as the piece needs, within the memory, and they are this side's.
        unsafe { copy(piece.as_ptr(), self.ring.cell(first), piece.len()) };
        // How much is still to come, the piece included: so the reader knows at the first one how long the message is.
        self.turns.put(self.ring.board(), rest.len() as u32);
        Ok(piece.len())
    }

    /// Says that there will be no more messages.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn end(&mut self) -> io::Result<()> {
        while self.room(0)?.is_none() {
            self.turns.wait(self.ring.board())?;
        }
        self.turns.put(self.ring.board(), END);
        self.turns.wake(self.ring.board());
        Ok(())
    }
}

/// Messages that are copied out together, at the most: their words lie in two or three cache lines.
const RUN: usize = 32;

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
            let Some(word) = self.turns.word(board, words as u32) else { break };
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
            return Err(corrupt());
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

/// As memcpy(3) copies, but in parts that are too short for the instruction `rep movsb`, which the C library takes for
/// longer ones. From one core's cache to another's that instruction moved 64 KiB at half the speed, on a processor of AMD's
/// (Zen 4), and at a twentieth where the target lies 1 to 31 bytes further into its page than the source does into its own.
///
/// # Safety
/// As for [`ptr::copy_nonoverlapping`].
#[inline]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    const SHORT: usize = 2048;
    for at in (0..len).step_by(SHORT) {
        // SAFETY: at + SHORT.min(len - at) <= len.
        unsafe { ptr::copy_nonoverlapping(from.wrapping_add(at), to.wrapping_add(at), SHORT.min(len - at)) }
    }
}
