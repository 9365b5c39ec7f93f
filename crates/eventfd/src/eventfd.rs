//! An eventfd: a number in the kernel, behind a descriptor. Here two of them count the slots of a bounded buffer.
//!
//! `write(2)` adds to the number, `read(2)` takes from it and sleeps while it is 0. By default a read takes *all*:
//! 1,000 writes of 1 become one read of 1,000. With `EFD_SEMAPHORE` each read takes 1, and the number is a semaphore
//! that poll(2) can wait for. It carries no data. So the records lie in shared memory, and the numbers say whose
//! turn it is:
//!
//! ```text
//! producer   read(free) ── copy in ── write(full)         free  slots to fill, 8 at first
//! consumer   read(full) ── copy out ─ write(free)         full  slots to take, 0 at first
//! ```
//!
//! Nothing of it has a name. Whoever shall take part must inherit the three descriptors or be sent them (`pass.rs`).
//!
//! Manual pages: eventfd(2), memfd_create(2), fcntl(2) on seals, mmap(2).
#![expect(unsafe_code, reason = "shared memory is reached through pointers")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use super::pass::ready;

/// Slots in the buffer: how far the producer can be ahead of the consumer.
pub const SLOTS: usize = 8;
/// Bytes in the longest record. A slot is a page, and its first four bytes are the record's length.
pub const MAX: usize = SLOT - HEADER;

const SLOT: usize = 4096;
const HEADER: usize = size_of::<u32>();
const SIZE: NonZeroUsize = NonZeroUsize::new(SLOTS * SLOT).unwrap();
/// The length that says that no record will follow.
const END: u32 = u32::MAX;

/// One end of a bounded buffer.
pub struct Buffer {
    memory: OwnedFd,
    free: Counter,
    full: Counter,
    slots: NonNull<u8>,
    /// The slot whose turn it is. Each end counts for itself, so there is no index to share and to guard.
    next: usize,
    /// It has been taken off one count and not yet been added to the other: a signal came in between.
    owned: bool,
}

// SAFETY: the mapping belongs to the process and not to a thread, and `&mut self` keeps two threads from using it
// at once.
unsafe impl Send for Buffer {}

