//! Whose turn it is: who may touch which cells, and who sleeps when. No byte of a message is touched here.
//!
//! One writer, one reader. A message, or a piece of one, lies in cells one behind the other, and a *word* in a list says what
//! it is. The writer fills the cells and then stores the word, with `Release`; the reader looks at the place of the next
//! word until that is there, with `Acquire`, and so finds the cells filled. Having emptied them it stores, with `Release`
//! again, how many it has emptied since the beginning; so many the writer may fill once more.
//!
//! How does the reader tell the next word from what a round before was stored in the same place? One bit of it is set in
//! the first round, clear in the second, set in the third. There are as many words as cells, and whatever has a word has a
//! cell at least: where there is a cell to fill there is a word to store.
//!
//! Sleeping takes care, because "nothing there, so go to sleep" is two steps and the other side may act in
//! between. The sleeper says that it waits and looks once more; the other side stores its word, or its count, and looks
//! whether somebody waits. With a full fence between the two steps on either side, at least one of them sees
//! the other (Dekker's idea). The sleeper sleeps on the very flag that says so: who wakes it clears the flag
//! first, and futex(2) does not sleep on a flag that has been cleared.
//!
//! tests/loom.rs tries all interleavings of this file, and shows that it fails with a weaker ordering.

use std::io;

use super::futex::{AtomicU32, Ordering, fence, spin, wait, wake};
use super::patience::Patience;

/// Alone on its cache lines: two, because processors fetch lines in pairs.
#[repr(C, align(128))]
pub struct Line(pub AtomicU32);

/// What both processes see, apart from words and cells.
#[repr(C)]
pub struct Shared {
    /// Cells that the reader has emptied, ever; it wraps around. Only the reader stores it.
    pub emptied: Line,
    /// 1 while the reader sleeps or is about to; [`NEVER`] where it never will.
    pub reader_waits: Line,
    /// 1 while the writer sleeps or is about to; [`NEVER`] where it never will.
    pub writer_waits: Line,
}

/// Said instead of 1 or 0 by a side that never sleeps.
pub const NEVER: u32 = 2;

/// What both processes see, apart from cells.
#[derive(Clone, Copy)]
pub struct Board<'a> {
    /// How far the reader is, and who waits.
    pub shared: &'a Shared,
    /// As many as there are cells. Only the writer stores them.
    pub words: &'a [AtomicU32],
}

/// The bit of a word that differs from round to round; the others are the caller's.
pub const ROUND: u32 = 1 << 31;

/// How far a side is. What it has stored itself is never read back from the shared memory, where the other process
/// could have changed it.
#[derive(Clone, Copy)]
struct Place {
    cells: u32,
    /// The next cell, counted from the beginning; it wraps around, and so does the next.
    cell: u32,
    /// The next word.
    word: u32,
}

impl Place {
    fn new(cells: u32, count: u32) -> Place {
        assert!(cells.is_power_of_two() && cells < ROUND, "the counts wrap around at a multiple of it");
        Place { cells, cell: count, word: count }
    }

    /// The first of the next `len` cells that lie one behind the other, and how many are left empty before.
    #[inline]
    fn first(&self, len: u32) -> (u32, u32) {
        let next = self.cell & (self.cells - 1);
        let until_end = self.cells - next;
        if len <= until_end { (next, 0) } else { (0, until_end) }
    }

    /// Where the `n`-th word from here is, and its round's bit.
    #[inline]
    fn word<'a>(&self, board: Board<'a>, n: u32) -> (&'a AtomicU32, u32) {
        let word = self.word.wrapping_add(n);
        let round = if word & self.cells == 0 { ROUND } else { 0 };
        (&board.words[(word & (self.cells - 1)) as usize], round)
    }

    /// What stands there, if it is of this round.
    #[inline]
    fn read(&self, board: Board<'_>, n: u32) -> Option<u32> {
        let (place, round) = self.word(board, n);
        let word = place.load(Ordering::Acquire);
        (word & ROUND == round).then_some(word & !ROUND)
    }

    #[inline]
    fn go_on(&mut self, words: u32, cells: u32) {
        self.word = self.word.wrapping_add(words);
        self.cell = self.cell.wrapping_add(cells);
    }
}

/// The writing side.
pub struct Writer {
    room: Room,
    patience: Patience,
}

/// How many cells may be filled.
struct Room {
    place: Place,
    /// What the reader had emptied when it was last looked at: looking again costs a cache miss.
    emptied: u32,
    /// So many are asked for.
    wanted: u32,
}

impl Room {
    #[inline]
    fn is_there(&mut self, board: Board<'_>) -> io::Result<bool> {
        let known = self.place.cells - self.place.cell.wrapping_sub(self.emptied);
        Ok(known >= self.wanted || self.look(board)?)
    }

    fn look(&mut self, board: Board<'_>) -> io::Result<bool> {
        let emptied = board.shared.emptied.0.load(Ordering::Acquire);
        let empty = self.place.cells.checked_sub(self.place.cell.wrapping_sub(emptied)).ok_or_else(corrupt)?;
        self.emptied = emptied;
        Ok(empty >= self.wanted)
    }
}

