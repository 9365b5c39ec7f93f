//! Whose turn it is: who may touch which bytes, and who sleeps when. No byte of the data is touched here.
//!
//! One writer, one reader. `written` and `read` count bytes since the beginning and wrap around; byte `n`
//! of the stream is in cell `n % capacity`. The writer owns the cells from `written` to `read + capacity`,
//! the reader those from `read` to `written`. Each side stores only its own count: with `Release`, after it
//! is done with the cells, so that the other, loading with `Acquire`, finds them done.
//!
//! Sleeping takes care, because "nothing there, so go to sleep" is two steps and the other side may act in
//! between. The sleeper says that it waits and looks once more; the other side moves its count and looks
//! whether somebody waits. With a full fence between the two steps on either side, at least one of them sees
//! the other (Dekker's idea). The sleeper sleeps on the very word that says so: who wakes it clears the word
//! first, and futex(2) does not sleep on a word that has been cleared.
//!
//! tests/loom.rs tries all interleavings of this file, and shows that it fails with a weaker ordering.

use std::io;

use super::futex::{AtomicU32, Ordering, fence, spin, wait, wake};
use super::patience::Patience;

/// Alone on its cache lines: two, because processors fetch lines in pairs.
#[repr(C, align(128))]
pub struct Line(pub AtomicU32);

/// What both processes see, apart from the cells.
#[repr(C)]
pub struct Shared {
    /// Bytes that the writer has written, ever. Only the writer stores it.
    pub written: Line,
    /// Bytes that the reader has read, ever. Only the reader stores it.
    pub read: Line,
    /// 1 while the reader sleeps or is about to; [`NEVER`] where it never will.
    pub reader_waits: Line,
    /// 1 while the writer sleeps or is about to; [`NEVER`] where it never will.
    pub writer_waits: Line,
}

/// Said instead of 1 or 0 by a side that never sleeps.
pub const NEVER: u32 = 2;

/// Which side of the ring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Owns the free cells.
    Writer,
    /// Owns the full cells.
    Reader,
}

/// One side's private knowledge. What it has stored itself is never read back from the shared memory, where
/// the other process could have changed it.
pub struct End {
    side: Side,
    capacity: u32,
    /// This side's count.
    own: u32,
    /// The other side's count when it was last looked at: looking again costs a cache miss.
    other: u32,
    patience: Patience,
}

impl End {
    /// One side of an empty ring whose counts both stand at `count`, in a new one at 0. `capacity` is a power of
    /// two below 2^31.
    pub fn new(side: Side, capacity: u32, count: u32) -> End {
        assert!(capacity.is_power_of_two() && capacity < 1 << 31, "the counts wrap around at a multiple of it");
        End { side, capacity, own: count, other: count, patience: Patience::default() }
    }

    /// Never sleeps: [`wait`](Self::wait) returns `EINTR` instead.
    pub fn spin(&mut self, shared: &Shared) {
        self.patience = Patience::Endless;
        self.own_waits(shared).store(NEVER, Ordering::Relaxed);
    }

    /// Cells in the ring.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The cell where this side goes on.
    #[inline]
    pub fn cell(&self) -> u32 {
        self.own & (self.capacity - 1)
    }

    /// How many cells this side owns; looks at the other's count only where it knows of fewer than `wanted`.
    ///
    /// # Errors
    /// `InvalidData` where the other side's count is impossible.
    #[inline]
    pub fn owned(&mut self, shared: &Shared, wanted: u32) -> io::Result<u32> {
        match self.count(self.other) {
            Some(owned) if owned >= wanted => Ok(owned),
            _ => {
                let theirs = match self.side {
                    Side::Writer => &shared.read.0,
                    Side::Reader => &shared.written.0,
                };
                self.other = theirs.load(Ordering::Acquire);
                self.count(self.other).ok_or_else(corrupt)
            }
        }
    }

    /// Hands the next `len` cells to the other side, and leaves it asleep if it sleeps: [`pass_on`](Self::pass_on) must
    /// follow.
    #[inline]
    pub fn pass_on_quietly(&mut self, shared: &Shared, len: u32) {
        self.own = self.own.wrapping_add(len);
        let count = match self.side {
            Side::Writer => &shared.written.0,
            Side::Reader => &shared.read.0,
        };
        count.store(self.own, Ordering::Release);
    }

    /// Hands the next `len` cells to the other side, and wakes it if it sleeps.
    #[inline]
    pub fn pass_on(&mut self, shared: &Shared, len: u32) {
        self.pass_on_quietly(shared, len);
        let waits = match self.side {
            Side::Writer => &shared.reader_waits.0,
            Side::Reader => &shared.writer_waits.0,
        };
        // The fence is the dearest step of all, and who never sleeps need not be woken.
        if waits.load(Ordering::Relaxed) == NEVER {
            return;
        }
        fence(Ordering::SeqCst);
        // Only looked at, as a rule: the word stays in both caches until somebody really sleeps.
        if waits.load(Ordering::Relaxed) == 1 {
            waits.store(0, Ordering::Relaxed);
            wake(waits);
        }
    }

    /// Waits until this side owns a cell.
    ///
    /// # Errors
    /// `EINTR` after a signal; `InvalidData` as [`owned`](Self::owned).
    pub fn wait(&mut self, shared: &Shared) -> io::Result<()> {
        // While the other side is at work its next step comes sooner than a sleep and a wake-up take.
        if spin(self.patience.time(), || Ok(self.owned(shared, 1)? > 0))? {
            self.patience.rewarded();
            return Ok(());
        }
        if !self.patience.sleeps() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let waits = self.own_waits(shared);
        waits.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.owned(shared, 1)? == 0 {
            wait(waits, 1)?;
        }
        Ok(())
    }

    fn own_waits<'a>(&self, shared: &'a Shared) -> &'a AtomicU32 {
        match self.side {
            Side::Writer => &shared.writer_waits.0,
            Side::Reader => &shared.reader_waits.0,
        }
    }

    /// The cells that this side owns if the other's count is `other`; `None` if it cannot be.
    #[inline]
    fn count(&self, other: u32) -> Option<u32> {
        match self.side {
            Side::Writer => self.capacity.checked_sub(self.own.wrapping_sub(other)),
            Side::Reader => Some(other.wrapping_sub(self.own)).filter(|&len| len <= self.capacity),
        }
    }
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the other side has written nonsense into the ring")
}
