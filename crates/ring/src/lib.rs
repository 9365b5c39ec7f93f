//! A ring of bytes in memory that two processes share. Where the memory comes from is not its business: shm_open(3),
//! shmget(2) and a mapped file all lead here.
//!
//! ```text
//! writer  copy ─▶ ┌ header ─┬ written ┬ read ┬ waits ┬──────── cells ────────┐ ─▶ copy  reader
//!                 └─────────┴─────────┴──────┴───────┴───────────────────────┘
//! ```
//!
//! This file is the memory and the copying; `turns.rs` says who may touch what and when to sleep, `patience.rs` how long to
//! look again before, and `futex.rs` is sleeping itself.
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::io::{self, IoSlice, Read, Write};
use std::ptr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub mod futex;
pub mod patience;
pub mod turns;

use turns::{End, Shared, Side};

/// Says that everything else in the header is there.
const MAGIC: u64 = u64::from_be_bytes(*b"ipc-ring");
const VERSION: u32 = 1;
/// The cells begin on a page of their own.
const CELLS: usize = 4096;

/// The beginning of the memory. All zero bytes are a valid header, of an empty ring that is not ready yet.
#[repr(C)]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    capacity: AtomicU32,
    turns: Shared,
}

const _: () = assert!(size_of::<Header>() <= CELLS);

/// Bytes of memory that a ring of `capacity` bytes needs.
pub const fn size(capacity: u32) -> usize {
    CELLS + capacity as usize
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

/// The reading end, which makes the ring.
pub struct Reader<M: Memory>(Ring<M>);

/// The writing end, which opens it.
pub struct Writer<M: Memory>(Ring<M>);

impl<M: Memory> Reader<M> {
    /// Makes a ring in fresh memory, which is all zeros.
    ///
    /// # Panics
    /// Where the memory is not [`size`]`(capacity)` bytes long.
    pub fn create(memory: M, capacity: u32) -> Reader<M> {
        let ring = Ring::new(memory, Side::Reader, capacity);
        let header = header(&ring.memory);
        header.version.store(VERSION, Ordering::Relaxed);
        header.capacity.store(capacity, Ordering::Relaxed);
        // Last, with Release: whoever sees it sees all of the above.
        header.magic.store(MAGIC, Ordering::Release);
        Reader(ring)
    }

    /// Never sleeps, but looks again and again: `read` then returns `EINTR` now and then, so that its caller can look
    /// after other things. Good on a core of one's own, and a waste of everybody else's.
    pub fn spin(&mut self) {
        self.0.end.spin(&header(&self.0.memory).turns);
    }
}

impl<M: Memory> Writer<M> {
    /// Opens the ring that a reader has made.
    ///
    /// # Errors
    /// `EAGAIN` while it is half-made; `InvalidData` where it is something else.
    pub fn open(memory: M, capacity: u32) -> io::Result<Writer<M>> {
        if memory.size() != size(capacity) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not {} bytes of memory", size(capacity))));
        }
        let header = header(&memory);
        match header.magic.load(Ordering::Acquire) {
            0 => return Err(io::ErrorKind::WouldBlock.into()),
            MAGIC if header.version.load(Ordering::Relaxed) == VERSION => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a ring of this version")),
        }
        match header.capacity.load(Ordering::Relaxed) {
            known if known == capacity => Ok(Writer(Ring::new(memory, Side::Writer, capacity))),
            other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a ring of {other} bytes"))),
        }
    }

    /// As [`Reader::spin`].
    pub fn spin(&mut self) {
        self.0.end.spin(&header(&self.0.memory).turns);
    }

    /// The memory.
    pub fn memory(&self) -> &M {
        &self.0.memory
    }
}

impl<M: Memory> Read for Reader<M> {
    /// Waits for bytes and copies out as many as there are, but no more than [`STEP`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ring = &mut self.0;
        let len = ring.owned(1)?.min(buffer.len()).min(STEP);
        ring.each_run(0, len, |cells, at, len| {
            // SAFETY: `each_run` hands out cells of the memory that the writer leaves alone until they are
            // passed on; should it not, the bytes are garbage, and any byte is a valid u8. `at..at + len`
            // is within 0..buffer.len(), and the buffer is not in the memory.
            unsafe { copy(cells, buffer[at..].as_mut_ptr(), len) }
        });
        ring.pass_on(len);
        Ok(len)
    }
}

