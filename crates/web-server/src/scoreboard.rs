//! The scoreboard: memory that the server shares with all its children, so that each can tell what all of them do.
//!
//! A child's own variables are copies that nobody else sees. This mapping is made before any fork(2), and a shared
//! mapping is not copied: parent and children have the same pages. It has no name, so nothing of it outlives them.
//!
//! ```text
//! totals   connections, requests, bytes, …     everybody adds, by one atomic instruction
//! slot 0   seq  pid  state  requests  bytes …   one writer at a time: the parent before fork(2) and after wait(2),
//! slot 1   …                                    the child in between
//! ```
//!
//! A single word needs no lock. A slot is several words that belong together, so a reader could see one child's pid
//! beside the next one's figures. A mutex or a semaphore is no cure here: a child that is killed while it holds one
//! leaves it locked, and then everybody waits for ever. A sequence lock is: its writer waits for nobody, its readers
//! look again if the number was odd or has changed, and a number left odd by a killed child holds nobody up.
//!
//! Manual pages: mmap(2), fork(2).
#![expect(unsafe_code, reason = "mapped memory is reached through pointers")]

use std::num::NonZeroUsize;
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Instant;
use std::{io, thread};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::unistd::getpid;
use serde::Serialize;

/// Sums over all children, dead ones too. They only grow, except for `waiting`.
// A cache line of its own, as for each slot: a core that writes takes the line away from all others.
#[repr(C, align(64))]
#[derive(Debug, Default)]
pub struct Totals {
    /// Connections that were accepted.
    pub connections: AtomicU64,
    /// Requests whose answer has begun.
    pub requests: AtomicU64,
    /// Bytes of answers that the kernel has taken.
    pub bytes: AtomicU64,
    /// Connections that were answered with 503.
    pub refused: AtomicU64,
    /// Children that were started.
    pub started: AtomicU64,
    /// Children that were killed or failed.
    pub crashed: AtomicU64,
    /// Connections that have not said anything yet and have no child.
    pub waiting: AtomicU64,
}

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum State {
    /// There is no child.
    Free,
    /// It has been forked, and has not done anything yet.
    Starting,
    /// It waits for a request.
    Waiting,
    /// It reads a request or answers one.
    Answering,
    /// It finishes what is open and takes nothing new.
    Finishing,
}

impl State {
    fn from(number: u32) -> State {
        let all = [State::Starting, State::Waiting, State::Answering, State::Finishing];
        all.into_iter().find(|&state| state as u32 == number).unwrap_or(State::Free)
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            State::Free => "free",
            State::Starting => "starting",
            State::Waiting => "waiting",
            State::Answering => "answering",
            State::Finishing => "finishing",
        }
    }
}

#[repr(C, align(64))]
#[derive(Debug, Default)]
struct Slot {
    /// Odd while somebody writes.
    seq: AtomicU32,
    pid: AtomicU32,
    state: AtomicU32,
    connections: AtomicU32,
    requests: AtomicU64,
    bytes: AtomicU64,
    /// Milliseconds from the server's start to the child's.
    started: AtomicU64,
}

impl Slot {
    fn write(&self, change: impl FnOnce(&Slot)) {
        // One writer at a time, so this need not be a single instruction. Whoever was killed has left it odd.
        let odd = self.seq.load(Ordering::Relaxed) | 1;
        self.seq.store(odd, Ordering::Relaxed);
        // Nobody sees the new words beside the old number, nor the next number before all new words.
        fence(Ordering::Release);
        change(self);
        self.seq.store(odd.wrapping_add(1), Ordering::Release);
    }

    fn read(&self) -> View {
        // A writer is at it for nanoseconds, unless it is preempted or killed. In the end a figure that may not go
        // with its neighbour is better than a reader that waits for a dead writer.
        let mut tries = 100;
        loop {
            let before = self.seq.load(Ordering::Acquire);
            let view = View {
                pid: self.pid.load(Ordering::Relaxed),
                state: State::from(self.state.load(Ordering::Relaxed)),
                connections: self.connections.load(Ordering::Relaxed),
                requests: self.requests.load(Ordering::Relaxed),
                bytes: self.bytes.load(Ordering::Relaxed),
                started: self.started.load(Ordering::Relaxed),
            };
            fence(Ordering::Acquire);
            let untouched = before.is_multiple_of(2) && self.seq.load(Ordering::Relaxed) == before;
            if untouched || tries == 0 {
                return view;
            }
            tries -= 1;
            thread::yield_now();
        }
    }
}

/// What one slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// The child's process.
    pub pid: u32,
    /// What it does.
    pub state: State,
    /// Connections that it has open.
    pub connections: u32,
    /// Requests whose answer it has begun.
    pub requests: u64,
    /// Bytes of answers that the kernel has taken from it.
    pub bytes: u64,
    /// Milliseconds from the server's start to the child's.
    pub started: u64,
}

/// The shared memory. A copy is the same memory; it lives for as long as the process.
#[derive(Clone, Copy, Debug)]
pub struct Scoreboard {
    /// Sums over all children.
    pub totals: &'static Totals,
    slots: &'static [Slot],
    start: Instant,
}

