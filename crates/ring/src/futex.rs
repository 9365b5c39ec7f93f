//! Sleeping on a word of shared memory, and waking who sleeps: futex(2); and looking again for a while instead.
//!
//! The atomics are exported from here too, so that a test can put a model checker in place of all of it.
#![expect(unsafe_code, reason = "futex(2) has no wrapper in libc or nix")]

use std::hint::spin_loop;
use std::io;
use std::ptr;
use std::time::{Duration, Instant};

pub use std::sync::atomic::{AtomicU32, Ordering, fence};

/// Looks again and again without sleeping, until `look` says yes or `time` is over. What comes at once does not even
/// pay for a look at the clock.
///
/// # Errors
/// What `look` returns.
pub fn spin(time: Duration, mut look: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    /// So many looks take a microsecond or so.
    const LOOKS: u32 = 32;
    let mut began = None;
    while !time.is_zero() {
        for _ in 0..LOOKS {
            if look()? {
                return Ok(true);
            }
            spin_loop();
        }
        if began.get_or_insert_with(Instant::now).elapsed() >= time {
            break;
        }
    }
    Ok(false)
}

/// Sleeps until somebody wakes this word, unless it differs from `expected` already. The kernel compares
/// and goes to sleep in one step, so a wake between the two is not lost. It may also return for no reason.
///
/// # Errors
/// `EINTR` after a signal; `EAGAIN` is success.
pub fn wait(word: &AtomicU32, expected: u32) -> io::Result<()> {
    // Not FUTEX_PRIVATE_FLAG: that would look for sleepers in this process only.
    // SAFETY: the word is valid for the call, and the kernel only reads it, atomically.
    match unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, expected, ptr::null::<libc::timespec>()) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            error => Err(error),
        },
    }
}

/// Wakes whoever sleeps on the word.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the kernel only uses the word's address; nothing is read or written. It cannot fail.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX) };
}
