//! The bounded buffer of the textbooks: a row of slots in shared memory and two semaphores that count them.
//!
//! A semaphore is a number that never falls below 0: sem_wait(3) takes 1 off and sleeps while there is nothing
//! to take, sem_post(3) adds 1 and wakes a sleeper. It carries no data. So the records lie in shared memory,
//! and the semaphores say whose turn it is:
//!
//! ```text
//! producer   wait(free) ── copy in ── post(full)          free  slots to fill, 32 at first
//! consumer   wait(full) ── copy out ─ post(free)          full  slots to take, 0 at first
//! ```
//!
//! With one producer and one consumer that is all: a slot belongs to the end that has taken it off a count, until
//! that end adds it to the other. Several producers would need a mutex around their index as well.
//!
//! Manual pages: sem_overview(7), sem_open(3), sem_wait(3), sem_post(3), shm_overview(7), shm_open(3), mmap(2).
#![expect(unsafe_code, reason = "semaphores have no safe wrapper, and shared memory is reached through pointers")]

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{OFlag, posix_fallocate};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap, shm_open, shm_unlink};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;
pub use slots::MAX;
use slots::{SLOT, Slots};

/// Slots in the buffer: how far the producer can be ahead of the consumer. Waking takes as long as passing many records:
/// with few slots both ends would sleep all the time.
pub const SLOTS: usize = 32;

const SIZE: NonZeroUsize = NonZeroUsize::new(SLOTS * SLOT).unwrap();

/// One end of a bounded buffer.
pub struct Buffer {
    free: Semaphore,
    full: Semaphore,
    memory: Memory,
    /// The slot whose turn it is. Each end counts for itself, so there is no index to share and to guard.
    next: usize,
}

