//! One slot in shared memory, and two counters that say whose turn it is: `free` is 1 and `full` is 0 at first. Who
//! takes one off a counter owns the slot; then it adds one to the other counter.
#![expect(unsafe_code, reason = "memory that another process writes is reached through raw pointers")]

use std::io;
use std::rc::Rc;

use common::{Context, Receiver, Result, Sender};

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

/// The writing end.
pub struct Writer<C> {
    slot: Rc<Shared>,
    size: usize,
    counters: Rc<C>,
}

/// The reading end.
pub struct Reader<C> {
    slot: Rc<Shared>,
    counters: Rc<C>,
    buffer: Vec<u8>,
}

/// Both ends around one slot.
pub fn ends<C>(setup: &Setup<'_>, counters: C) -> Result<(Writer<C>, Reader<C>)> {
    let slot = Rc::new(Shared::new(setup.size).doing("mmap")?);
    let counters = Rc::new(counters);
    let reader = Reader { slot: Rc::clone(&slot), counters: Rc::clone(&counters), buffer: vec![0; setup.size] };
    Ok((Writer { slot, size: setup.size, counters }, reader))
}

impl<C: Counters> Sender for Writer<C> {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        assert_eq!(message.len(), self.size, "the slot has one size");
        self.counters.take(Which::Free).doing("wait")?;
        // SAFETY: there is room for `size` bytes, and they are the writer's until it says that they are full.
        unsafe { self.slot.as_ptr().copy_from_nonoverlapping(message.as_ptr(), message.len()) };
        self.counters.add(Which::Full).doing("post")
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl<C: Counters> Receiver for Reader<C> {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        self.counters.take(Which::Full).doing("wait")?;
        // SAFETY: as many bytes as in the writer, and they are the reader's until it says that they are free.
        unsafe { self.slot.as_ptr().copy_to_nonoverlapping(self.buffer.as_mut_ptr(), self.buffer.len()) };
        self.counters.add(Which::Free).doing("post")?;
        Ok(Some(&self.buffer))
    }
}
