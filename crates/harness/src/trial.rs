//! One trial of one pair: a place of its own, a deadline, and a look at what is left behind.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{getpid, set_child_subreaper};
use tempfile::TempDir;

use crate::capture::Capture;
use crate::leftovers::{self, Object};
use crate::{Both, EndpointKind, Launch, Pair, Process, Result, Role, ensure, pulse, system_v};

/// How long a trial may take where nothing else is said.
const DEADLINE: Duration = Duration::from_secs(20);

/// One trial.
pub struct Trial {
    /// The pair that is on trial.
    pub pair: Pair,
    id: String,
    dir: TempDir,
    endpoint: Option<String>,
    deadline: Instant,
    said: Mutex<Vec<(String, Capture)>>,
}

impl Trial {
    /// A trial of at most 20 seconds.
    ///
    /// # Errors
    /// Where its folder cannot be made.
    pub fn new(pair: &Pair) -> Result<Trial> {
        Trial::of(pair, DEADLINE)
    }

    /// A trial of at most `time`.
    ///
    /// # Errors
    /// Where its folder cannot be made.
    pub fn of(pair: &Pair, time: Duration) -> Result<Trial> {
        adopt_orphans()?;
        pulse::start();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}{number}", leftovers::prefix());
        let dir = tempfile::Builder::new().prefix(&format!("{id}-")).tempdir()?;
        for name in ["meet", "run", "files"] {
            fs::DirBuilder::new().mode(0o700).create(dir.path().join(name))?;
        }
        let endpoint = match pair.can.endpoint {
            EndpointKind::Path | EndpointKind::Pid => Some(dir.path().join("meet/point").display().to_string()),
            EndpointKind::Name => Some(format!("/{id}")),
            EndpointKind::Key => Some(format!("{:#x}", system_v::key_of_trial(number))),
            EndpointKind::Address => Some(free_address()?),
            EndpointKind::Inherited => None,
        };
        let deadline = Instant::now() + time;
        Ok(Trial { pair: pair.clone(), id, dir, endpoint, deadline, said: Mutex::default() })
    }

    /// Where the two ends meet.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// What every wait of this trial is bounded by.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The path of a file of the trial's own, for input or output.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    /// Makes a file of the trial's own.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, bytes)?;
        Ok(path.display().to_string())
    }

    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    /// The folder in which an endpoint that is a path lies.
    pub fn meeting_dir(&self) -> PathBuf {
        self.dir.path().join("meet")
    }

    /// One of the two programs, for a start with special wishes.
    pub fn launch(&self, role: Role) -> Launch<'_> {
        Launch::new(self, role)
    }

    /// Both programs.
    pub fn both(&self) -> Both<'_> {
        Both::new(self)
    }

    /// Starts the receiver and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not become ready.
    pub fn receiver<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Process> {
        self.launch(Role::Receiver).args(args).ready()
    }

    /// Starts the sender.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn sender<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<Process> {
        self.launch(Role::Sender).args(args).spawn()
    }

    /// The objects with a name that exist because of this trial, outside its runtime folder.
    pub fn objects(&self) -> Vec<Object> {
        leftovers::objects(&self.id, &self.meeting_dir(), self.endpoint())
    }

    /// Demands that nothing is left: no process, no object, no file but the trial's own; and that nobody
    /// panicked.
    ///
    /// # Errors
    /// What is left, or who panicked.
    pub fn finish(&self) -> Result {
        let mut left = leftovers::processes_gone(&self.runtime_dir());
        left.extend(self.objects().iter().map(ToString::to_string));
        left.extend(leftovers::files(&self.runtime_dir()).iter().map(|path| path.display().to_string()));
        if let Some(address) = self.endpoint().filter(|_| self.pair.can.endpoint == EndpointKind::Address)
            && let Err(error) = is_free(address)
        {
            left.push(format!("{address}: {error}"));
        }
        ensure!(left.is_empty(), "left behind: {}", left.join(", "));
        let said = self.report();
        ensure!(!said.contains("panicked at"), "a program panicked");
        Ok(())
    }

    /// What the programs were told and what they said on standard error.
    pub fn report(&self) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = said.iter().flat_map(|(command, stderr)| {
            let text = stderr.text();
            let said: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
            [vec![format!("  $ {command}")], said].concat()
        });
        // A long trial starts hundreds of programs; the last ones matter.
        let lines: Vec<String> = lines.collect();
        lines[lines.len().saturating_sub(16)..].join("\n")
    }

    pub(crate) fn log(&self, name: &str, args: &[OsString], stderr: &Capture) {
        let args: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        let command = format!("{name} {}", args.join(" "));
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push((command, stderr.clone()));
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        leftovers::kill_processes(&self.runtime_dir());
        for object in self.objects() {
            object.remove();
        }
    }
}

/// A receiver whose parent was killed becomes our child, so that its exit code can be seen.
fn adopt_orphans() -> Result {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let done = DONE.get_or_init(|| set_child_subreaper(Some(getpid())).map_err(|error| error.to_string()));
    done.clone().map_err(|error| format!("PR_SET_CHILD_SUBREAPER: {error}").into())
}

/// A port below the ephemeral ones, which nobody gets by chance.
fn free_address() -> Result<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1000 {
        // Two test runs at once begin at different places.
        let offset = (NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 97) % 10_000;
        let address = format!("127.0.0.1:{}", 10_000 + offset);
        if is_free(&address).is_ok() {
            return Ok(address);
        }
    }
    Err("no port is free".into())
}

/// Can a receiver of either protocol have this address?
fn is_free(address: &str) -> io::Result<()> {
    TcpListener::bind(address).map(drop).and(UdpSocket::bind(address).map(drop))
}

/// For messages: a path relative to nothing but readable.
pub(crate) fn all_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all_files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}
