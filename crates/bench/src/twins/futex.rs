//! futex(2) on a word that two processes share.
#![expect(unsafe_code, reason = "futex(2) has no wrapper in libc or nix")]

use std::ptr;
use std::sync::atomic::AtomicU32;

/// Sleeps while the word is `expected`, or for no reason at all: who calls it looks again.
pub fn wait(word: &AtomicU32, expected: u32) {
    // SAFETY: the word is valid for the call, and the kernel only reads it, atomically.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, expected, ptr::null::<libc::timespec>()) };
}

/// Wakes whoever sleeps on the word.
pub fn wake(word: &AtomicU32) {
    // SAFETY: the kernel uses the word's address only.
    unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, 1) };
}
