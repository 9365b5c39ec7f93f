//! SIGINT, SIGTERM and SIGHUP end a program at once, at whatever moment they come, and leave nothing behind.
//!
//! A handler could do almost nothing safely (signal-safety(7)), and a flag that it sets would be missed by
//! a wait that begins just after the flag was checked. So the three signals are blocked in every thread and
//! one thread takes them with sigwait(3): an ordinary thread, which may do anything that needs no descriptor of the
//! others'.
#![expect(unsafe_code, reason = "sigaction(2) has no safe wrapper that only asks")]

use std::mem::MaybeUninit;
use std::{io, process, ptr};

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};

use crate::helper::{self, Table};
use crate::{Context, Result, cleanup};

/// From now on SIGINT, SIGTERM and SIGHUP end this process and undo what it has made. Every program has this from
/// [`program`](crate::program); what uses the techniques in another way calls it before any other thread starts, for
/// threads inherit the signal mask.
///
/// # Errors
/// [`Error::System`](crate::Error::System) where a thread cannot be started.
pub fn end_cleanly_on_signals(program: String, quiet: bool) -> Result<()> {
    let signals = ending_signals()?;
    signals.thread_block().doing("pthread_sigmask")?;
    // A write beyond `ulimit -f` is to fail with EFBIG like any other failed write, and not to kill.
    // SAFETY: to ignore a signal installs no handler that could do harm.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.doing("sigaction")?;
    expect_children()?;
    let wait = move |_| {
        let Ok(signal) = signals.wait() else { return };
        cleanup::undo_all_for_good();
        if !quiet {
            crate::program::complain_without_waiting(&program, &format!("ended by {signal}"));
        }
        process::exit(128 + signal as i32);
    };
    helper::spawn("signals", Table::Own, &[], wait).map(drop).doing("starting a thread")
}

/// A parent that ignored SIGCHLD has left us that, and then children vanish without leaving an exit status.
///
/// # Errors
/// [`Error::System`](crate::Error::System), as of sigaction(2).
pub fn expect_children() -> Result<()> {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.doing("sigaction")?;
    Ok(())
}

/// SIGINT, SIGTERM and SIGHUP, but for those that the program was started with ignored: nohup(1) and a script's `&`
/// do that, and mean it.
///
/// # Errors
/// [`Error::System`](crate::Error::System), as of sigaction(2).
pub fn ending_signals() -> Result<SigSet> {
    let mut signals = SigSet::empty();
    for ending in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        if !is_ignored(ending).doing("sigaction")? {
            signals.add(ending);
        }
    }
    Ok(signals)
}

fn is_ignored(signal: Signal) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action changes nothing, and `action` has room for the old one.
    match unsafe { libc::sigaction(signal as i32, ptr::null(), action.as_mut_ptr()) } {
        // SAFETY: zeroed is a valid sigaction, and the call has filled it in.
        0 => Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN),
        _ => Err(io::Error::last_os_error()),
    }
}
