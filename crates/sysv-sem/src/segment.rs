//! The memory: a System V segment of one slot, found by the same key as the semaphores.
//!
//! Manual pages: shmget(2), shmat(2), shmctl(2), sysvipc(7).
#![expect(unsafe_code, reason = "System V shared memory has no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use libc::c_int;
use nix::errno::Errno;
use nix::unistd::geteuid;
use slots::{SLOT, Slots};

/// A segment's identifier: unlike the key, it means this segment and no later one.
#[derive(Clone, Copy)]
pub struct Segment(c_int);

impl Segment {
    /// Makes the segment, which only this user may attach.
    ///
    /// # Errors
    /// `EEXIST` where the key is taken; `ENOSPC` where the system has `shmmni` segments or `shmall` pages already.
    pub fn create(key: i32) -> io::Result<Segment> {
        // SAFETY: the call takes three numbers and touches no memory.
        check(unsafe { libc::shmget(key, SLOT, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) }).map(Segment)
    }

    /// Finds a segment of this user's making. Its maker can read and change it.
    ///
    /// # Errors
    /// `ENOENT`; `EPERM` or `EACCES` where it is another user's; `EEXIST` where it is no such segment as
    /// [`create`](Self::create) makes.
    pub fn find(key: i32) -> io::Result<Segment> {
        // SAFETY: as in `create`.
        let segment = check(unsafe { libc::shmget(key, 0, 0) }).map(Segment)?;
        let mut stat = MaybeUninit::<libc::shmid_ds>::zeroed();
        // SAFETY: `stat` has room for what IPC_STAT writes.
        check(unsafe { libc::shmctl(segment.0, libc::IPC_STAT, stat.as_mut_ptr()) }).map_err(gone)?;
        // SAFETY: the call has filled it in, and it is made of numbers.
        let stat = unsafe { stat.assume_init() };
        match stat.shm_segsz {
            _ if stat.shm_perm.cuid != geteuid().as_raw() => Err(Errno::EPERM.into()),
            SLOT => Ok(segment),
            _ => Err(Errno::EEXIST.into()),
        }
    }

    /// Marks the segment: from now on nobody finds it by its key, and it goes with the last process that has it
    /// attached, however that one ends.
    ///
    /// # Errors
    /// `EIDRM` where it is gone.
    pub fn remove(self) -> io::Result<()> {
        // SAFETY: IPC_RMID does not use the pointer.
        check(unsafe { libc::shmctl(self.0, libc::IPC_RMID, ptr::null_mut()) }).map(drop).map_err(gone)
    }

    /// Maps the segment.
    ///
    /// # Errors
    /// `ENOMEM`; `EIDRM` where it is gone.
    pub fn attach(self) -> io::Result<Attached> {
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        match unsafe { libc::shmat(self.0, ptr::null(), 0) } {
            // The odd one out: a pointer that is an error is not the null pointer.
            start if start as isize == -1 => Err(gone(io::Error::last_os_error())),
            start => Ok(Attached(start.cast())),
        }
    }
}

/// The segment in this process's memory, until this is dropped.
pub struct Attached(*mut u8);

impl Attached {
    /// The slot.
    pub fn slot(&self) -> Slots {
        // SAFETY: a segment of this size is mapped here as long as `self` lives, page-aligned, and no caller keeps the
        // result for longer.
        unsafe { Slots::new(self.0, 1) }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // SAFETY: `attach` got this address from shmat, and nothing refers to the memory after this.
        unsafe { libc::shmdt(self.0.cast()) };
    }
}

/// The result of a call.
pub(super) fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The error of a call with an identifier. Who sleeps when the object is removed gets `EIDRM`; who comes later gets
/// `EINVAL`, because the identifier means nothing any more.
pub(super) fn gone(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(libc::EINVAL) { Errno::EIDRM.into() } else { error }
}
