//! A condition variable of one word: who waits for a change sleeps on it, who makes the change wakes the sleepers.
//!
//! "Not yet, so I sleep" is two steps, and the change may come in between. So both sides look at what they
//! wait for, and at this word, only while they hold the mutex; and the sleeper gives the mutex back in a way that
//! misses nothing:
//!
//! ```text
//! waiter     word |= 1  unlock  futex(WAIT, word) ┈┈┈┈┈┈┈┈┈ sleeps only if the word is still the same
//! notifier   change  if the word is odd: word += 1  unlock  futex(WAKE)
//! ```
//!
//! The lowest bit says that somebody sleeps, so that nobody is woken for nothing; the others count, so that the word is
//! never the same again.
//!
//! Why not pthread_cond_wait(3p)? Because no condition variable of POSIX is robust. glibc's has a lock of its own
//! inside: whoever is killed while he holds that one stops everybody else for good. tests/robust-mutex.rs shows it. This
//! word has no state in which a process could leave it that would stop another.
//!
//! Manual pages: futex(2), pthread_cond_wait(3p).
#![expect(unsafe_code, reason = "futex(2) has no wrapper in libc or nix")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use super::mutex::Guard;

/// A condition variable in shared memory; 0 is a new one.
#[repr(transparent)]
pub struct Condition(AtomicU32);

impl Condition {
    /// Unlocks the mutex and sleeps until somebody notifies. It may also return for no reason, so the caller locks
    /// the mutex and looks again.
    ///
    /// # Errors
    /// `EINTR` after a signal.
    pub fn wait(&self, guard: Guard<'_>) -> io::Result<()> {
        // Relaxed here and below: the mutex orders what happens while it is held.
        let word = self.0.load(Ordering::Relaxed) | 1;
        self.0.store(word, Ordering::Relaxed);
        drop(guard);
        // Not FUTEX_PRIVATE_FLAG: that would look for sleepers in this process only.
        // SAFETY: the word is valid for the call, and the kernel only reads it, atomically.
        match unsafe { libc::syscall(libc::SYS_futex, &self.0, libc::FUTEX_WAIT, word, ptr::null::<libc::timespec>()) }
        {
            0 => Ok(()),
            _ => match io::Error::last_os_error() {
                // The word has changed already.
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Unlocks the mutex and wakes all who wait.
    pub fn notify(&self, guard: Guard<'_>) {
        let word = self.0.load(Ordering::Relaxed);
        let somebody_sleeps = word & 1 == 1;
        if somebody_sleeps {
            self.0.store(word.wrapping_add(1), Ordering::Relaxed);
        }
        // First: whoever is woken wants the mutex.
        drop(guard);
        if somebody_sleeps {
            // SAFETY: the kernel only uses the word's address; nothing is read or written. It cannot fail.
            unsafe { libc::syscall(libc::SYS_futex, &self.0, libc::FUTEX_WAKE, i32::MAX) };
        }
    }
}
