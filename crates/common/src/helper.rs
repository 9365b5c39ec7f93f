//! The threads beside a program's own one.

use std::{io, thread};

use nix::sys::signal::{SigSet, SigmaskHow};

/// Starts a thread with every signal blocked.
///
/// The kernel gives a signal that is meant for the process to any thread that does not block it. What the
/// main thread blocks in order to wait for it would so end the program in one of these.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // A thread starts with the mask of the one that starts it.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = thread::Builder::new().name(name.to_owned()).spawn(body);
    mask.thread_set_mask()?;
    started.map(drop)
}
