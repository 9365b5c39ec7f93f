//! Slots of one size in shared memory, one writer, one reader: nothing but copies and two counters. While there is
//! nothing to do an end looks again (spin), or sleeps on the other end's counter with futex(2) (block).
#![expect(unsafe_code, reason = "memory that another process writes is reached through raw pointers")]

use std::fs::{self, File};
use std::hint::spin_loop;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Context, IoBuffer, Receiver, Result, Sender};

use super::futex;
use crate::control::Shared;
use crate::results::Wait;
use crate::source::Setup;

/// Bytes in all slots together, unless two messages need more.
const ROOM: usize = 4 << 20;
/// The slots begin on a page of their own.
const SLOTS: usize = 4096;

/// On cache lines of its own.
#[repr(C, align(128))]
struct Line<T>(T);

#[repr(C)]
struct Header {
    written: Line<AtomicU32>,
    read: Line<AtomicU32>,
    /// Not 0 while the reader sleeps on `written`, or is about to.
    reader_waits: Line<AtomicU32>,
    /// Not 0 while the writer sleeps on `read`, or is about to.
    writer_waits: Line<AtomicU32>,
}

struct Ring {
    memory: Rc<Shared>,
    size: usize,
    step: usize,
    slots: u32,
    wait: Wait,
    /// This end's counter.
    own: u32,
    /// The other end's, when it was last looked at.
    other: u32,
}

/// The writing end.
pub struct Writer(Ring);

/// The reading end.
pub struct Reader {
    ring: Ring,
    buffer: IoBuffer,
}

/// A ring of slots in memory without a name: how it is found makes no difference to its messages, and POSIX's and System
/// V's have the same kind of pages.
pub fn shm(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    ring(setup, Shared::new)
}

/// A ring of slots in a file of the private folder: its pages are a file system's.
pub fn mmap_file(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let path = setup.dir.join("twin-mmap-file");
    ring(setup, |len| {
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        fs::remove_file(&path)?;
        file.set_len(len as u64)?;
        Shared::of_file(&file, len)
    })
}

fn ring(setup: &Setup<'_>, map: impl FnOnce(usize) -> io::Result<Shared>) -> Result<(Writer, Reader)> {
    let step = setup.size.next_multiple_of(64);
    let slots = (ROOM / step).next_power_of_two().max(2);
    let memory = Rc::new(map(SLOTS + slots * step).doing("mmap")?);
    let ring =
        |memory| Ring { memory, size: setup.size, step, slots: slots as u32, wait: setup.wait, own: 0, other: 0 };
    let buffer = IoBuffer::new(setup.size);
    Ok((Writer(ring(Rc::clone(&memory))), Reader { ring: ring(memory), buffer }))
}

impl Ring {
    fn header(&self) -> &Header {
        // SAFETY: the mapping is longer, aligned to a page, zeroed at first, and lives as long as `self`; a Header is
        // made of atomics only.
        unsafe { &*self.memory.as_ptr().cast() }
    }

    fn slot(&self) -> *mut u8 {
        let at = SLOTS + (self.own % self.slots) as usize * self.step;
        // SAFETY: SLOTS + slots * step is the length of the mapping.
        unsafe { self.memory.as_ptr().add(at) }
    }
}

/// Waits until `word` is not `blocked` any more, and returns what it is then.
fn wait_for(word: &AtomicU32, blocked: u32, waits: &AtomicU32, how: Wait) -> u32 {
    loop {
        let now = word.load(Ordering::Acquire);
        if now != blocked {
            return now;
        }
        match how {
            Wait::Spin => spin_loop(),
            Wait::Block => {
                // In one order for all: who stores the word after this sees that somebody waits, and who stored it
                // before is seen by the kernel, which compares.
                waits.store(1, Ordering::SeqCst);
                if word.load(Ordering::SeqCst) == blocked {
                    futex::wait(word, blocked);
                }
                waits.store(0, Ordering::Relaxed);
            }
        }
    }
}

fn pass_on(word: &AtomicU32, value: u32, waits: &AtomicU32, how: Wait) {
    match how {
        Wait::Spin => word.store(value, Ordering::Release),
        Wait::Block => {
            word.store(value, Ordering::SeqCst);
            if waits.load(Ordering::SeqCst) != 0 {
                futex::wake(word);
            }
        }
    }
}

impl Sender for Writer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let ring = &mut self.0;
        assert_eq!(message.len(), ring.size, "the slots have one size");
        let full = ring.own.wrapping_sub(ring.slots);
        if ring.other == full {
            let header = ring.header();
            ring.other = wait_for(&header.read.0, full, &header.writer_waits.0, ring.wait);
        }
        // SAFETY: the slot has room for `size` bytes, and is the writer's until `written` says otherwise.
        unsafe { ring.slot().copy_from_nonoverlapping(message.as_ptr(), message.len()) };
        ring.own = ring.own.wrapping_add(1);
        let header = ring.header();
        pass_on(&header.written.0, ring.own, &header.reader_waits.0, ring.wait);
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Reader {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let ring = &mut self.ring;
        if ring.other == ring.own {
            let header = ring.header();
            ring.other = wait_for(&header.written.0, ring.own, &header.reader_waits.0, ring.wait);
        }
        // SAFETY: the slot has `size` bytes, and is the reader's until `read` says otherwise.
        unsafe { ring.slot().copy_to_nonoverlapping(self.buffer.as_mut_ptr(), ring.size) };
        ring.own = ring.own.wrapping_add(1);
        let header = ring.header();
        pass_on(&header.read.0, ring.own, &header.writer_waits.0, ring.wait);
        Ok(Some(&self.buffer))
    }
}
