//! A mutex that several processes share, and that survives its owner.
//!
//! As pthread_mutex_init(3) makes it by default, a mutex is for the threads of one process, and for ever held if its
//! owner dies. Two attributes change that:
//!
//! * `PTHREAD_PROCESS_SHARED`: it may lie in memory that several processes have mapped.
//! * `PTHREAD_MUTEX_ROBUST`: each thread keeps a list of such mutexes that it holds, and has told the kernel where
//!   (set_robust_list(2)). When the thread ends, however that comes about, the kernel goes through the list, marks
//!   each mutex and wakes one of those who wait for it.
//!
//! ```text
//! free ── lock: 0 ──▶ held ── unlock ──▶ free
//!                      │ the owner dies
//!                      ▼
//!        lock: EOWNERDEAD, and held by whoever is told so ── consistent, unlock ──▶ free
//!                      │ unlock without consistent
//!                      ▼
//!        lock: ENOTRECOVERABLE, for everybody and for ever
//! ```
//!
//! Manual pages: pthread_mutexattr_setrobust(3), pthread_mutexattr_setpshared(3), pthread_mutex_consistent(3),
//! pthread_mutex_lock(3p), get_robust_list(2), futex(2).
#![expect(unsafe_code, reason = "pthread mutexes in shared memory have no safe wrapper")]

use std::cell::UnsafeCell;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

/// What becomes of a mutex whose owner dies. The names are POSIX's.
#[derive(Clone, Copy, Debug)]
pub enum Robustness {
    /// The next one who locks it is told (`EOWNERDEAD`).
    Robust = libc::PTHREAD_MUTEX_ROBUST as isize,
    /// Nobody will ever lock it again. This is what one gets without asking.
    Stalled = libc::PTHREAD_MUTEX_STALLED as isize,
}

/// A mutex in shared memory.
#[repr(transparent)]
pub struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: that several threads call the pthread functions on one mutex is what these are for.
unsafe impl Sync for Mutex {}

/// The mutex, held. Dropping this unlocks it, and only the thread that has locked it may do that.
#[must_use = "dropping it unlocks the mutex"]
pub struct Guard<'a> {
    mutex: &'a Mutex,
    /// The last owner died while it held the mutex (`EOWNERDEAD`): what the mutex guards may be half-done.
    pub owner_died: bool,
    _of_one_thread: PhantomData<*const ()>,
}

impl Mutex {
    /// Makes the mutex, where this value lies.
    ///
    /// # Errors
    /// None in practice; see pthread_mutex_init(3p).
    ///
    /// # Safety
    /// Nobody may be using it, in no process.
    pub unsafe fn init(&self, robustness: Robustness) -> io::Result<()> {
        let mut attr = MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        // SAFETY: `attr` has room for what is made in it.
        check(unsafe { libc::pthread_mutexattr_init(attr.as_mut_ptr()) })?;
        // SAFETY: `attr` has just been made. So it is in the next two calls.
        check(unsafe { libc::pthread_mutexattr_setpshared(attr.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) })?;
        // SAFETY: see above.
        check(unsafe { libc::pthread_mutexattr_setrobust(attr.as_mut_ptr(), robustness as i32) })?;
        // SAFETY: see above; the place is valid, as `self` is, and the caller vouches that nobody is using it.
        check(unsafe { libc::pthread_mutex_init(self.0.get(), attr.as_ptr()) })
    }

    /// Locks the mutex. A signal does not end the wait for it: pthread_mutex_lock(3p) goes back to sleep. `patience`
    /// does, and it takes that where the owner may have been stopped, or is somebody else's program.
    ///
    /// # Errors
    /// `EAGAIN` where it was held for all that time; `ENOTRECOVERABLE` where somebody was told that the owner had died,
    /// and unlocked the mutex without making it consistent.
    pub fn lock(&self, patience: Option<Duration>) -> io::Result<Guard<'_>> {
        let result = match patience {
            // SAFETY: `init` has made a mutex here, and the memory is mapped as long as `self` lives.
            None => unsafe { libc::pthread_mutex_lock(self.0.get()) },
            Some(patience) => {
                // This call goes by the clock that can be set: if somebody sets it back, the wait is longer by that.
                // (pthread_mutex_clocklock(3) takes CLOCK_MONOTONIC, too; the crate libc does not have it.)
                let until = clock_gettime(ClockId::CLOCK_REALTIME)? + TimeSpec::from_duration(patience);
                // SAFETY: see above.
                unsafe { libc::pthread_mutex_timedlock(self.0.get(), until.as_ref()) }
            }
        };
        match result {
            // EOWNERDEAD is no failure: the mutex is locked.
            0 | libc::EOWNERDEAD => {
                Ok(Guard { mutex: self, owner_died: result == libc::EOWNERDEAD, _of_one_thread: PhantomData })
            }
            libc::ETIMEDOUT => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

impl Guard<'_> {
    /// Says that what the mutex guards is in order again. Without this, unlocking makes the mutex useless for good.
    ///
    /// # Errors
    /// `EINVAL` where no owner has died.
    pub fn make_consistent(&self) -> io::Result<()> {
        // SAFETY: as for `lock`; this thread holds the mutex.
        check(unsafe { libc::pthread_mutex_consistent(self.mutex.0.get()) })
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: as for `lock`; this thread holds the mutex, for a guard cannot go to another thread.
        let _ = unsafe { libc::pthread_mutex_unlock(self.mutex.0.get()) };
    }
}

/// The pthread functions return the error and leave `errno` alone.
fn check(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}