impl Buffer {
    /// Makes the memory `NAME` and the semaphores `NAME-free` and `NAME-full` for this user alone: all or none.
    ///
    /// # Errors
    /// `EEXIST` where one of the names is taken; `ENOSPC` where /dev/shm is full; `EINVAL` for a bad name.
    pub fn create(name: &str) -> io::Result<Buffer> {
        // O_EXCL here and below: without it one would get whatever is there, with the counts of a dead run or
        // of another user's making.
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR;
        let memory = File::from(shm_open(name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let rest = || {
            // ftruncate(2) would promise memory that a full /dev/shm does not have: the first touch is SIGBUS.
            while let Err(error) = posix_fallocate(&memory, 0, SIZE.get() as i64) {
                if error != Errno::EINTR {
                    return Err(error.into());
                }
            }
            let memory = Memory::map(&memory)?;
            let free = Semaphore::create(&free_name(name), SLOTS as u32)?;
            // Made last and opened first: whoever can open this one finds everything else complete.
            let full = Semaphore::create(&full_name(name), 0).inspect_err(|_| drop(unlink(&free_name(name))))?;
            Ok(Buffer { free, full, memory, next: 0 })
        };
        rest().inspect_err(|_| {
            let _ = shm_unlink(name);
        })
    }

    /// Opens the buffer that another process has made.
    ///
    /// # Errors
    /// `ENOENT`; `EPERM` where it is another user's; `EINVAL` where it has another size.
    pub fn open(name: &str) -> io::Result<Buffer> {
        // What is ours cannot be exchanged by others afterwards: /dev/shm is sticky, as /tmp is.
        for path in paths(name) {
            check_owner(&path)?;
        }
        let full = Semaphore::open(&full_name(name))?;
        let free = Semaphore::open(&free_name(name))?;
        let memory = File::from(shm_open(name, OFlag::O_RDWR, Mode::empty())?);
        if memory.metadata()?.len() != SIZE.get() as u64 {
            return Err(Errno::EINVAL.into());
        }
        Ok(Buffer { free, full, memory: Memory::map(&memory)?, next: 0 })
    }

    /// Never sleeps: `put` and `take` fail with `EAGAIN` instead. Good on a core of one's own, and a waste of everybody
    /// else's.
    pub fn spin(&mut self) {
        (self.free.spins, self.full.spins) = (true, true);
    }

    /// Puts a record into the next slot; sleeps while none is free.
    ///
    /// # Errors
    /// `EINTR` after a signal, with nothing put; `EAGAIN` after [`spin`](Self::spin); `EMSGSIZE` above [`MAX`].
    pub fn put(&mut self, record: &[u8]) -> io::Result<()> {
        slots::check(record)?;
        self.free.wait()?;
        self.memory.slots().put(self.next, record);
        self.hand_over()
    }

    /// Says that no record will follow.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_end(&mut self) -> io::Result<()> {
        self.free.wait()?;
        self.memory.slots().put_end(self.next);
        self.hand_over()
    }

    fn hand_over(&mut self) -> io::Result<()> {
        self.next += 1;
        // sem_post and sem_wait order memory too: what was stored before the one is seen behind the other.
        self.full.post()
    }

    /// Takes the next record and returns its length, or `None` for the end; sleeps while no slot is full.
    ///
    /// # Errors
    /// `EINTR` after a signal, with nothing taken; `EAGAIN` after [`spin`](Self::spin); `InvalidData` for a length that no record can have.
    pub fn take(&mut self, record: &mut [u8; MAX]) -> io::Result<Option<usize>> {
        self.full.wait()?;
        // Copied out before the slot is given back.
        let taken = self.memory.slots().take(self.next, record)?;
        self.next += 1;
        self.free.post()?;
        Ok(taken)
    }
}

/// Removes the three names. Processes that have the buffer open go on using it.
///
/// # Errors
/// `EPERM` where one of them is not this user's, and then nothing is removed; `ENOENT` where none is there.
pub fn remove(name: &str) -> io::Result<()> {
    for path in paths(name) {
        match check_owner(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let mut removed = Err(Errno::ENOENT.into());
    for result in [shm_unlink(name).map_err(Into::into), unlink(&free_name(name)), unlink(&full_name(name))] {
        match result {
            // A run that was killed may have made only some of them.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(()) => removed = Ok(()),
        }
    }
    removed
}

/// The slots, mapped into this process.
struct Memory(NonNull<u8>);

impl Memory {
    fn map(file: &File) -> io::Result<Memory> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        Ok(Memory(unsafe { mmap(None, SIZE, protection, MapFlags::MAP_SHARED, file, 0) }?.cast()))
    }

    fn slots(&self) -> Slots {
        // SAFETY: SIZE bytes from a page's beginning on are mapped as long as `self` lives, and no caller keeps
        // the result for longer.
        unsafe { Slots::new(self.0.as_ptr(), SLOTS) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: `map` has mapped so many bytes here, and nothing that refers to them outlives `self`.
        let _ = unsafe { munmap(self.0.cast(), SIZE.get()) };
    }
}

/// A named semaphore: a `sem_t` in a file of its own in /dev/shm, which sem_open maps. Counting up or down is an
/// atomic instruction; futex(2) is called only to sleep and to wake.
struct Semaphore {
    address: NonNull<libc::sem_t>,
    spins: bool,
}

impl Semaphore {
    fn create(name: &str, count: libc::c_uint) -> io::Result<Semaphore> {
        let (name, mode): (_, libc::c_uint) = (CString::new(name)?, 0o600);
        // SAFETY: `name` ends with a zero byte; O_CREAT is followed by a mode and a count, as it must be.
        let address = unsafe { libc::sem_open(name.as_ptr(), libc::O_CREAT | libc::O_EXCL, mode, count) };
        Semaphore::at(address)
    }

    fn open(name: &str) -> io::Result<Semaphore> {
        let name = CString::new(name)?;
        // SAFETY: `name` ends with a zero byte; without O_CREAT there are no further arguments.
        let address = unsafe { libc::sem_open(name.as_ptr(), 0) };
        Semaphore::at(address)
    }

    fn at(address: *mut libc::sem_t) -> io::Result<Semaphore> {
        let address = NonNull::new(address).ok_or_else(io::Error::last_os_error)?;
        Ok(Semaphore { address, spins: false })
    }

    /// Takes 1 off the count; while it is 0, sleeps, or says `EAGAIN` where it shall not.
    fn wait(&self) -> io::Result<()> {
        let sem = self.address.as_ptr();
        let wait = if self.spins { libc::sem_trywait } else { libc::sem_wait };
        // SAFETY: the address is sem_open's, and sem_close is called by `drop` only.
        check(unsafe { wait(sem) })
    }

    /// Adds 1 to the count and wakes a process that sleeps in `wait`.
    fn post(&self) -> io::Result<()> {
        // SAFETY: as for `wait`.
        check(unsafe { libc::sem_post(self.address.as_ptr()) })
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        // SAFETY: as for `wait`; nobody uses the address after this.
        unsafe { libc::sem_close(self.address.as_ptr()) };
    }
}

fn unlink(semaphore: &str) -> io::Result<()> {
    let name = CString::new(semaphore)?;
    // SAFETY: `name` ends with a zero byte.
    check(unsafe { libc::sem_unlink(name.as_ptr()) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn free_name(name: &str) -> String {
    format!("{name}-free")
}

fn full_name(name: &str) -> String {
    format!("{name}-full")
}

/// Where the three objects are files (sem_overview(7), shm_overview(7)).
fn paths(name: &str) -> [String; 3] {
    let name = name.trim_start_matches('/');
    [format!("/dev/shm/{name}"), format!("/dev/shm/sem.{name}-free"), format!("/dev/shm/sem.{name}-full")]
}

fn check_owner(path: &str) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if meta.is_file() && meta.uid() == geteuid().as_raw() { Ok(()) } else { Err(Errno::EPERM.into()) }
}
