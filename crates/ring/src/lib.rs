//! A ring of messages in memory that two processes share. Where the memory comes from is not its business: shm_open(3),
//! shmget(2) and a mapped file all lead here.
//!
//! ```text
//! writer  copy ─▶ ┌ header ─┬─ words ─┬───────── cells ─────────┐ ─▶ copy  reader
//!                 │ emptied │ 5  69   │ hello   │ 69 byt│es     │
//!                 └─────────┴─────────┴─────────────────────────┘
//! ```
//!
//! A cell is a cache line. A message begins with a cell of its own, so that a core fetches no line for it that the other
//! core has just written to for another message; and what says how long it is stands elsewhere, in the list of words, and says
//! at the same time that the message is there. A message of 64 bytes costs two lines from core to core.
//!
//! This file is the memory, `writer.rs` and `reader.rs` are what the two ends do with it; `turns.rs` says who may touch what
//! and when to sleep, `patience.rs` how long to look again before, and `futex.rs` is sleeping itself.
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::ptr;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64};

pub mod futex;
pub mod patience;
mod reader;
pub mod turns;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use turns::{Board, Shared};

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

/// As memcpy(3) copies, but not in one go.
///
/// More than two pages are copied from four places by turns: a processor foresees within a page which lines will be read next,
/// and in four pages it fetches more of them at a time from the other core's cache.
///
/// And no part is long enough for the instruction `rep movsb`, which the C library takes for long ones. From one core's
/// cache to another's that instruction moved 64 KiB at half the speed, on a processor of AMD's (Zen 4), and at a twentieth
/// where the target lies 1 to 31 bytes further into its page than the source does into its own.
///
/// # Safety
/// As for [`ptr::copy_nonoverlapping`].
#[inline]
unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    const SHORT: usize = 2048;
    if len <= SHORT {
        // SAFETY: as above.
        return unsafe { ptr::copy_nonoverlapping(from, to, len) };
    }
    let places = if len <= 2 * PAGE { 1 } else { 4 };
    let (each, step) = (len / places / CELL * CELL, SHORT / places);
    // SAFETY: it is called for bytes of the `len` only.
    let part = |at: usize, len| unsafe { ptr::copy_nonoverlapping(from.wrapping_add(at), to.wrapping_add(at), len) };
    for at in (0..each).step_by(step) {
        for place in 0..places {
            part(place * each + at, step.min(each - at));
        }
    }
    part(places * each, len - places * each);
}
