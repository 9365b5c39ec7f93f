//! In a family the sender is the parent: it makes the channel and starts the receiver with its end of it.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{self, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::umask;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::cleanup::Cleanup;
use crate::program::USERS_UMASK;
use crate::rendezvous::pidfd_open;
use crate::{Args, Context, Error, Link, Result, Role};

/// How long a receiver whose channel is closed may take to end by itself, in milliseconds. A stuck one takes all
/// of it, and a sender that has timed out should not come late by more.
const PATIENCE: u16 = 250;
/// How long it may take to end on SIGTERM, in milliseconds.
const GRACE: u16 = 200;

/// The receiver that a sender has started. It does not outlive this value.
pub struct Child {
    process: process::Child,
    /// Becomes readable when it ends.
    exit: OwnedFd,
    name: String,
    cleanup: Option<Cleanup>,
}

impl Child {
    /// Starts `X-receiver --endpoint -` from the folder of the running program, with `channel` as its
    /// standard input and those of `args` that are a receiver's.
    ///
    /// # Errors
    /// [`Error::System`] where it cannot be started.
    pub fn receiver(args: &Args, channel: OwnedFd) -> Result<Child> {
        let name = format!("{}-receiver", args.technique.name);
        let program = std::env::current_exe().doing("readlink /proc/self/exe")?.with_file_name(&name);
        let mut command = Command::new(&program);
        command.args(["--endpoint", "-"]).stdin(Stdio::from(channel));
        if let Some(timeout) = args.timeout {
            command.args(["--timeout", &timeout.as_secs_f64().to_string()]);
        }
        if let Some(output) = &args.output {
            let mut option = OsString::from("--output=");
            option.push(output);
            command.arg(option);
        }
        for extra in args.technique.options.iter().filter(|extra| extra.role == Role::Receiver) {
            if let Some(value) = args.extra(extra.name) {
                let given = extra.value.map_or(String::new(), |_| format!("={value}"));
                command.arg(format!("--{}{given}", extra.name));
            }
        }
        for (given, option) in [(args.quiet, "--quiet"), (args.stats, "--stats")] {
            command.args(given.then_some(option));
        }
        let start = || {
            // What it makes for the user obeys the user's mask, which it can only learn by inheriting it.
            let ours = USERS_UMASK.get().map(|&users| umask(users));
            let spawned = command.spawn();
            ours.map(umask);
            let process = spawned?;
            let pid = Pid::from_raw(process.id() as i32);
            let exit = pidfd_open(pid.as_raw()).inspect_err(|_| end(pid))?;
            Ok(((process, exit), move || end(pid)))
        };
        let ((process, exit), cleanup) = Cleanup::create(start).doing(format!("start {}", program.display()))?;
        Ok(Child { process, exit, name, cleanup: Some(cleanup) })
    }

    /// Waits until the receiver has ended, which takes as long as it has payload to write.
    ///
    /// # Errors
    /// [`Error::PeerGone`] where it failed.
    pub fn wait(mut self, link: &Link) -> Result<()> {
        link.wait("wait for the receiver to end", || {
            poll(&mut [readable(self.exit.as_fd())], PollTimeout::NONE)?;
            Ok(())
        })?;
        self.reap()
    }

    /// Tells what became of the receiver, where the channel has told that it is gone.
    pub fn explain(&mut self, error: Error) -> Error {
        if matches!(error, Error::PeerGone(_)) && ends_within(self.exit.as_fd(), PATIENCE) {
            return self.reap().err().unwrap_or(error);
        }
        error
    }

    /// Takes the exit status of a receiver that has ended.
    fn reap(&mut self) -> Result<()> {
        // In this order: once it is reaped, its pid may be another process's, which no signal must reach.
        if let Some(cleanup) = self.cleanup.take() {
            cleanup.forget();
        }
        let status = self.process.wait().doing("wait")?;
        if status.success() { Ok(()) } else { Err(Error::PeerGone(format!("{} ended with {status}", self.name))) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The channel is closed by now: a healthy receiver ends by itself and says what it misses.
        let pid = Pid::from_raw(self.process.id() as i32);
        if self.cleanup.is_some() && !is_stopped(pid) && ends_within(self.exit.as_fd(), PATIENCE) {
            let _ = self.reap();
        }
    }
}

/// Has SIGSTOP or a Ctrl-Z stopped this child?
fn is_stopped(pid: Pid) -> bool {
    let ask = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::Pid(pid), ask), Ok(WaitStatus::Stopped(..)))
}

/// Ends a process that does not end by itself, stopped or not, and reaps it.
fn end(pid: Pid) {
    let _ = kill(pid, Signal::SIGTERM);
    let _ = kill(pid, Signal::SIGCONT);
    if !pidfd_open(pid.as_raw()).is_ok_and(|exit| ends_within(exit.as_fd(), GRACE)) {
        let _ = kill(pid, Signal::SIGKILL);
    }
    let _ = waitpid(pid, None);
}

fn ends_within(exit: BorrowedFd<'_>, milliseconds: u16) -> bool {
    loop {
        match poll(&mut [readable(exit)], PollTimeout::from(milliseconds)) {
            Err(nix::Error::EINTR) => {}
            other => return other.is_ok_and(|ready| ready > 0),
        }
    }
}

fn readable(fd: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}
