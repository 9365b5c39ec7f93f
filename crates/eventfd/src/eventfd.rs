//! An eventfd: a number in the kernel, behind a descriptor. Here two of them count the slots of a bounded buffer.
//!
//! `write(2)` adds to the number, `read(2)` takes from it and sleeps while it is 0. By default a read takes *all*:
//! 1,000 writes of 1 become one read of 1,000. With `EFD_SEMAPHORE` each read takes 1, and the number is a semaphore
//! that poll(2) can wait for. It carries no data. So the records lie in shared memory, and the numbers say whose
//! turn it is:
//!
//! ```text
//! producer   read(free) ── copy in ── write(full)         free  slots to fill, 32 at first
//! consumer   read(full) ── copy out ─ write(free)         full  slots to take, 0 at first
//! ```
//!
//! Nothing of it has a name. Whoever shall take part must inherit the three descriptors or be sent them (`scm_rights.rs`).
//!
//! Manual pages: eventfd(2), memfd_create(2), fcntl(2) on seals, mmap(2).
#![expect(unsafe_code, reason = "shared memory is reached through pointers")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, posix_fallocate};
use nix::poll::PollFlags;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::fstat;
pub use slots::MAX;
use slots::{SLOT, Slots};

use super::scm_rights::ready;

/// Slots in the buffer: how far the producer can be ahead of the consumer. Waking takes as long as passing many records:
/// with few slots both ends would sleep all the time.
pub const SLOTS: usize = 32;

const SIZE: NonZeroUsize = NonZeroUsize::new(SLOTS * SLOT).unwrap();
/// Nobody can make the memory shorter or longer, nor take these seals off.
const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// One end of a bounded buffer.
pub struct Buffer {
    free: Counter,
    full: Counter,
    memory: Memory,
    /// The slot whose turn it is. Each end counts for itself, so there is no index to share and to guard.
    next: usize,
    /// It has been taken off one count and not yet been added to the other: a signal came in between.
    owned: bool,
}

