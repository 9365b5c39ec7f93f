//! The workers: started together, ended together. None is left running or unreaped.

use std::io;
use std::mem::take;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use common::{Cleanup, Context, Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};

use crate::fork;

/// How long a worker whose channel is closed may take to be dead, in milliseconds.
const DYING: u16 = 250;

/// How a worker has ended, if it has. It is not reaped, so its pid stays its own.
const LOOK: WaitPidFlag = WaitPidFlag::WEXITED.union(WaitPidFlag::WNOHANG).union(WaitPidFlag::WNOWAIT);

/// Workers by their number, from 0. Dropping it kills and reaps those that have not been waited for.
#[derive(Default)]
pub struct Crew {
    workers: Vec<Pid>,
    /// Each becomes readable when its worker ends.
    exits: Vec<OwnedFd>,
    /// The same, for the threads that watch: once nobody else will come.
    complete: Arc<OnceLock<Vec<OwnedFd>>>,
    /// Ends them, once they are complete.
    end: Option<Cleanup>,
}

impl Crew {
    /// Forks a worker.
    ///
    /// # Errors
    /// See [`fork::start`].
    pub fn start(&mut self, work: impl FnOnce() -> Result<()>) -> Result<Pid> {
        let name = format!("parallel-sum: worker {}", self.workers.len() + 1);
        let pid = fork::start(&name, Signal::SIGKILL, || {
            // A Ctrl-C is for all processes of the terminal. The parent deals with it, and when that ends, so do we.
            SigSet::from_iter([Signal::SIGINT, Signal::SIGHUP]).thread_set_mask().doing("pthread_sigmask")?;
            work()
        })?;
        self.workers.push(pid);
        let id = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH).doing("pidfd_open")?;
        self.exits.push(pidfd_open(id, PidfdFlags::empty()).doing("pidfd_open")?);
        Ok(pid)
    }

    /// No more workers will come, and this process may have threads. A signal that ends it ends the workers first.
    ///
    /// # Errors
    /// [`Error::System`] where a thread cannot be started.
    pub fn complete(&mut self, quiet: bool) -> Result<()> {
        let _ = self.complete.set(take(&mut self.exits));
        let workers = self.workers.clone();
        let ((), end) = Cleanup::create(|| Ok(((), move || end(&workers)))).doing("keep the workers")?;
        self.end = Some(end);
        common::end_cleanly_on_signals("parallel-sum".to_owned(), quiet)
    }

    /// What returns when there is no use in waiting for a worker's result any more: it has ended, or another one
    /// has failed. Where there is no worker of that number: all have ended.
    pub fn hopeless(&self, number: usize) -> impl Fn() -> io::Result<()> + Send + Sync + 'static {
        let complete = Arc::clone(&self.complete);
        move || {
            let exits = complete.get().map_or(&[][..], Vec::as_slice);
            let mut working: Vec<usize> = (0..exits.len()).collect();
            while !working.is_empty() {
                let mut fds: Vec<_> = working.iter().map(|worker| readable(exits[*worker].as_fd())).collect();
                match poll(&mut fds, PollTimeout::NONE) {
                    Err(Errno::EINTR) => continue,
                    other => drop(other?),
                }
                let ended: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
                for (worker, _) in working.iter().zip(&ended).filter(|(_, ended)| **ended) {
                    let status = waitid(Id::PIDFd(exits[*worker].as_fd()), LOOK)?;
                    if *worker == number || !is_well(status) {
                        return Ok(());
                    }
                }
                working =
                    working.into_iter().zip(ended).filter(|(_, ended)| !ended).map(|(worker, _)| worker).collect();
            }
            Ok(())
        }
    }

    /// Why a worker's result has not come: if a worker has failed, that is the reason.
    pub fn explain(&self, number: usize, error: Error) -> Error {
        if let Some(failure) = self.failure() {
            return failure;
        }
        // Its channel is closed before it is dead.
        if matches!(error, Error::PeerGone(_))
            && let Some(exit) = self.complete.get().and_then(|exits| exits.get(number))
        {
            let _ = poll(&mut [readable(exit.as_fd())], PollTimeout::from(DYING));
        }
        self.failure().unwrap_or(error)
    }

    fn failure(&self) -> Option<Error> {
        let statuses = self.workers.iter().map(|pid| waitid(Id::Pid(*pid), LOOK).unwrap_or(WaitStatus::StillAlive));
        statuses.enumerate().find_map(|(number, status)| failure(number, status))
    }

    /// Waits until a worker has ended, or another one has failed.
    ///
    /// # Errors
    /// [`Error::PeerGone`] where one has failed.
    pub fn wait(&self, number: usize) -> Result<()> {
        self.hopeless(number)().doing("poll")?;
        self.failure().map_or(Ok(()), Err)
    }

    /// Waits until all have ended, or one has failed.
    ///
    /// # Errors
    /// [`Error::PeerGone`] where one has failed. The others are killed then.
    pub fn wait_for_all(self) -> Result<()> {
        self.wait(self.workers.len())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        if self.end.is_none() {
            end(&self.workers);
        }
    }
}

/// Reaps those that have ended, and kills the others first.
fn end(workers: &[Pid]) {
    let lives = |pid: &&Pid| waitpid(**pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive);
    let alive: Vec<&Pid> = workers.iter().filter(lives).collect();
    for pid in &alive {
        let _ = kill(**pid, Signal::SIGKILL);
    }
    for pid in alive {
        let _ = waitpid(*pid, None);
    }
}

fn is_well(status: WaitStatus) -> bool {
    matches!(status, WaitStatus::Exited(_, 0) | WaitStatus::StillAlive)
}

/// The exit code that says that this machine does not offer the technique; which end finds it out first is chance.
const UNSUPPORTED: i32 = 77;

fn failure(number: usize, status: WaitStatus) -> Option<Error> {
    if let WaitStatus::Exited(pid, UNSUPPORTED) = status {
        return Some(Error::Unsupported(format!("as worker {} (process {pid}) has found", number + 1)));
    }
    let (pid, how) = match status {
        WaitStatus::Exited(pid, code) if code != 0 => (pid, format!("failed with exit code {code}")),
        WaitStatus::Signaled(pid, signal, _) => (pid, format!("was ended by {signal}")),
        _ => return None,
    };
    Some(Error::PeerGone(format!("worker {} (process {pid}) {how}: there is no total", number + 1)))
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}
