//! Signals as something to read. They are blocked, so that none comes in the middle of anything, and a signalfd(2) in
//! poll(2) or epoll(7) tells of them like a socket of bytes.
//!
//! | signal | the parent | a child |
//! |---|---|---|
//! | SIGCHLD | waits for children that have ended | |
//! | SIGTERM | stops when all answers under way are complete; the second time at once | the same |
//! | SIGINT | as SIGTERM | nothing: a terminal sends it to all, and the parent will say what to do |
//! | SIGHUP | starts fresh workers | answers one more request on each connection, and ends |
//! | SIGUSR1 | prints the state | nothing |
//!
//! Manual pages: signalfd(2), sigprocmask(2), signal(7).
#![expect(unsafe_code, reason = "the action of a signal has no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Blocks the signals that this program answers to and opens a descriptor that tells of them.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn open() -> io::Result<SignalFd> {
    // Ignored by whoever started this program? Then the kernel would wait for the children in our place, and we would
    // never learn of their ends.
    // SAFETY: the default action is no handler that could do anything wrong.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    let mut set = SigSet::from_iter([Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1]);
    // A shell lets `server &` ignore the terminal's interrupt, which is meant for the program in the foreground.
    if !is_ignored(Signal::SIGINT)? {
        set.add(Signal::SIGINT);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

/// The next signal that has come, if there is one.
pub fn next(signals: &SignalFd) -> Option<Signal> {
    loop {
        match signals.read_signal() {
            Ok(Some(info)) => return Signal::try_from(info.ssi_signo as i32).ok(),
            Err(Errno::EINTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

fn is_ignored(signal: Signal) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action changes nothing, and `action` has room for the old one.
    Errno::result(unsafe { libc::sigaction(signal as i32, ptr::null(), action.as_mut_ptr()) })?;
    // SAFETY: zeroed is a valid sigaction, and the call has filled it in.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}
