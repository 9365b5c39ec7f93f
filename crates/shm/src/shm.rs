//! POSIX shared memory: the same pages in the address spaces of two processes.
//!
//! What one process stores the other can load at once, without a system call, a copy by the kernel, or any
//! help in keeping order: nothing says where a message begins, when it is complete or that there is one. The
//! ring (`ring.rs`) adds that, with atomics, and futex(2) for the times when one side must sleep.
//!
//! ```text
//! writer  copy ─▶ ┌ header ─┬ written ┬ read ┬ waits ┬─── ring of 256 KiB ───┐ ─▶ copy  reader
//!                 └─────────┴─────────┴──────┴───────┴──────────────────────┘
//!                   one object in /dev/shm, mapped by both
//! ```
//!
//! Manual pages: shm_overview(7), shm_open(3), mmap(2), futex(2).
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, posix_fallocate};
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::ring::{End, Shared, Side};

/// Bytes in the ring.
pub const CAPACITY: u32 = 256 << 10;

/// Says that everything else in the header is there.
const MAGIC: u64 = u64::from_be_bytes(*b"ipc-ring");
const VERSION: u32 = 1;
/// The cells begin on a page of their own.
const CELLS: usize = 4096;
const SIZE: usize = CELLS + CAPACITY as usize;

/// The beginning of the mapping. Fresh shared memory is zero, which is a valid, empty header.
#[repr(C)]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    capacity: AtomicU32,
    ring: Shared,
}

const _: () = assert!(size_of::<Header>() <= CELLS);

/// The reading end, which makes the object.
pub struct Reader(Mapping);

/// The writing end, which opens it.
pub struct Writer(Mapping);

impl Reader {
    /// Makes the shared memory, which only this user may open.
    ///
    /// # Errors
    /// `EEXIST` where the name exists; `ENOSPC` where /dev/shm is too small.
    pub fn create(name: &str) -> io::Result<Reader> {
        let mut memory = ShmemConf::new().os_id(name).size(SIZE).create().map_err(system_error)?;
        // ftruncate(2) promises bytes that may not be there, and the promise is broken by SIGBUS at the
        // first touch. This takes them now, or says ENOSPC; the drop of `memory` then removes the name.
        posix_fallocate(open(name)?, 0, SIZE as i64)?;
        // From here on `remove` removes the name. The crate would do so in its drop, without asking whether
        // the name still means this object.
        memory.set_owner(false);
        let mapping = Mapping { memory, end: End::new(Side::Reader, CAPACITY, 0) };
        let header = header(&mapping.memory);
        header.version.store(VERSION, Ordering::Relaxed);
        header.capacity.store(CAPACITY, Ordering::Relaxed);
        // Last, with Release: whoever sees it sees all of the above.
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Reader(mapping))
    }
}

impl Writer {
    /// Opens the shared memory that a reader has made.
    ///
    /// # Errors
    /// `ENOENT`; `EAGAIN` while it is half-made; `EPERM` where it is another user's; `InvalidData` where it is
    /// something else.
    pub fn open(name: &str) -> io::Result<Writer> {
        let stat = fstat(open(name)?)?;
        // Between shm_open and ftruncate the object has no bytes; then it has bytes but no magic.
        if stat.st_size == 0 {
            return Err(Errno::EAGAIN.into());
        }
        if stat.st_size != SIZE as i64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("not {SIZE} bytes of shared memory")));
        }
        let memory = ShmemConf::new().os_id(name).open().map_err(system_error)?;
        if memory.len() != SIZE {
            return Err(Errno::EAGAIN.into());
        }
        let mapping = Mapping { memory, end: End::new(Side::Writer, CAPACITY, 0) };
        let header = header(&mapping.memory);
        match header.magic.load(Ordering::Acquire) {
            0 => return Err(Errno::EAGAIN.into()),
            MAGIC if header.version.load(Ordering::Relaxed) == VERSION => {}
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "not a ring of this version")),
        }
        match header.capacity.load(Ordering::Relaxed) {
            CAPACITY => Ok(Writer(mapping)),
            other => Err(io::Error::new(io::ErrorKind::InvalidData, format!("a ring of {other} bytes"))),
        }
    }
}

/// Removes the name. The memory lives on until both processes have unmapped it.
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

impl Read for Reader {
    /// Waits for bytes and copies out as many as there are.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mapping = &mut self.0;
        let len = mapping.wait()?.min(buffer.len());
        mapping.copy(len, |cells, at, len| {
            // SAFETY: `copy` hands out cells of the mapping that the writer leaves alone until they are
            // passed on; should it not, the bytes are garbage, and any byte is a valid u8. `at..at + len`
            // is within 0..buffer.len(), and the buffer is not in the mapping.
            unsafe { cells.copy_to_nonoverlapping(buffer[at..].as_mut_ptr(), len) }
        });
        Ok(len)
    }
}

impl Write for Writer {
    /// Waits for room and copies in as many bytes as fit.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// All slices are passed on in one step, so that the reader is woken once.
    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mapping = &mut self.0;
        let room = mapping.wait()?;
        let mut len = 0;
        for slice in slices {
            let part = slice.len().min(room - len);
            mapping.copy_behind(len, part, |cells, at, len| {
                // SAFETY: as in `read`, the other way round.
                unsafe { cells.copy_from_nonoverlapping(slice[at..].as_ptr(), len) }
            });
            len += part;
        }
        mapping.pass_on(len);
        Ok(len)
    }

    /// There is nothing to flush.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Mapping {
    memory: Shmem,
    end: End,
}

fn header(memory: &Shmem) -> &Header {
    // SAFETY: the mapping is SIZE bytes, page-aligned and valid as long as `memory`. A Header is made of
    // atomics only, so that stores by the other process are no data race and every bit pattern is valid.
    unsafe { &*memory.as_ptr().cast::<Header>() }
}

impl Mapping {
    /// Waits until this side owns cells, and says how many.
    fn wait(&mut self) -> io::Result<usize> {
        let shared = &header(&self.memory).ring;
        loop {
            match self.end.owned(shared)? {
                0 => self.end.wait(shared)?,
                owned => return Ok(owned as usize),
            }
        }
    }

    fn pass_on(&mut self, len: usize) {
        self.end.pass_on(&header(&self.memory).ring, len as u32);
    }

    /// Copies `len` owned cells and passes them on.
    fn copy(&mut self, len: usize, part: impl FnMut(*mut u8, usize, usize)) {
        self.copy_behind(0, len, part);
        self.pass_on(len);
    }

    /// Calls `part(cells, at, len)` for the one or two runs of cells that `len` bytes, `skip` bytes on, lie in.
    fn copy_behind(&self, skip: usize, len: usize, mut part: impl FnMut(*mut u8, usize, usize)) {
        let capacity = CAPACITY as usize;
        // Below the capacity whatever the other process has done: `cell` depends on our own count only.
        let first = (self.end.cell() as usize + skip) % capacity;
        let until_wrap = len.min(capacity - first);
        for (cell, at, len) in [(first, 0, until_wrap), (0, until_wrap, len - until_wrap)] {
            if len > 0 {
                // SAFETY: CELLS + cell + len <= SIZE, the length of the mapping.
                part(unsafe { self.memory.as_ptr().add(CELLS + cell) }, at, len);
            }
        }
    }
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