impl Scoreboard {
    /// Maps memory for so many children.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(slots: usize) -> io::Result<Scoreboard> {
        let size = size_of::<Totals>() + slots * size_of::<Slot>();
        let size = NonZeroUsize::new(size).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let memory = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_SHARED) }?;
        // SAFETY: the mapping begins at a page, is long enough, is never unmapped, and consists of zeros, which is a
        // valid value of every field. All fields are atomics, so other processes may write while this one reads.
        let totals = unsafe { memory.cast::<Totals>().as_ref() };
        let behind = memory.as_ptr().cast::<Totals>().wrapping_add(1).cast();
        // SAFETY: as above, for the slots that lie behind the totals.
        let slots = unsafe { slice::from_raw_parts(behind, slots) };
        Ok(Scoreboard { totals, slots, start: Instant::now() })
    }

    /// How many children it has room for.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Has it no room at all?
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Milliseconds since the server's start.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What the slots of living children say.
    pub fn views(&self) -> impl Iterator<Item = (usize, View)> {
        let views = self.slots.iter().map(Slot::read).enumerate();
        views.filter(|(_, view)| view.state != State::Free)
    }

    /// What one slot says.
    pub fn view(&self, slot: usize) -> View {
        self.slots[slot].read()
    }

    /// The parent, before it forks: the slot is for a new child.
    pub fn claim(&self, slot: usize) -> Account {
        self.set(slot, State::Starting);
        Account { board: *self, slot }
    }

    /// The parent, when the child has been waited for: the slot is free, whatever the child was doing with it.
    pub fn release(&self, slot: usize) {
        self.set(slot, State::Free);
    }

    fn set(&self, slot: usize, state: State) {
        let now = self.now();
        self.slots[slot].write(|slot| {
            slot.pid.store(0, Ordering::Relaxed);
            slot.state.store(state as u32, Ordering::Relaxed);
            slot.connections.store(0, Ordering::Relaxed);
            slot.requests.store(0, Ordering::Relaxed);
            slot.bytes.store(0, Ordering::Relaxed);
            slot.started.store(now, Ordering::Relaxed);
        });
    }
}

/// A child's own slot, the only one that it writes.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    board: Scoreboard,
    slot: usize,
}

impl Account {
    /// The child has begun to run.
    pub fn begin(&self) {
        self.slot().write(|slot| slot.pid.store(getpid().as_raw().unsigned_abs(), Ordering::Relaxed));
    }

    /// What the child does now, and how many connections it has.
    pub fn state(&self, state: State, connections: usize) {
        self.slot().write(|slot| {
            slot.state.store(state as u32, Ordering::Relaxed);
            slot.connections.store(u32::try_from(connections).unwrap_or(u32::MAX), Ordering::Relaxed);
        });
    }

    /// An answer begins.
    pub fn request(&self) {
        self.slot().write(|slot| add(&slot.requests, 1));
        self.board.totals.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// The kernel has taken so many bytes of an answer.
    pub fn bytes(&self, count: usize) {
        self.slot().write(|slot| add(&slot.bytes, count as u64));
        self.board.totals.bytes.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn slot(&self) -> &'static Slot {
        &self.board.slots[self.slot]
    }
}

/// With a single writer, loading and storing is enough.
fn add(figure: &AtomicU64, count: u64) {
    figure.store(figure.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::hint;
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// Without the sequence number, thousands of these readings do not add up.
    #[test]
    fn a_reader_never_sees_half_of_a_change() {
        let board = Scoreboard::new(1).unwrap();
        let account = board.claim(0);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for count in 1.. {
                    account.slot().write(|slot| {
                        slot.requests.store(count, Ordering::Relaxed);
                        slot.connections.store(count as u32, Ordering::Relaxed);
                        slot.bytes.store(count, Ordering::Relaxed);
                    });
                    // As between two requests, only shorter. Who never stops writing lets nobody read.
                    (0..100).for_each(|_| hint::spin_loop());
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let mut changes = 0;
            let mut torn = None;
            let mut last = board.view(0);
            while changes < 3_000 && torn.is_none() {
                let view = board.view(0);
                changes += u32::from(view != last);
                torn = (view.requests != view.bytes || view.connections != view.bytes as u32).then_some(view);
                last = view;
            }
            stop.store(true, Ordering::Relaxed);
            assert!(torn.is_none(), "{torn:?}");
        });
    }

    #[test]
    fn a_writer_killed_in_the_middle_holds_nobody_up() {
        let board = Scoreboard::new(2).unwrap();
        let account = board.claim(0);
        account.request();
        account.slot().seq.fetch_add(1, Ordering::Relaxed); // killed here
        assert_eq!(board.view(0).requests, 1);
        board.release(0);
        assert_eq!((board.view(0).requests, board.views().count()), (0, 0));
        board.claim(0).bytes(7);
        assert_eq!((board.view(0).bytes, board.totals.bytes.load(Ordering::Relaxed)), (7, 7));
        assert!(account.slot().seq.load(Ordering::Relaxed).is_multiple_of(2));
    }
}