impl Buffer {
    /// Makes the memory and the two counters, all close-on-exec.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`; `ENOSPC` or `ENOMEM` where there is no memory.
    pub fn create() -> io::Result<Buffer> {
        let memory = memfd_create("eventfd-slots", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        // ftruncate(2) would promise memory that may not be there when it is touched, and then it is SIGBUS.
        while let Err(error) = posix_fallocate(&memory, 0, SIZE.get() as i64) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        fcntl(&memory, FcntlArg::F_ADD_SEALS(SEALS))?;
        Buffer::open([memory, Counter::create(SLOTS as u32)?, Counter::create(0)?])
    }

    /// Opens the buffer that stands behind the [`descriptors`](Self::descriptors) of another end.
    ///
    /// # Errors
    /// `EINVAL` where the first of them is not such memory, or could be made shorter.
    pub fn open([memory, free, full]: [OwnedFd; 3]) -> io::Result<Buffer> {
        Ok(Buffer {
            free: Counter::new(free),
            full: Counter::new(full),
            memory: Memory::map(memory)?,
            next: 0,
            owned: false,
        })
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
        [self.memory.fd.as_fd(), self.free.file.as_fd(), self.full.file.as_fd()]
    }

    /// Never sleeps: `put` and `take` fail with `EAGAIN` instead. Good on a core of one's own, and a waste of everybody
    /// else's. The other end has the same two counters, sees `EAGAIN` as well, and sleeps in poll(2) then.
    ///
    /// # Errors
    /// None for open descriptors; see fcntl(2).
    pub fn spin(&mut self) -> io::Result<()> {
        for count in [&mut self.free, &mut self.full] {
            let flags = OFlag::from_bits_retain(fcntl(&count.file, FcntlArg::F_GETFL)?);
            fcntl(&count.file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
            count.spins = true;
        }
        Ok(())
    }

    /// Puts a record into the next slot; sleeps while none is free.
    ///
    /// # Errors
    /// `EINTR` after a signal, `EAGAIN` after [`spin`](Self::spin): call it again with the same record. `EMSGSIZE` above [`MAX`].
    pub fn put(&mut self, record: &[u8]) -> io::Result<()> {
        slots::check(record)?;
        own(&mut self.owned, &self.free)?;
        self.memory.slots().put(self.next, record);
        self.hand_over()
    }

    /// Says that no record will follow.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_end(&mut self) -> io::Result<()> {
        own(&mut self.owned, &self.free)?;
        self.memory.slots().put_end(self.next);
        self.hand_over()
    }

    fn hand_over(&mut self) -> io::Result<()> {
        // write(2) and read(2) of an eventfd order memory too: what was stored before the one is seen behind the
        // other.
        self.full.add_one()?;
        self.next_slot();
        Ok(())
    }

    /// Takes the next record and returns its length, or `None` for the end; sleeps while no slot is full.
    ///
    /// # Errors
    /// `EINTR` after a signal, `EAGAIN` after [`spin`](Self::spin): call it again. `InvalidData` for a length that no record can have.
    pub fn take(&mut self, record: &mut [u8; MAX]) -> io::Result<Option<usize>> {
        own(&mut self.owned, &self.full)?;
        // Copied out before the slot is given back.
        let taken = self.memory.slots().take(self.next, record)?;
        self.free.add_one()?;
        self.next_slot();
        Ok(taken)
    }

    fn next_slot(&mut self) {
        self.next += 1;
        self.owned = false;
    }
}

/// Takes the next slot off a count, unless the call that a signal has interrupted did.
fn own(owned: &mut bool, count: &Counter) -> io::Result<()> {
    if !*owned {
        count.take_one()?;
        *owned = true;
    }
    Ok(())
}

/// The slots, mapped into this process.
struct Memory {
    address: NonNull<u8>,
    fd: OwnedFd,
}

// SAFETY: a mapping belongs to the process and not to a thread.
unsafe impl Send for Memory {}

impl Memory {
    fn map(fd: OwnedFd) -> io::Result<Memory> {
        // Whoever has the memory could truncate it, and our next access would be our death by SIGBUS. A seal
        // cannot be broken, not even by who has put it on.
        let sealed = SealFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GET_SEALS)?).contains(SEALS);
        if !sealed || fstat(&fd)?.st_size != SIZE.get() as i64 {
            return Err(Errno::EINVAL.into());
        }
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let address = unsafe { mmap(None, SIZE, protection, MapFlags::MAP_SHARED, &fd, 0) }?.cast();
        Ok(Memory { address, fd })
    }

    fn slots(&self) -> Slots {
        // SAFETY: SIZE bytes from a page's beginning on are mapped as long as `self` lives, and no caller keeps
        // the result for longer.
        unsafe { Slots::new(self.address.as_ptr(), SLOTS) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `map` has mapped so many bytes here, and nothing that refers to them outlives `self`.
        let _ = unsafe { munmap(self.address.cast(), SIZE.get()) };
    }
}

/// An eventfd that is used as a semaphore. It is read and written like a file, eight bytes at a time.
struct Counter {
    file: File,
    spins: bool,
}

impl Counter {
    fn create(count: u32) -> io::Result<OwnedFd> {
        Ok(EventFd::from_value_and_flags(count, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_SEMAPHORE)?.into())
    }

    fn new(fd: OwnedFd) -> Counter {
        Counter { file: fd.into(), spins: false }
    }

    /// Takes 1 off the count; while it is 0, sleeps, or says `EAGAIN` where it shall not.
    fn take_one(&self) -> io::Result<()> {
        let mut one = [0; 8];
        loop {
            match (&self.file).read(&mut one) {
                Ok(8) if u64::from_ne_bytes(one) == 1 => return Ok(()),
                // Without EFD_SEMAPHORE it would be all that was there; and a file is no eventfd.
                Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "not an eventfd that counts by 1")),
                Err(error) if self.waits(&error) => ready(self.file.as_fd(), PollFlags::POLLIN)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds 1 to the count and wakes a process that sleeps in `take_one`.
    ///
    /// It waits where the count would exceed 2^64 - 2. That takes another end that lies; and a signal may end it.
    fn add_one(&self) -> io::Result<()> {
        loop {
            match (&self.file).write(&1_u64.to_ne_bytes()) {
                Err(error) if self.waits(&error) => ready(self.file.as_fd(), PollFlags::POLLOUT)?,
                other => return other.map(drop),
            }
        }
    }

    fn waits(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock && !self.spins
    }
}
