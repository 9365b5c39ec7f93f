//! Starting one program of a pair within a trial.
#![expect(unsafe_code, reason = "what happens between fork and exec is unsafe")]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use rustix::pipe::fcntl_setpipe_size;

use crate::capture::{Capture, Stdout};
use crate::{Process, Result, Role, Trial};

/// A program about to be started. Without further words its standard input is empty and its standard output
/// is kept.
pub struct Launch<'t> {
    pub(crate) trial: &'t Trial,
    role: Role,
    wrapper: Vec<OsString>,
    args: Vec<OsString>,
    endpoint: bool,
    stdin: Stdin,
    stdout: Stdout,
    umask: Option<libc::mode_t>,
}

enum Stdin {
    Empty,
    Bytes(Vec<u8>),
    /// A few bytes, and no end after them.
    Open(Vec<u8>),
    /// Nothing, and no end after it, from a Unix socket.
    Socket,
}

impl<'t> Launch<'t> {
    pub(crate) fn new(trial: &'t Trial, role: Role) -> Launch<'t> {
        Launch {
            trial,
            role,
            wrapper: Vec::new(),
            args: Vec::new(),
            endpoint: true,
            stdin: Stdin::Empty,
            stdout: Stdout::Keep,
            umask: None,
        }
    }

    /// Has it started by another program, whose command line this is so far.
    #[must_use]
    pub fn under<A: AsRef<OsStr>>(mut self, words: impl IntoIterator<Item = A>) -> Self {
        self.wrapper.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds `--timeout`.
    #[must_use]
    pub fn timeout(self, seconds: f64) -> Self {
        self.args(["--timeout".to_owned(), seconds.to_string()])
    }

    /// Leaves out the trial's own `--endpoint`.
    #[must_use]
    pub fn without_endpoint(mut self) -> Self {
        self.endpoint = false;
        self
    }

    /// What comes on standard input, and then its end.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// What comes on standard input (at most a few bytes), which then stays open.
    #[must_use]
    pub fn stdin_open(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Open(bytes.into());
        self
    }

    /// What becomes of standard output.
    #[must_use]
    pub fn stdout(mut self, stdout: Stdout) -> Self {
        self.stdout = stdout;
        self
    }

    /// Gives it an end of a channel, as a family inherits one, at whose other end nobody reads or writes: a pipe
    /// where bytes go through it, else a Unix socket, which takes descriptors as well.
    #[must_use]
    pub fn silent_channel(mut self) -> Self {
        let bytes = self.trial.pair.can.byte_stream;
        self.args.extend(["--endpoint", "-"].map(OsString::from));
        match self.role {
            Role::Sender => self.stdout = if bytes { Stdout::Held } else { Stdout::Socket },
            Role::Receiver => self.stdin = if bytes { Stdin::Open(Vec::new()) } else { Stdin::Socket },
        }
        self
    }

    /// Runs it under this file mode creation mask.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(self) -> Result<Process> {
        let trial = self.trial;
        let name = format!("{}-{}", trial.pair.name, self.role);
        let program = if self.role == Role::Sender { &trial.pair.sender } else { &trial.pair.receiver };
        let words: Vec<&OsStr> = self.wrapper.iter().map(OsString::as_os_str).chain([program.as_os_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        if let Some(endpoint) = trial.endpoint().filter(|_| self.endpoint) {
            command.arg("--endpoint").arg(endpoint);
        }
        command.args(&self.args).env("XDG_RUNTIME_DIR", trial.runtime_dir()).env_remove("RUST_BACKTRACE");
        let mut kept = None;
        command.stdin(match self.stdin {
            Stdin::Empty => Stdio::null(),
            Stdin::Bytes(_) | Stdin::Open(_) => Stdio::piped(),
            Stdin::Socket => Stdio::from(kept_socket(&mut kept)?),
        });
        prepare(&mut command, self.umask);
        let (stdout, stderr) = (Capture::default(), Capture::default());
        let (errors, stderr_end) = pipe()?;
        command.stderr(stderr_end);
        let mut held = None;
        match &self.stdout {
            Stdout::File(path) => {
                let file = File::options().write(true).open(path);
                command.stdout(file.map_err(|error| format!("{}: {error}", path.display()))?);
            }
            Stdout::Socket => drop(command.stdout(kept_socket(&mut kept)?)),
            other => {
                let (output, stdout_end) = pipe()?;
                command.stdout(stdout_end);
                match other {
                    Stdout::Head(len) => stdout.drain(output, true, *len),
                    Stdout::Held => {
                        fcntl_setpipe_size(&output, 4096)?;
                        held = Some(output);
                    }
                    kept => stdout.drain(output, matches!(kept, Stdout::Keep), usize::MAX),
                }
            }
        }
        stderr.drain(errors, true, usize::MAX);
        trial.log(&name, &self.args, &stderr);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        // Our copies of the pipes' writing ends go with the command.
        drop(command);
        let mut process = Process::open(name, child.id() as i32, trial.deadline())?;
        process.started = started;
        process.held = Mutex::new(held);
        process.stderr = stderr;
        process.stdout = match self.stdout {
            Stdout::File(_) | Stdout::Socket => Capture::closed(),
            _ => stdout,
        };
        process._kept = kept;
        if let Some(mut pipe) = child.stdin.take() {
            match self.stdin {
                Stdin::Open(bytes) => {
                    pipe.write_all(&bytes)?;
                    process._kept = Some(pipe.into());
                }
                Stdin::Bytes(bytes) => {
                    // A program that ends early breaks the pipe, and that is its right.
                    thread::spawn(move || drop(pipe.write_all(&bytes)));
                }
                Stdin::Empty | Stdin::Socket => {}
            }
        }
        Ok(process)
    }

    /// Starts a receiver and waits until it says that it is ready.
    ///
    /// # Errors
    /// Where it cannot be started or does not say so.
    pub fn ready(self) -> Result<Process> {
        let process = self.spawn()?;
        process.wait_for_line(&format!("{}: ready", process.name))?;
        Ok(process)
    }
}

/// One end of a pair of sockets; the other one is kept.
fn kept_socket(kept: &mut Option<OwnedFd>) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    *kept = Some(ours.into());
    Ok(theirs.into())
}

/// A program respects a signal that is ignored when it starts; whether ours is must not change what we see.
pub(crate) fn prepare(command: &mut Command, umask: Option<libc::mode_t>) {
    let reset = move || {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: signal(2) is async-signal-safe, and the default action is always valid.
            if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
                return Err(io::Error::last_os_error());
            }
        }
        if let Some(mask) = umask {
            // SAFETY: umask(2) is async-signal-safe and takes any number.
            unsafe { libc::umask(mask) };
        }
        Ok(())
    };
    // SAFETY: the closure calls nothing but the two async-signal-safe functions above.
    unsafe { command.pre_exec(reset) };
}
