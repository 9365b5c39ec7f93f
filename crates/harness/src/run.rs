//! Both ends of a pair at work, whoever started the receiver.

use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::capture::Stdout;
use crate::process::How;
use crate::{Launch, Outcome, Process, Result, Role, Trial};

/// Both ends, about to be started: the receiver first, where it is not the sender that starts it.
pub struct Both<'t> {
    trial: &'t Trial,
    sender: Vec<OsString>,
    receiver: Vec<OsString>,
    stdin: Option<Vec<u8>>,
    stdout: Stdout,
    timeout: Option<f64>,
    umask: Option<u32>,
}

/// Both ends at work.
pub struct Run {
    /// The sending end.
    pub sender: Process,
    /// The receiving end; `None` where it ended before it could be found.
    pub receiver: Option<Process>,
    family: bool,
}

/// How both ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How the sender did.
    pub sender: Outcome,
    /// How the receiver did.
    pub receiver: Outcome,
}

impl<'t> Both<'t> {
    pub(crate) fn new(trial: &'t Trial) -> Both<'t> {
        let (sender, receiver) = (Vec::new(), Vec::new());
        Both { trial, sender, receiver, stdin: None, stdout: Stdout::Keep, timeout: None, umask: None }
    }

    /// Adds arguments of the sender.
    #[must_use]
    pub fn sender<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.sender.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds arguments of the receiver.
    #[must_use]
    pub fn receiver<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.receiver.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// What comes on the sender's standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// What becomes of the payload.
    #[must_use]
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// `--timeout` for both ends.
    #[must_use]
    pub fn timeout(mut self, seconds: f64) -> Self {
        self.timeout = Some(seconds);
        self
    }

    /// The file mode creation mask of both.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    fn finish_launch<'l>(&self, mut launch: Launch<'l>) -> Launch<'l> {
        if let Some(seconds) = self.timeout {
            launch = launch.timeout(seconds);
        }
        match self.umask {
            Some(mask) => launch.umask(mask),
            None => launch,
        }
    }

    /// Starts both.
    ///
    /// # Errors
    /// Where one of them cannot be started or the receiver does not become ready.
    pub fn start(mut self) -> Result<Run> {
        let family = self.trial.pair.is_family();
        let mut sender = self.finish_launch(self.trial.launch(Role::Sender)).args(&self.sender);
        if let Some(bytes) = self.stdin.take() {
            sender = sender.stdin(bytes);
        }
        if family {
            let sender = sender.args(&self.receiver).stdout(self.stdout).spawn()?;
            let receiver = find_receiver(self.trial, &sender)?;
            return Ok(Run { sender, receiver, family });
        }
        let receiver = self.finish_launch(self.trial.launch(Role::Receiver)).args(&self.receiver);
        let receiver = Some(receiver.stdout(self.stdout).ready()?);
        Ok(Run { sender: sender.spawn()?, receiver, family })
    }
}

impl Run {
    /// Two strangers that have been started one by one.
    pub fn of(sender: Process, receiver: Process) -> Run {
        Run { sender, receiver: Some(receiver), family: false }
    }

    /// The process at whose standard output the payload comes out: a family shares one.
    pub fn output(&self) -> &Process {
        if self.family { &self.sender } else { self.receiver.as_ref().unwrap_or(&self.sender) }
    }

    /// One of the two.
    ///
    /// # Errors
    /// Where a family's receiver ended before it could be found.
    pub fn end(&self, role: Role) -> Result<&Process> {
        match role {
            Role::Sender => Ok(&self.sender),
            Role::Receiver => self.receiver.as_ref().ok_or_else(|| "the receiver was never seen".into()),
        }
    }

    /// Waits until both have ended.
    ///
    /// # Errors
    /// Where one of them still runs at the deadline.
    pub fn wait(&self) -> Result<Ended> {
        let sender = self.sender.wait()?;
        let mut receiver = match &self.receiver {
            Some(receiver) => receiver.wait()?,
            None => Outcome { name: "the receiver".into(), how: How::Unseen, at: sender.at },
        };
        if receiver.how == How::Unseen {
            receiver.how = told_by(&sender, &self.sender.stderr());
        }
        Ok(Ended { sender, receiver })
    }

    /// Waits until both have ended well.
    ///
    /// # Errors
    /// Where one of them did not end, or not with 0.
    pub fn complete(&self) -> Result<Vec<u8>> {
        let ended = self.wait()?;
        ended.sender.expect(0)?;
        ended.receiver.expect(0)?;
        Ok(self.output().stdout())
    }

    /// `messages=… bytes=…` of the receiver's `--stats`.
    ///
    /// # Errors
    /// Where there is no such line.
    pub fn stats(&self) -> Result<(u64, u64)> {
        let text = self.output().stderr();
        let number = |key: &str| {
            let word = text.split_whitespace().find_map(|word| word.strip_prefix(key));
            word.and_then(|word| word.parse().ok()).ok_or_else(|| format!("no {key} in {text:?}"))
        };
        Ok((number("messages=")?, number("bytes=")?))
    }
}

/// A parent reaps its child; its own exit code and error line say what became of it.
fn told_by(sender: &Outcome, stderr: &str) -> How {
    let after = |mark: &str| {
        let rest = &stderr[stderr.find(mark)? + mark.len()..];
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    if sender.how == How::Exited(0) {
        How::Exited(0)
    } else if let Some(code) = after("-receiver ended with exit status: ") {
        How::Exited(code)
    } else if let Some(signal) = after("-receiver ended with signal: ") {
        How::Killed(signal)
    } else {
        How::Unseen
    }
}

/// The child that the sender has started, once it runs a program of its own.
fn find_receiver(trial: &Trial, sender: &Process) -> Result<Option<Process>> {
    let command_line = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // There is no event for "has called exec": look again soon.
    while !sender.has_ended() && Instant::now() < trial.deadline() {
        let own = command_line(sender.pid());
        for pid in children(sender.pid()) {
            let line = command_line(pid);
            if !line.is_empty() && line != own {
                let name = format!("{}-receiver", trial.pair.name);
                let Ok(mut receiver) = Process::open(name, pid, trial.deadline()) else { continue };
                receiver.stdout = sender.stdout.clone();
                receiver.stderr = sender.stderr.clone();
                return Ok(Some(receiver));
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

pub(crate) fn children(pid: i32) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}