impl Writer {
    /// Of an empty ring in which all counts stand at `count`; in a new one that is 0. `cells` is a power of two below 2^31.
    pub fn new(cells: u32, count: u32) -> Writer {
        let room = Room { place: Place::new(cells, count), emptied: count, wanted: 1 };
        Writer { room, patience: Patience::default() }
    }

    /// Never sleeps: [`wait`](Self::wait) returns `EINTR` instead.
    pub fn spin(&mut self, board: Board<'_>) {
        self.patience = Patience::Endless;
        board.shared.writer_waits.0.store(NEVER, Ordering::Relaxed);
    }

    /// The first of `len` cells that may be filled, one behind the other; `None` while there are not so many.
    ///
    /// # Errors
    /// `InvalidData` where the reader's count is impossible.
    #[inline]
    pub fn room(&mut self, board: Board<'_>, len: u32) -> io::Result<Option<u32>> {
        let (first, skipped) = self.room.place.first(len);
        self.room.wanted = skipped + len;
        Ok(self.room.is_there(board)?.then_some(first))
    }

    /// Hands the cells that [`room`](Self::room) has last found to the reader, with a word of 31 bits; and leaves the
    /// reader asleep if it sleeps: [`wake`](Self::wake) must follow.
    #[inline]
    pub fn put(&mut self, board: Board<'_>, word: u32) {
        let (place, round) = self.room.place.word(board, 0);
        place.store(round | word, Ordering::Release);
        self.room.place.go_on(1, self.room.wanted);
    }

    /// Wakes the reader if it sleeps.
    #[inline]
    pub fn wake(&self, board: Board<'_>) {
        wake_sleeper(&board.shared.reader_waits.0);
    }

    /// Waits until there is the room that was asked for last.
    ///
    /// # Errors
    /// `EINTR` after a signal; `InvalidData` as [`room`](Self::room).
    pub fn wait(&mut self, board: Board<'_>) -> io::Result<()> {
        wait_for(&mut self.patience, &board.shared.writer_waits.0, || self.room.is_there(board))
    }
}

/// The reading side.
pub struct Reader {
    place: Place,
    /// How many emptied cells the writer knows of.
    told: u32,
    patience: Patience,
}

impl Reader {
    /// As [`Writer::new`].
    pub fn new(cells: u32, count: u32) -> Reader {
        Reader { place: Place::new(cells, count), told: count, patience: Patience::default() }
    }

    /// As [`Writer::spin`].
    pub fn spin(&mut self, board: Board<'_>) {
        self.patience = Patience::Endless;
        board.shared.reader_waits.0.store(NEVER, Ordering::Relaxed);
    }

    /// The `n`-th word from here; `None` while it is not there.
    #[inline]
    pub fn word(&self, board: Board<'_>, n: u32) -> Option<u32> {
        self.place.read(board, n)
    }

    /// The first of the next word's `len` cells, and how many there are from it to the end.
    #[inline]
    pub fn cells(&self, len: u32) -> (u32, u32) {
        let (first, _) = self.place.first(len);
        (first, self.place.cells - first)
    }

    /// Hands back the cells of so many words, of which the first has `first` and all of them `len`; and wakes the writer, if it
    /// sleeps, when there are enough of them.
    #[inline]
    pub fn take(&mut self, board: Board<'_>, words: u32, first: u32, len: u32) {
        let (_, skipped) = self.place.first(first);
        self.place.go_on(words, skipped + len);
        if self.place.cell.wrapping_sub(self.told) >= (self.place.cells / WORTH_TELLING).max(2) {
            self.told = self.place.cell;
            board.shared.emptied.0.store(self.told, Ordering::Release);
            wake_sleeper(&board.shared.writer_waits.0);
        }
    }

    /// Waits until there is a word.
    ///
    /// # Errors
    /// `EINTR` after a signal.
    pub fn wait(&mut self, board: Board<'_>) -> io::Result<()> {
        wait_for(&mut self.patience, &board.shared.reader_waits.0, || Ok(self.place.read(board, 0).is_some()))
    }
}

/// The writer is told when such a part of all cells has been emptied, and not of each one: its look at the count costs both
/// sides a cache miss. It does not wait in vain for the others, as long as what it asks for at once is less than the rest.
const WORTH_TELLING: u32 = 128;

/// Looks for a while, and then sleeps until the other side clears the flag.
fn wait_for(patience: &mut Patience, waits: &AtomicU32, mut there: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    // While the other side is at work its next step comes sooner than a sleep and a wake-up take.
    if spin(patience.time(), &mut there)? {
        patience.rewarded();
        return Ok(());
    }
    if !patience.sleeps() {
        return Err(io::ErrorKind::Interrupted.into());
    }
    waits.store(1, Ordering::Relaxed);
    fence(Ordering::SeqCst);
    if !there()? {
        wait(waits, 1)?;
    }
    Ok(())
}

#[inline]
fn wake_sleeper(waits: &AtomicU32) {
    // The fence is the dearest step of all, and who never sleeps need not be woken.
    if waits.load(Ordering::Relaxed) == NEVER {
        return;
    }
    fence(Ordering::SeqCst);
    // Only looked at, as a rule: the flag stays in both caches until somebody really sleeps.
    if waits.load(Ordering::Relaxed) == 1 {
        waits.store(0, Ordering::Relaxed);
        wake(waits);
    }
}

/// What is said of a count or a word that cannot be.
pub fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the other side has written nonsense into the ring")
}