impl<M: Memory> Write for Writer<M> {
    /// Waits for room and copies in as many bytes as fit, but no more than [`STEP`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// All slices are written in one step, as far as there is room.
    #[inline]
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let ring = &mut self.0;
        let all = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let room = ring.owned(all.min(STEP))?;
        if all > room.min(PIECE) {
            return Ok(ring.write_in_pieces(slices, room.min(STEP)));
        }
        // No length hangs on the other side's count: a processor that has guessed that there is room copies before it
        // knows.
        let mut len = 0;
        for slice in slices {
            ring.copy_in(len, slice);
            len += slice.len();
        }
        ring.pass_on(len);
        Ok(len)
    }

    /// There is nothing to flush.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that are written or read in one step at the most. A little more than 64 KiB, so that for a message of this size,
/// with the length in front of it, the reader is woken once.
pub const STEP: usize = 68 << 10;
/// Bytes in a piece.
const PIECE: usize = 16 << 10;

/// As memcpy(3) copies, but in pieces that are too short for the instruction `rep movsb`, which the C library takes for
/// longer ones. From one core's cache to another's that instruction moved 64 KiB at half the speed, on a processor of AMD's
/// (Zen 4), and at a twentieth where the target lies 1 to 31 bytes further into its page than the source does into its own,
/// as each message in the ring does now and then.
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

struct Ring<M> {
    memory: M,
    end: End,
}

fn header<M: Memory>(memory: &M) -> &Header {
    // SAFETY: the memory is page-aligned, longer than a Header (`Ring::new` and `open` check its size), and valid as
    // long as `memory`. A Header is made of atomics only, so that stores by the other process are no data race and
    // every bit pattern is valid.
    unsafe { &*memory.start().cast::<Header>() }
}

impl<M: Memory> Ring<M> {
    fn new(memory: M, side: Side, capacity: u32) -> Ring<M> {
        assert_eq!(memory.size(), size(capacity));
        // A page that this process has not touched yet costs a fault. Here all of them are paid for in one call, and not one
        // by one on the first way round. (As if read: pages of a file that were written have to go to its disk.) It need not
        // succeed, and does not before Linux 5.14.
        // SAFETY: the range is the memory, of which no byte is changed.
        unsafe { libc::madvise(memory.start().cast(), memory.size(), libc::MADV_POPULATE_READ) };
        Ring { memory, end: End::new(side, capacity, 0) }
    }

    /// Waits until this side owns a cell, and says how many; at least `wanted` where that is so without waiting.
    fn owned(&mut self, wanted: usize) -> io::Result<usize> {
        let turns = &header(&self.memory).turns;
        loop {
            match self.end.owned(turns, wanted as u32)? {
                0 => self.end.wait(turns)?,
                owned => return Ok(owned as usize),
            }
        }
    }

    fn pass_on_quietly(&mut self, len: usize) {
        self.end.pass_on_quietly(&header(&self.memory).turns, len as u32);
    }

    fn pass_on(&mut self, len: usize) {
        self.end.pass_on(&header(&self.memory).turns, len as u32);
    }

    /// Copies in as much as there is room for. A reader that sleeps is woken once, at the end; one that looks finds each
    /// piece as soon as it is there, and copies it while this side copies the next.
    fn write_in_pieces(&mut self, slices: &[IoSlice<'_>], room: usize) -> usize {
        // Still to be copied, and copied since the last that was passed on.
        let (mut left, mut ahead) = (room, 0);
        for slice in slices {
            let mut bytes = &slice[..slice.len().min(left)];
            left -= bytes.len();
            while bytes.len() > PIECE {
                let (piece, rest) = bytes.split_at(PIECE);
                self.copy_in(ahead, piece);
                self.pass_on_quietly(ahead + PIECE);
                (ahead, bytes) = (0, rest);
            }
            self.copy_in(ahead, bytes);
            ahead += bytes.len();
        }
        self.pass_on(ahead);
        room - left
    }

    /// Copies bytes into the cells that begin `skip` cells on, which are the writer's.
    #[inline]
    fn copy_in(&self, skip: usize, bytes: &[u8]) {
        self.each_run(skip, bytes.len(), |cells, at, len| {
            // SAFETY: as in `read`, the other way round.
            unsafe { copy(bytes[at..].as_ptr(), cells, len) }
        });
    }

    /// Calls `part(cells, at, len)` for the one or two runs of cells that `len` bytes, `skip` bytes on, lie in.
    #[inline]
    fn each_run(&self, skip: usize, len: usize, mut part: impl FnMut(*mut u8, usize, usize)) {
        let capacity = self.end.capacity() as usize;
        // Below the capacity whatever the other process has done: `cell` depends on our own count only.
        let first = (self.end.cell() as usize + skip) & (capacity - 1);
        let until_wrap = len.min(capacity - first);
        for (cell, at, len) in [(first, 0, until_wrap), (0, until_wrap, len - until_wrap)] {
            if len > 0 {
                // SAFETY: CELLS + cell + len <= size(capacity), the length of the memory.
                part(unsafe { self.memory.start().add(CELLS + cell) }, at, len);
            }
        }
    }
}
