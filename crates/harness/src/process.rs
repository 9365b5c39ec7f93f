//! One running program: signals, waits under a deadline, and how it ended.

use std::fmt;
use std::io::PipeReader;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

use crate::Result;
use crate::capture::Capture;

/// Which end a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Hands messages over.
    Sender,
    /// Takes them.
    Receiver,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Role::Sender { "sender" } else { "receiver" })
    }
}

/// A program that a trial has started. Dropping it kills it.
pub struct Process {
    pub(crate) name: String,
    pub(crate) pid: i32,
    /// Cannot mean another process, whatever becomes of this one.
    pub(crate) pidfd: OwnedFd,
    pub(crate) started: Instant,
    pub(crate) deadline: Instant,
    pub(crate) stdout: Capture,
    pub(crate) stderr: Capture,
    pub(crate) held: Mutex<Option<PipeReader>>,
    /// The other end of a standard input or output that must not be closed.
    pub(crate) _kept: Option<OwnedFd>,
    pub(crate) outcome: OnceLock<Outcome>,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The program.
    pub name: String,
    /// What its parent was told.
    pub how: How,
    /// When that was known.
    pub at: Instant,
}

/// What a parent is told of a child's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It ended with this code.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
    /// Its parent is another program, which has not said.
    Unseen,
}

impl Process {
    pub(crate) fn open(name: String, pid: i32, deadline: Instant) -> Result<Process> {
        let id = Pid::from_raw(pid).ok_or("pid 0")?;
        Ok(Process {
            name,
            pid,
            pidfd: pidfd_open(id, PidfdFlags::empty())?,
            started: Instant::now(),
            deadline,
            stdout: Capture::closed(),
            stderr: Capture::closed(),
            held: Mutex::new(None),
            _kept: None,
            outcome: OnceLock::new(),
        })
    }

    /// The process's number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Sends a signal; a process that has ended gets nothing, and that is no error.
    ///
    /// # Errors
    /// What pidfd_send_signal(2) says.
    pub fn signal(&self, signal: Signal) -> Result {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Stops one that this program has started, and waits until it stands still. One that has ended is no error.
    ///
    /// # Errors
    /// Where it is another program's child.
    pub fn stop(&self) -> Result {
        self.signal(Signal::STOP)?;
        let either = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(self.pidfd.as_fd()), either)?;
        Ok(())
    }

    /// Waits for the end until the trial's deadline.
    ///
    /// # Errors
    /// Where it still runs then.
    pub fn wait(&self) -> Result<Outcome> {
        self.wait_until(self.deadline)
    }

    /// Waits for the end, so long at most.
    ///
    /// # Errors
    /// Where it still runs then.
    pub fn wait_within(&self, time: Duration) -> Result<Outcome> {
        self.wait_until((Instant::now() + time).min(self.deadline))
    }

    fn wait_until(&self, deadline: Instant) -> Result<Outcome> {
        let begin = Instant::now();
        if !self.has_ended_by(deadline)? {
            return Err(format!("{} still runs after {:.2} s", self.name, begin.elapsed().as_secs_f64()).into());
        }
        Ok(self.outcome.get_or_init(|| self.reap()).clone())
    }

    pub(crate) fn has_ended_by(&self, deadline: Instant) -> Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&left)) {
                Err(Errno::INTR) => {}
                other => return Ok(other? > 0),
            }
        }
    }

    fn reap(&self) -> Outcome {
        let at = Instant::now();
        let status = waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED);
        let how = match status {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => How::Exited(code),
                (None, Some(signal)) => How::Killed(signal),
                (None, None) => How::Unseen,
            },
            // Not our child: its own parent takes the status.
            _ => How::Unseen,
        };
        Outcome { name: self.name.clone(), how, at }
    }

    /// Has it ended?
    pub fn has_ended(&self) -> bool {
        self.has_ended_by(Instant::now()).unwrap_or(true)
    }

    /// All of its standard output; waits for the end of it.
    pub fn stdout(&self) -> Vec<u8> {
        self.stdout.wait_closed(self.deadline);
        self.stdout.bytes()
    }

    /// How many bytes of standard output have come so far.
    pub fn stdout_len(&self) -> u64 {
        self.stdout.total()
    }

    /// Waits until so many bytes of standard output have come.
    ///
    /// # Errors
    /// Where they do not.
    pub fn wait_for_stdout(&self, len: u64) -> Result {
        self.stdout
            .wait_for(self.deadline, |_, total| (total >= len).then_some(()))
            .ok_or_else(|| format!("{}: only {} of {len} bytes came out", self.name, self.stdout.total()).into())
    }

    /// Begins to read a standard output that nobody has read ([`Stdout::Held`](crate::Stdout::Held)), and keeps it.
    pub fn drain(&self) {
        if let Some(pipe) = self.held.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.stdout.drain(pipe, true, usize::MAX);
        }
    }

    /// All of its standard error once it has ended, what there is of it before.
    pub fn stderr(&self) -> String {
        if self.has_ended() {
            self.stderr.wait_closed((Instant::now() + Duration::from_secs(1)).min(self.deadline));
        }
        self.stderr.text()
    }

    /// Waits for a line of standard error that holds `part`.
    ///
    /// # Errors
    /// Where none comes.
    pub fn wait_for_line(&self, part: &str) -> Result<String> {
        let line = self.stderr.wait_for(self.deadline, |bytes, _| {
            let text = String::from_utf8_lossy(bytes);
            let whole = &text[..=text.rfind('\n')?];
            whole.lines().find(|line| line.contains(part)).map(str::to_owned)
        });
        line.ok_or_else(|| format!("{} does not say {part:?}", self.name).into())
    }

    /// The largest memory that it has had in use so far, in bytes; `None` once it has ended.
    pub fn peak_memory(&self) -> Option<usize> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? << 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.outcome.get().is_none() {
            let _ = self.signal(Signal::KILL);
            let _ = self.wait_until(Instant::now() + Duration::from_secs(5));
        }
    }
}

impl Outcome {
    /// What `$?` shows: the exit code, or 128 + n for signal n.
    pub fn code(&self) -> Option<i32> {
        match self.how {
            How::Exited(code) => Some(code),
            How::Killed(signal) => Some(128 + signal),
            How::Unseen => None,
        }
    }

    /// Demands this exit code.
    ///
    /// # Errors
    /// Where it ended otherwise.
    pub fn expect(&self, code: i32) -> Result {
        self.expect_one_of(&[code])
    }

    /// Demands one of these exit codes. An end that only another program has seen is never a success, and
    /// any failure where one is demanded.
    ///
    /// # Errors
    /// Where it ended otherwise.
    pub fn expect_one_of(&self, codes: &[i32]) -> Result {
        match self.code() {
            Some(code) if codes.contains(&code) => Ok(()),
            None if codes.iter().any(|&code| code != 0) => Ok(()),
            _ => Err(format!("{self}; expected {codes:?}").into()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            How::Exited(code) => write!(f, "{} ended with exit code {code}", self.name),
            How::Killed(signal) => write!(f, "{} was killed by signal {signal}", self.name),
            How::Unseen => write!(f, "{} ended; its parent has the exit code", self.name),
        }
    }
}
