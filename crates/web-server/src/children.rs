//! The parent's children: forking, waiting, telling.
//!
//! The parent keeps its own list of pids. The scoreboard has them too, but a child that has gone wrong could write
//! anything there, and kill(2) must not go to a stranger.
//!
//! Manual pages: fork(2), wait(2), kill(2), prctl(2), close_range(2).
#![expect(unsafe_code, reason = "fork, close_range and _exit have no safe wrappers")]

use std::os::fd::RawFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

use crate::scoreboard::{Account, Scoreboard};
use crate::server::say;

/// A child that has not been waited for.
#[derive(Clone, Copy, Debug)]
pub struct Child {
    /// Its process.
    pub pid: Pid,
    /// Its slot of the scoreboard.
    pub slot: usize,
    /// How often fresh workers had been asked for before it was started.
    pub generation: u32,
    /// When it was started.
    pub started: Instant,
}

/// All children.
#[derive(Debug)]
pub struct Children {
    alive: Vec<Child>,
    free: Vec<usize>,
    board: Scoreboard,
    parent: Pid,
}

impl Children {
    /// None yet, and as many as the scoreboard has room for.
    pub fn new(board: Scoreboard) -> Children {
        let free = (0..board.len()).rev().collect();
        Children { alive: Vec::with_capacity(board.len()), free, board, parent: getpid() }
    }

    /// Those that have not been waited for.
    pub fn alive(&self) -> &[Child] {
        &self.alive
    }

    /// Is there no slot for another one?
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Forks a child that does `body`, with no descriptors but the standard ones and `keep`, and ends with it.
    ///
    /// # Errors
    /// `EAGAIN` where the limits on processes, or this server's own, are reached; `ENOMEM`.
    pub fn spawn(&mut self, generation: u32, keep: &[RawFd], body: impl FnOnce(&Account)) -> nix::Result<()> {
        let slot = self.free.pop().ok_or(Errno::EAGAIN)?;
        let account = self.board.claim(slot);
        // Before the child can look.
        self.board.totals.started.fetch_add(1, Ordering::Relaxed);
        // SAFETY: there is one thread only, so the child has a complete copy of everything, locks too.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { child: pid }) => {
                self.alive.push(Child { pid, slot, generation, started: Instant::now() });
                Ok(())
            }
            Ok(ForkResult::Child) => live(self.parent, keep, &account, body),
            Err(error) => {
                self.board.totals.started.fetch_sub(1, Ordering::Relaxed);
                self.free(slot);
                Err(error)
            }
        }
    }

    /// Waits for one child that has ended, if there is one, and frees its slot.
    pub fn reap(&mut self) -> Option<Child> {
        loop {
            // SIGCHLD says that something has ended, not what or how many: signals of a kind are merged. So ask until
            // there is nobody left.
            let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
            };
            let pid = status.pid()?;
            let Some(at) = self.alive.iter().position(|child| child.pid == pid) else { continue };
            let child = self.alive.swap_remove(at);
            match status {
                WaitStatus::Exited(_, 0) => {}
                WaitStatus::Exited(_, code) => self.crashed(&format!("child {pid} ended with exit code {code}")),
                WaitStatus::Signaled(_, signal, _) => self.crashed(&format!("child {pid} was killed by {signal}")),
                _ => {}
            }
            self.free(child.slot);
            return Some(child);
        }
    }

    /// Sends a signal to some of the children.
    pub fn signal(&self, signal: Signal, to: impl Fn(&Child) -> bool) {
        for child in self.alive.iter().filter(|child| to(child)) {
            // Until it has been waited for, the pid is its own, even when it has ended.
            let _ = kill(child.pid, signal);
        }
    }

    fn crashed(&self, text: &str) {
        self.board.totals.crashed.fetch_add(1, Ordering::Relaxed);
        say(text);
    }

    fn free(&mut self, slot: usize) {
        self.board.release(slot);
        self.free.push(slot);
    }
}

/// The whole life of a child.
fn live(parent: Pid, keep: &[RawFd], account: &Account, body: impl FnOnce(&Account)) -> ! {
    // When the parent dies, even by SIGKILL, so does the child. Had it died before this line, nobody would tell; but
    // then the child has got another parent.
    let watched = set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent;
    // What the parent has open, the child has open: it would keep the port, and other people's connections, alive.
    let alone = watched && keep_only(keep).is_ok();
    account.begin();
    let code = match panic::catch_unwind(AssertUnwindSafe(|| alone.then(|| body(account)))) {
        Ok(Some(())) => 0,
        Ok(None) => 1,
        Err(_) => 101,
    };
    // SAFETY: it only ends the process. exit(3) would do the parent's last things a second time.
    unsafe { libc::_exit(code) }
}

/// Closes all descriptors except for the standard ones and some others.
fn keep_only(keep: &[RawFd]) -> nix::Result<()> {
    let mut kept = keep.to_vec();
    kept.sort_unstable();
    let mut next = libc::STDERR_FILENO + 1;
    for fd in kept {
        if fd > next {
            close_range(next, fd - 1)?;
        }
        next = next.max(fd + 1);
    }
    close_range(next, i32::MAX)
}

/// Closes a descriptor that the parent has opened and this child does not need any more.
pub(crate) fn close(fd: RawFd) -> nix::Result<()> {
    close_range(fd, fd)
}

/// Closes the descriptors from `first` to `last`, whether they are open or not.
pub(crate) fn close_range(first: i32, last: i32) -> nix::Result<()> {
    // SAFETY: nobody uses these descriptors afterwards: the caller is a child that leaves its parent's values alone.
    let result = unsafe { libc::close_range(first.unsigned_abs(), last.unsigned_abs(), 0) };
    Errno::result(result).map(drop)
}
