//! POSIX shared memory: the same pages in the address spaces of two processes.
//!
//! What one process stores the other can load at once, without a system call, a copy by the kernel, or any
//! help in keeping order: nothing says where a message begins, when it is complete or that there is one. The
//! ring (crates/ring) adds that, with atomics, and futex(2) for the times when one side must sleep.
//!
//! ```text
//! writer  copy ─▶ ┌ header ─┬ words ─┬──── cells, 4 MiB ─────┐ ─▶ copy  reader
//!                 └─────────┴────────┴───────────────────────┘
//!                   one object in /dev/shm, mapped by both
//! ```
//!
//! Manual pages: shm_overview(7), shm_open(3), mmap(2), futex(2).
#![expect(unsafe_code, reason = "it promises the ring that the memory is there")]

use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, posix_fallocate};
use nix::sys::mman::{shm_open, shm_unlink};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;
pub use ring::LONGEST;
use ring::{CELL, Memory};
use shared_memory::{Shmem, ShmemConf, ShmemError};

/// Cells in the ring, which have 4 MiB together. More than a core's own cache holds, for where both ends are busy, what has
/// been pushed out to the cache that the cores share is read faster than what must be fetched from another core's own.
pub const CELLS: u32 = (4 << 20) / CELL as u32;

const SIZE: usize = ring::size(CELLS);

/// The reading end, which makes the object.
pub type Reader = ring::Reader<Mapping>;
/// The writing end, which opens it.
pub type Writer = ring::Writer<Mapping>;

/// Makes the shared memory, which only this user may open, and the ring in it.
///
/// # Errors
/// `EEXIST` where the name exists; `ENOSPC` where /dev/shm is too small.
pub fn create(name: &str) -> io::Result<Reader> {
    let mut memory = ShmemConf::new().os_id(name).size(SIZE).create().map_err(system_error)?;
    // ftruncate(2) promises bytes that may not be there, and the promise is broken by SIGBUS at the
    // first touch. This takes them now, or says ENOSPC; the drop of `memory` then removes the name.
    posix_fallocate(open_own(name)?, 0, SIZE as i64)?;
    // From here on `remove` removes the name. The crate would do so in its drop, without asking whether
    // the name still means this object.
    memory.set_owner(false);
    Ok(Reader::create(Mapping(memory), CELLS))
}

/// Opens the shared memory that a reader has made.
///
/// # Errors
/// `ENOENT`; `EAGAIN` while it is half-made; `EPERM` where it is another user's; `InvalidData` where it is
/// something else.
pub fn open(name: &str) -> io::Result<Writer> {
    // Between shm_open and ftruncate the object has no bytes; then it has bytes but no magic number.
    if fstat(open_own(name)?)?.st_size == 0 {
        return Err(Errno::EAGAIN.into());
    }
    let memory = ShmemConf::new().os_id(name).open().map_err(system_error)?;
    Writer::open(Mapping(memory), CELLS)
}

/// Removes the name. The memory lives on until both processes have unmapped it.
///
/// # Errors
/// `ENOENT`; `EPERM` where the object is another user's.
pub fn remove(name: &str) -> io::Result<()> {
    open_own(name)?;
    Ok(shm_unlink(name)?)
}

/// Opens an object of this user's, and of nobody else's: its maker could read and change all of it.
fn open_own(name: &str) -> io::Result<OwnedFd> {
    let fd = shm_open(name, OFlag::O_RDWR, Mode::empty())?;
    if fstat(&fd)?.st_uid == geteuid().as_raw() { Ok(fd) } else { Err(Errno::EPERM.into()) }
}

/// The object, mapped.
pub struct Mapping(Shmem);

// SAFETY: the crate maps the whole object with mmap(2), at a page's beginning, for reading and writing, and unmaps it
// in its drop; it hands out nothing but raw pointers here. (A process that may write the object may also truncate
// it, and then every touch is SIGBUS: that is why only this user may open it.)
unsafe impl Memory for Mapping {
    fn start(&self) -> *mut u8 {
        self.0.as_ptr()
    }

    fn size(&self) -> usize {
        self.0.len()
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
