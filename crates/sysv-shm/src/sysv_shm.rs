//! System V shared memory: the same pages in two processes, found by a number instead of a name.
//!
//! `shmget(2)` makes a segment for a key or finds it, `shmat(2)` maps it. It is older than mmap(2) and has one thing
//! that no other kind of shared memory has: the kernel counts who has it attached, and a segment that has been
//! marked for removal goes with the last of them. So once both ends are attached nothing can be left behind.
//!
//! ```text
//! reader  shmget(key, IPC_CREAT|IPC_EXCL) ─ shmat ┐            ┌ shmat ─ shmget(key)  writer
//!                                        nattch 1 ├─ segment ──┤ nattch 2, then shmctl(IPC_RMID)
//!                                     copy out ◀──┘   ring     └◀── copy in
//! ```
//!
//! The ring in it is the crate `ring`.
//!
//! Manual pages: shmget(2), shmat(2), shmctl(2), sysvipc(7), ipcs(1).
#![expect(unsafe_code, reason = "System V shared memory has no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use libc::c_int;
use nix::errno::Errno;
use nix::unistd::geteuid;
pub use ring::LONGEST;
use ring::{CELL, Memory};

/// Cells in the ring, which have 4 MiB together. More than a core's own cache holds, for where both ends are busy, what has
/// been pushed out to the cache that the cores share is read faster than what must be fetched from another core's own.
pub const CELLS: u32 = (4 << 20) / CELL as u32;

const SIZE: usize = ring::size(CELLS);
/// Only this user may attach it.
const MODE: c_int = 0o600;

/// The reading end, which makes the segment.
pub type Reader = ring::Reader<Attached>;
/// The writing end, which finds it.
pub type Writer = ring::Writer<Attached>;

/// Makes the segment, and the ring in it.
///
/// # Errors
/// `EEXIST` where the key is taken; `ENOSPC` where the system has `shmmni` segments or `shmall` pages of them already.
pub fn create(key: i32) -> io::Result<Reader> {
    // IPC_EXCL: without it one would get whatever has this key, with another user's or a dead run's bytes in it.
    let segment = Segment::get(key, SIZE, libc::IPC_CREAT | libc::IPC_EXCL | MODE)?;
    let attached = segment.attach().inspect_err(|_| drop(segment.remove()))?;
    Ok(Reader::create(attached, CELLS))
}

/// Opens the segment that a reader has made, and marks it for removal: both are attached now.
///
/// # Errors
/// `ENOENT`; `EIDRM` where it is removed meanwhile; `EPERM` or `EACCES` where it is another user's; `EAGAIN` while it is
/// half-made; `InvalidData` where it is something else.
pub fn open(key: i32) -> io::Result<Writer> {
    let segment = Segment::get(key, 0, 0)?;
    // Whoever made it can read and change it.
    if segment.stat()?.shm_perm.cuid != geteuid().as_raw() {
        return Err(Errno::EPERM.into());
    }
    let writer = Writer::open(segment.attach()?, CELLS)?;
    // From here on nobody finds it by its key, and it goes with the last process that has it attached, however that
    // one ends. In `ipcs -m` its key is 0 now and its status `dest`.
    segment.remove()?;
    Ok(writer)
}

/// Removes a segment that nobody has opened; one that somebody has is gone already, or will be.
///
/// # Errors
/// `ENOENT`; `EIDRM` where it is removed meanwhile; `EPERM` or `EACCES` where it is another user's; `EEXIST` where it is
/// no such segment as [`create`] makes.
pub fn remove(key: i32) -> io::Result<()> {
    let segment = Segment::get(key, 0, 0)?;
    let stat = segment.stat()?;
    if stat.shm_perm.cuid != geteuid().as_raw() {
        return Err(Errno::EPERM.into());
    }
    if stat.shm_segsz != SIZE || c_int::from(stat.shm_perm.mode & 0o777) != MODE {
        return Err(Errno::EEXIST.into());
    }
    segment.remove()
}

/// A segment's identifier. The key is what two programs agree upon; the identifier means this segment and no later one.
struct Segment(c_int);

impl Segment {
    fn get(key: i32, size: usize, flags: c_int) -> io::Result<Segment> {
        // SAFETY: the call takes three numbers and touches no memory.
        match unsafe { libc::shmget(key, size, flags) } {
            -1 => Err(io::Error::last_os_error()),
            id => Ok(Segment(id)),
        }
    }

    fn attach(&self) -> io::Result<Attached> {
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let start = unsafe { libc::shmat(self.0, ptr::null(), 0) };
        // The odd one out: it returns a pointer, and its error is not the null pointer but -1.
        if start as isize == -1 {
            return Err(gone());
        }
        let start = NonNull::new(start.cast()).ok_or(Errno::EFAULT)?;
        let mut attached = Attached { start, size: 0 };
        attached.size = self.stat()?.shm_segsz;
        Ok(attached)
    }

    fn stat(&self) -> io::Result<libc::shmid_ds> {
        let mut stat = MaybeUninit::zeroed();
        // SAFETY: `stat` has room for what IPC_STAT writes.
        match unsafe { libc::shmctl(self.0, libc::IPC_STAT, stat.as_mut_ptr()) } {
            // SAFETY: the call has filled it in, and it is made of numbers.
            0 => Ok(unsafe { stat.assume_init() }),
            _ => Err(gone()),
        }
    }

    fn remove(&self) -> io::Result<()> {
        // SAFETY: IPC_RMID does not use the pointer.
        match unsafe { libc::shmctl(self.0, libc::IPC_RMID, ptr::null_mut()) } {
            0 => Ok(()),
            _ => Err(gone()),
        }
    }
}

/// The error of a call with an identifier, which says `EINVAL` of one that means nothing any more. Between two calls
/// somebody may have removed the segment.
fn gone() -> io::Error {
    match Errno::last() {
        Errno::EINVAL => Errno::EIDRM.into(),
        error => error.into(),
    }
}

/// A segment in this process's address space. shmdt(2) takes it out again, and so does the end of the process.
pub struct Attached {
    start: NonNull<u8>,
    size: usize,
}

// SAFETY: shmat(2) has mapped a segment of this size here, for reading and writing, page-aligned, until the drop.
// Unlike other objects, a segment has the size that it was made with for ever, so no touch of it can be SIGBUS.
unsafe impl Memory for Attached {
    fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn size(&self) -> usize {
        self.size
    }
}

// SAFETY: the mapping belongs to the whole process, not to the thread that has made it.
unsafe impl Send for Attached {}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: `attach` got this address from shmat, and nothing refers to the memory after this.
        unsafe { libc::shmdt(self.start.as_ptr().cast()) };
    }
}
