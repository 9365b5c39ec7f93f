//! fork(2), and what a child needs before it works.
#![expect(unsafe_code, reason = "fork(2) and _exit(2) have no safe wrappers")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Context, Error, Result};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

/// Forks; the child does its `work` and ends. It gets the signal `at_parents_death` when this process ends, however
/// that comes about. Call it before the process has a second thread.
///
/// # Errors
/// [`Error::System`]: `EAGAIN` where this user may have no more processes.
pub fn start(name: &str, at_parents_death: Signal, work: impl FnOnce() -> Result<()>) -> Result<Pid> {
    let parent = getpid();
    // SAFETY: this process has one thread, so the child has no lock that a thread which it lacks would have to release.
    match unsafe { fork() } {
        Ok(ForkResult::Parent { child }) => Ok(child),
        Ok(ForkResult::Child) => {
            let life = AssertUnwindSafe(|| {
                set_pdeathsig(at_parents_death).doing("prctl")?;
                // Has it ended before the kernel was asked?
                if getppid() != parent {
                    return Err(Error::PeerGone("the parent has ended".to_owned()));
                }
                work()
            });
            // A panic must not unwind into the functions that the parent has called.
            let code = match catch_unwind(life) {
                Ok(Ok(())) => 0,
                Ok(Err(error)) => {
                    let code = error.exit_code();
                    common::exit(name, Err(error));
                    code.into()
                }
                Err(_) => 101,
            };
            // Not std::process::exit, which would write what the parent has in its buffers a second time.
            // SAFETY: it ends the process at once and touches no memory.
            unsafe { libc::_exit(code) }
        }
        Err(error) => Err(error)
            .doing(format!("fork {name}"))
            .map_err(|error| error.with_hint("see ulimit -u: how many processes a user may have")),
    }
}
