//! Slots in shared memory, and two counters that say whose they are: `free` is their number and `full` is 0 at first.
//! Who takes one off a counter owns the next slot; then it adds one to the other counter.
#![expect(unsafe_code, reason = "memory that another process writes is reached through raw pointers")]

use std::io;
use std::rc::Rc;

use common::{Context, IoBuffer, Receiver, Result, Sender};

use crate::control::Shared;
use crate::source::Setup;

/// A pair of counters in the kernel, or almost.
pub trait Counters {
    /// Waits until the counter is above 0, and takes one off it.
    fn take(&self, which: Which) -> io::Result<()>;
    /// Adds one.
    fn add(&self, which: Which) -> io::Result<()>;
}

/// Which counter.
#[derive(Clone, Copy)]
pub enum Which {
    /// Slots that the writer may fill.
    Free = 0,
    /// Slots that the reader may empty.
    Full = 1,
}

/// As many slots of one size, in turn.
pub struct Slots {
    memory: Rc<Shared>,
    size: usize,
    step: usize,
    count: usize,
    next: usize,
}

impl Slots {
    /// Slots for messages of one size.
    pub fn new(setup: &Setup<'_>, count: usize) -> Result<Slots> {
        let step = setup.size.next_multiple_of(64);
        let memory = Rc::new(Shared::new(count * step).doing("mmap")?);
        Ok(Slots { memory, size: setup.size, step, count, next: 0 })
    }

    /// The same ones, for the other end.
    pub fn other(&self) -> Slots {
        Slots { memory: Rc::clone(&self.memory), ..*self }
    }

    fn turn(&mut self) -> *mut u8 {
        let at = self.next * self.step;
        self.next = (self.next + 1) % self.count;
        // SAFETY: `count * step` is the length of the mapping.
        unsafe { self.memory.as_ptr().add(at) }
    }

    /// Fills the next one, which the caller must own.
    pub fn fill(&mut self, message: &[u8]) {
        assert_eq!(message.len(), self.size, "the slots have one size");
        // SAFETY: there is room for `size` bytes, and whoever calls this owns them.
        unsafe { self.turn().copy_from_nonoverlapping(message.as_ptr(), message.len()) };
    }

    /// Empties the next one, which the caller must own.
    pub fn empty(&mut self, buffer: &mut [u8]) {
        assert_eq!(buffer.len(), self.size, "the slots have one size");
        // SAFETY: there are `size` bytes, and whoever calls this owns them.
        unsafe { self.turn().copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) };
    }
}

/// The writing end.
pub struct Writer<C> {
    slots: Slots,
    counters: Rc<C>,
}

/// The reading end.
pub struct Reader<C> {
    slots: Slots,
    counters: Rc<C>,
    buffer: IoBuffer,
}

/// Both ends around `count` slots.
pub fn ends<C>(setup: &Setup<'_>, count: usize, counters: C) -> Result<(Writer<C>, Reader<C>)> {
    let slots = Slots::new(setup, count)?;
    let counters = Rc::new(counters);
    let reader = Reader { slots: slots.other(), counters: Rc::clone(&counters), buffer: IoBuffer::new(setup.size) };
    Ok((Writer { slots, counters }, reader))
}

impl<C: Counters> Sender for Writer<C> {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.counters.take(Which::Free).doing("wait")?;
        self.slots.fill(message);
        self.counters.add(Which::Full).doing("post")
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl<C: Counters> Receiver for Reader<C> {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        self.counters.take(Which::Full).doing("wait")?;
        self.slots.empty(&mut self.buffer);
        self.counters.add(Which::Free).doing("post")?;
        Ok(Some(&self.buffer))
    }
}