impl Buffer {
    /// Makes the memory and the two counters, all close-on-exec.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn create() -> io::Result<Buffer> {
        let memory = memfd_create("eventfd-slots", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&memory, SIZE.get() as i64)?;
        fcntl(&memory, FcntlArg::F_ADD_SEALS(seals()))?;
        Buffer::open([memory, Counter::create(SLOTS as u32)?, Counter::create(0)?])
    }

    /// Opens the buffer that stands behind the [`descriptors`](Self::descriptors) of another end.
    ///
    /// # Errors
    /// `EINVAL` where the first of them is not such memory, or could be made shorter.
    pub fn open([memory, free, full]: [OwnedFd; 3]) -> io::Result<Buffer> {
        // Whoever has the memory could truncate it, and our next access would be our death by SIGBUS. A seal
        // cannot be broken, not even by who has put it on.
        let sealed = SealFlag::from_bits_truncate(fcntl(&memory, FcntlArg::F_GET_SEALS)?).contains(seals());
        if !sealed || fstat(&memory)?.st_size != SIZE.get() as i64 {
            return Err(Errno::EINVAL.into());
        }
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let slots = unsafe { mmap(None, SIZE, protection, MapFlags::MAP_SHARED, &memory, 0) }?.cast();
        Ok(Buffer { memory, free: Counter(free.into()), full: Counter(full.into()), slots, next: 0, owned: false })
    }

    /// The same buffer once more, for a process that is about to fork(2) into the two ends.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn other_end(&self) -> io::Result<Buffer> {
        let [memory, free, full] = self.descriptors().map(|fd| fd.try_clone_to_owned());
        Buffer::open([memory?, free?, full?])
    }

    /// What the other end needs: the memory, the count of free and that of full slots.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 3] {
        [self.memory.as_fd(), self.free.0.as_fd(), self.full.0.as_fd()]
    }

    /// Puts a record into the next slot; sleeps while none is free.
    ///
    /// # Errors
    /// `EINTR` after a signal: call it again with the same record. `EMSGSIZE` above [`MAX`].
    pub fn put(&mut self, record: &[u8]) -> io::Result<()> {
        if record.len() > MAX { Err(Errno::EMSGSIZE.into()) } else { self.fill(record.len() as u32, record) }
    }

    /// Says that no record will follow.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_end(&mut self) -> io::Result<()> {
        self.fill(END, &[])
    }

    fn fill(&mut self, len: u32, record: &[u8]) -> io::Result<()> {
        if !self.owned {
            self.free.take_one()?;
            self.owned = true;
        }
        // SAFETY: the slot has room for MAX bytes behind its header, and nothing of ours lies in the mapping.
        unsafe { ptr::copy_nonoverlapping(record.as_ptr(), self.payload(), record.len()) };
        // Relaxed is enough: write(2) and read(2) of one eventfd order what stands before the one and behind the other.
        self.header().store(len, Ordering::Relaxed);
        self.full.add_one()?;
        self.next_slot();
        Ok(())
    }

    /// Takes the next record and returns its length, or `None` for the end; sleeps while no slot is full.
    ///
    /// # Errors
    /// `EINTR` after a signal: call it again. `InvalidData` for a length that no record can have.
    pub fn take(&mut self, record: &mut [u8; MAX]) -> io::Result<Option<usize>> {
        if !self.owned {
            self.full.take_one()?;
            self.owned = true;
        }
        // Read once, then checked: the other process could change it between a check and a second reading.
        let len = self.header().load(Ordering::Relaxed);
        let taken = match len as usize {
            _ if len == END => None,
            len if len <= MAX => {
                // Copied out before the slot is given back.
                // SAFETY: the slot has MAX bytes behind its header, and `record` is outside of the mapping.
                unsafe { ptr::copy_nonoverlapping(self.payload(), record.as_mut_ptr(), len) };
                Some(len)
            }
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a record of {len} bytes"))),
        };
        self.free.add_one()?;
        self.next_slot();
        Ok(taken)
    }

    fn next_slot(&mut self) {
        self.next = (self.next + 1) % SLOTS;
        self.owned = false;
    }

    fn header(&self) -> &AtomicU32 {
        let slot = self.slots.as_ptr().wrapping_add(self.next * SLOT);
        // SAFETY: a slot begins at a page's first byte inside the mapping, which lives as long as `self`; all
        // access to these four bytes is atomic, here and in the other process.
        unsafe { AtomicU32::from_ptr(slot.cast()) }
    }

    fn payload(&self) -> *mut u8 {
        self.slots.as_ptr().wrapping_add(self.next * SLOT + HEADER)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: `open` has mapped so many bytes here, and no reference to them outlives `self`.
        let _ = unsafe { munmap(self.slots.cast(), SIZE.get()) };
    }
}

/// An eventfd that is used as a semaphore. It is read and written like a file, eight bytes at a time.
struct Counter(File);

impl Counter {
    fn create(count: u32) -> io::Result<OwnedFd> {
        Ok(EventFd::from_value_and_flags(count, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_SEMAPHORE)?.into())
    }

    /// Takes 1 off the count; sleeps while it is 0.
    fn take_one(&self) -> io::Result<()> {
        let mut one = [0; 8];
        loop {
            match (&self.0).read(&mut one) {
                Ok(8) if u64::from_ne_bytes(one) == 1 => return Ok(()),
                // Without EFD_SEMAPHORE it would be all that was there; and a file is no eventfd.
                Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "not an eventfd that counts by 1")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready(self.0.as_fd(), PollFlags::POLLIN)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds 1 to the count and wakes a process that sleeps in `take_one`.
    ///
    /// It waits where the count would exceed 2^64 - 2. That takes another end that lies; and a signal may end it.
    fn add_one(&self) -> io::Result<()> {
        loop {
            match (&self.0).write(&1_u64.to_ne_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready(self.0.as_fd(), PollFlags::POLLOUT)?,
                other => return other.map(drop),
            }
        }
    }
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}
