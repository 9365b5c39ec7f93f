//! A bounded buffer in shared memory, guarded by one robust mutex.
//!
//! Whoever wants to look at the buffer or to change it takes the mutex, and waits on a condition variable where the
//! buffer is not as it should be. A process that dies with the mutex in its hands leaves the buffer as it was at that
//! instruction, and the next one who locks it is told. Then somebody must be able to say what is half-done:
//!
//! ```text
//! producer   lock  begun += 1  copy in  put += 1  unlock        begun > put    a record is torn: nobody's, dropped
//! consumer   lock  copy out  taken += 1  unlock                 put − taken    records that wait
//! ```
//!
//! Each change becomes true by its last store: before it the old state holds, after it the new one. That is
//! what makes the survivor's repair a single line.
//!
//! Manual pages: shm_overview(7), pthread_mutexattr_setrobust(3), pthread_mutex_consistent(3), futex(2).
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::compiler_fence;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, posix_fallocate};
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;
use shared_memory::{Shmem, ShmemConf, ShmemError};
pub use slots::MAX;
use slots::{SLOT, Slots};

use super::condition::Condition;
use super::futex::{AtomicU32, Ordering};
use super::mutex::{Guard, Mutex, Robustness};

/// Slots in the buffer: how far the producer can be ahead of the consumer. Waking takes as long as passing many records:
/// with few slots both ends would sleep all the time.
pub const SLOTS: usize = 32;

/// The header has a page of its own.
const SIZE: usize = (1 + SLOTS) * SLOT;
/// Says that all else is there; and a program for another word size has another idea of a mutex.
const READY: u32 = 0x726d_0000 + size_of::<Header>() as u32;

/// The beginning of the memory. Fresh shared memory is zero, which is right for all but the mutex.
#[repr(C)]
struct Header {
    ready: AtomicU32,
    /// Records that somebody has begun to put, ever.
    begun: AtomicU32,
    /// Records that have been put whole, ever.
    put: AtomicU32,
    /// Records that have been taken, ever.
    taken: AtomicU32,
    not_full: Condition,
    not_empty: Condition,
    mutex: Mutex,
}

/// What somebody who died with the mutex in its hands left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing was half-done.
    Whole,
    /// A record was being put; it has been dropped.
    Torn,
}

/// One end of the buffer.
pub struct Buffer {
    memory: Shmem,
    found: Cell<Option<Found>>,
    patience: Option<Duration>,
}

impl Buffer {
    /// Makes the buffer, which only this user may open.
    ///
    /// # Errors
    /// `EEXIST` where the name exists; `ENOSPC` where /dev/shm is full.
    pub fn create(name: &str) -> io::Result<Buffer> {
        let mut memory = ShmemConf::new().os_id(name).size(SIZE).create().map_err(system_error)?;
        // ftruncate(2) promises bytes that may not be there, and the promise is broken by SIGBUS at the first touch.
        // This takes them now, or says ENOSPC; the drop of `memory` then removes the name.
        posix_fallocate(open(name)?, 0, SIZE as i64)?;
        let header = header(&memory);
        // SAFETY: nobody uses a buffer that is not ready.
        unsafe { header.mutex.init(Robustness::Robust) }?;
        // Release: whoever sees this sees the mutex.
        header.ready.store(READY, Ordering::Release);
        // From here on `remove` removes the name. The crate would do so in its drop, without asking whether the
        // name still means this object.
        memory.set_owner(false);
        Ok(Buffer { memory, found: Cell::new(None), patience: None })
    }

    /// Opens the buffer that another process has made.
    ///
    /// # Errors
    /// `ENOENT`; `EAGAIN` while it is half-made; `EPERM` where it is another user's; `InvalidData` where it is
    /// something else.
    pub fn open(name: &str) -> io::Result<Buffer> {
        let other = || io::Error::new(io::ErrorKind::InvalidData, "not a buffer of this program's making");
        match fstat(open(name)?)?.st_size as usize {
            0 => return Err(Errno::EAGAIN.into()),
            SIZE => {}
            _ => return Err(other()),
        }
        let memory = ShmemConf::new().os_id(name).open().map_err(system_error)?;
        match header(&memory).ready.load(Ordering::Acquire) {
            0 => Err(Errno::EAGAIN.into()),
            READY if memory.len() == SIZE => Ok(Buffer { memory, found: Cell::new(None), patience: None }),
            _ => Err(other()),
        }
    }

