//! A condition variable of one word: who waits for a change sleeps on it, who makes the change wakes the sleepers.
//!
//! "Not yet, so I sleep" is two steps, and the change may come in between. So both sides look at what they wait for, and
//! move this word, only while they hold the mutex; and futex(2) does not sleep on a word that has moved since.
//!
//! ```text
//! waiter     word += 2, made odd   unlock   futex(WAIT, word)
//! notifier   change   if the word is odd: word += 2   unlock   futex(WAKE)   made even, if it is still the same
//! ```
//!
//! An odd word says that somebody may sleep, so that nobody is woken for nothing. It becomes even only after the wake-up:
//! if the notifier is killed before that, the next one still finds it odd, and wakes the sleepers in his stead.
//!
//! Why not pthread_cond_wait(3p)? Because POSIX has robust mutexes and no robust condition variables. glibc's has a lock of
//! its own inside, and whoever is killed while he holds that stops everybody else for good (tests/robust-mutex.rs).
//! There is no state in which a dead process could leave this word that would do so.
//!
//! Manual pages: futex(2), pthread_cond_wait(3p).

use std::io;

use super::futex::{AtomicU32, Ordering, wait, wake};
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
        // Relaxed, here and below: what the word is about is ordered by the mutex.
        let word = self.0.load(Ordering::Relaxed).wrapping_add(2) | 1;
        self.0.store(word, Ordering::Relaxed);
        drop(guard);
        wait(&self.0, word)
    }

    /// Unlocks the mutex and wakes all who wait.
    pub fn notify(&self, guard: Guard<'_>) {
        let word = self.0.load(Ordering::Relaxed);
        if word & 1 == 0 {
            return;
        }
        // Whoever is about to sleep must not.
        let moved = word.wrapping_add(2);
        self.0.store(moved, Ordering::Relaxed);
        // Unlocked first, for whoever is woken wants the mutex.
        drop(guard);
        wake(&self.0);
        // Somebody else has come meanwhile? Then he may sleep.
        let _ = self.0.compare_exchange(moved, moved.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}