    /// Makes this end fail with `EAGAIN` where it has to wait for the mutex for longer than that. No signal ends this
    /// wait, unlike the one for a slot.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = Some(patience);
    }

    /// Puts a record in; sleeps while the buffer is full.
    ///
    /// # Errors
    /// With nothing put: `EINTR` after a signal; `EAGAIN`, see [`set_patience`](Self::set_patience); `ENOTRECOVERABLE`,
    /// see [`Mutex::lock`]; `EMSGSIZE` above [`MAX`]; `InvalidData` where the other side has written nonsense.
    pub fn put(&mut self, record: &[u8]) -> io::Result<()> {
        slots::check(record)?;
        self.fill(|slots, n| slots.put(n, record))
    }

    /// Says that no record will follow.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_end(&mut self) -> io::Result<()> {
        self.fill(Slots::put_end)
    }

    fn fill(&self, put: impl FnOnce(&Slots, usize)) -> io::Result<()> {
        let header = header(&self.memory);
        let mut guard = self.lock()?;
        while count(header)? == SLOTS {
            header.not_full.wait(guard)?;
            guard = self.lock()?;
        }
        let n = header.put.load(Ordering::Relaxed);
        header.begun.store(n.wrapping_add(1), Ordering::Relaxed);
        // The mutex keeps these stores in order for others who lock it. For a survivor they must be in order at every
        // instruction, and the compiler must know that, too.
        compiler_fence(Ordering::SeqCst);
        put(&self.slots(), n as usize);
        compiler_fence(Ordering::SeqCst);
        header.put.store(n.wrapping_add(1), Ordering::Relaxed);
        header.not_empty.notify(guard);
        Ok(())
    }

    /// Takes the next record and returns its length, or `None` for the end; sleeps while the buffer is empty.
    ///
    /// # Errors
    /// As [`put`](Self::put), with nothing taken; `InvalidData` also for a length that no record can have.
    pub fn take(&mut self, record: &mut [u8; MAX]) -> io::Result<Option<usize>> {
        let header = header(&self.memory);
        let mut guard = self.lock()?;
        while count(header)? == 0 {
            header.not_empty.wait(guard)?;
            guard = self.lock()?;
        }
        let n = header.taken.load(Ordering::Relaxed);
        let taken = self.slots().take(n as usize, record)?;
        compiler_fence(Ordering::SeqCst);
        header.taken.store(n.wrapping_add(1), Ordering::Relaxed);
        header.not_full.notify(guard);
        Ok(taken)
    }

    /// What this end has found since it last asked, if somebody has died with the mutex in its hands.
    pub fn found(&self) -> Option<Found> {
        self.found.take()
    }

    /// Locks the mutex, and puts in order what somebody who died with it in its hands left.
    fn lock(&self) -> io::Result<Guard<'_>> {
        let header = header(&self.memory);
        let guard = header.mutex.lock(self.patience)?;
        if guard.owner_died {
            // Out of order beyond repair? Then the mutex is unlocked without this, and useless for everybody.
            count(header)?;
            let put = header.put.load(Ordering::Relaxed);
            let torn = header.begun.swap(put, Ordering::Relaxed) != put;
            guard.make_consistent()?;
            self.found.set(Some(if torn { Found::Torn } else { Found::Whole }));
        }
        Ok(guard)
    }

    fn slots(&self) -> Slots {
        // SAFETY: SLOTS pages of the mapping lie behind its first one. They are mapped as long as `self` lives, and no
        // caller keeps the result for longer.
        unsafe { Slots::new(self.memory.as_ptr().wrapping_add(SLOT), SLOTS) }
    }
}

/// Removes the name. The memory lives on until every process has unmapped it.
///
/// # Errors
/// `ENOENT`; `EPERM` where the object is another user's.
pub fn remove(name: &str) -> io::Result<()> {
    open(name)?;
    Ok(shm_unlink(name)?)
}

/// Opens an object of this user's, and of nobody else's: its maker could read and change all of it.
fn open(name: &str) -> io::Result<OwnedFd> {
    let fd = shm_open(name, OFlag::O_RDWR, Mode::empty())?;
    if fstat(&fd)?.st_uid == geteuid().as_raw() { Ok(fd) } else { Err(Errno::EPERM.into()) }
}

fn header(memory: &Shmem) -> &Header {
    // SAFETY: the mapping is SIZE bytes, page-aligned and valid as long as `memory`. A Header is made of atomics and
    // of what lies in an UnsafeCell, so that stores by the other process break no promise of Rust's.
    unsafe { &*memory.as_ptr().cast::<Header>() }
}

/// The records that wait.
fn count(header: &Header) -> io::Result<usize> {
    let count = header.put.load(Ordering::Relaxed).wrapping_sub(header.taken.load(Ordering::Relaxed)) as usize;
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, format!("{count} records in {SLOTS} slots"));
    if count <= SLOTS { Ok(count) } else { Err(nonsense()) }
}

fn system_error(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MappingIdExists => Errno::EEXIST.into(),
        ShmemError::MapCreateFailed(number)
        | ShmemError::MapOpenFailed(number)
        | ShmemError::UnknownOsError(number) => io::Error::from_raw_os_error(number as i32),
        other => io::Error::other(other),
    }
}
