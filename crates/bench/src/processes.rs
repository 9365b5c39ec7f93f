//! Two processes for each measurement: forked, pinned, watched over, and gone afterwards whatever happens.
//!
//! This process has one thread, because a child of fork(2) gets only the thread that forked: a lock that another one
//! held would stay locked for ever.
#![expect(unsafe_code, reason = "fork(2) is unsafe in a program with threads")]

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::machine;
use crate::results::{Place, Status};

/// How long a process that has been told to end may take to clean up.
const GRACE: Duration = Duration::from_millis(500);

/// Why a measurement gave nothing.
#[derive(Clone, Debug)]
pub enum Failure {
    /// For the row.
    Row(Status),
    /// A signal ends the whole run.
    Signal(Signal),
}

impl Failure {
    /// Something went wrong.
    pub fn failed(why: impl ToString) -> Failure {
        Failure::Row(Status::Failed(why.to_string()))
    }
}

/// What a process has to say in the end, or why it has not.
type Word<T> = Result<T, Status>;

/// Takes SIGINT, SIGTERM and SIGHUP as something to read, from now on.
///
/// # Errors
/// Where the kernel has no signalfd(2).
pub fn take_signals() -> common::Result<()> {
    let set = common::ending_signals()?;
    set.thread_block().doing("pthread_sigmask")?;
    let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).doing("signalfd")?;
    let _ = SIGNALS.set(fd);
    Ok(())
}

static SIGNALS: OnceLock<SignalFd> = OnceLock::new();

/// The cores of two processes.
///
/// # Errors
/// Where there are too few.
pub fn cores(place: Place) -> Result<[Option<usize>; 2], Failure> {
    match (place, machine::two_cores()) {
        (Place::Free, _) => Ok([None, None]),
        (Place::Apart, Some((first, second))) => Ok([Some(first), Some(second)]),
        (Place::Apart, None) => Err(Failure::Row(Status::Unsupported("this process may use one core only".to_owned()))),
        // Not the first core, where most interrupts go.
        (Place::Together, Some((_, second))) => Ok([Some(second); 2]),
        (Place::Together, None) => Ok([machine::cores().first().copied(); 2]),
    }
}

/// Runs `first` and `second`, each in a process of its own, and returns what they return. Neither lives longer than
/// `limit`, nor longer than this call.
///
/// # Errors
/// What a process says went wrong; that it ended without a word; that time was up; or a signal to end the run.
pub fn run<A, B>(
    cores: [Option<usize>; 2],
    limit: Duration,
    first: impl FnOnce() -> Word<A>,
    second: impl FnOnce() -> Word<B>,
) -> Result<(A, B), Failure>
where
    A: Serialize + DeserializeOwned,
    B: Serialize + DeserializeOwned,
{
    let deadline = Instant::now() + limit;
    let (first, second) = (Task { body: first, core: cores[0] }, Task { body: second, core: cores[1] });
    let (a, second) = start(first, second)?;
    let (b, ()) = start(second, ())?;
    let mut pair = [a, b];
    let ended = listen(&mut pair, deadline);
    for process in &pair {
        process.tell_to_end();
    }
    let [a, b] = pair;
    ended?;
    // Who had to be ended has nothing to say about why.
    let (a_hung, b_hung) = (!a.closed, !b.closed);
    match (a.word::<A>(), b.word::<B>()) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(Status::Failed(a)), Err(Status::Failed(b))) if !a_hung && !b_hung && a != b => {
            Err(Failure::failed(format!("{a}; {b}")))
        }
        (Err(status), other) if !a_hung || other.is_ok() => Err(Failure::Row(status)),
        (_, Err(status)) | (Err(status), _) => Err(Failure::Row(status)),
    }
}

struct Task<F> {
    body: F,
    core: Option<usize>,
}

/// A child, which does not outlive this value.
struct Process {
    pid: Pid,
    pipe: PipeReader,
    said: Vec<u8>,
    closed: bool,
    status: Option<WaitStatus>,
}

/// Forks. The child drops `others`, which this process gets back; and this process drops the task.
fn start<T: Serialize, F: FnOnce() -> Word<T>, O>(task: Task<F>, others: O) -> Result<(Process, O), Failure> {
    let (pipe, tell) = io::pipe().map_err(Failure::failed)?;
    let parent = Pid::this();
    // SAFETY: this process has one thread, so the child's copy of its memory is in order.
    match unsafe { fork() }.map_err(Failure::failed)? {
        ForkResult::Parent { child } => {
            Ok((Process { pid: child, pipe, said: Vec::new(), closed: false, status: None }, others))
        }
        ForkResult::Child => {
            drop((pipe, others));
            work(task, parent, tell)
        }
    }
}

/// The child's life. Standard output may hold what the parent has not written yet, so it ends without flushing.
fn work<T: Serialize, F: FnOnce() -> Word<T>>(task: Task<F>, parent: Pid, mut tell: PipeWriter) -> ! {
    std::panic::set_hook(Box::new(|_| {}));
    let word = settle(parent, task.core).and_then(|()| {
        catch_unwind(AssertUnwindSafe(task.body)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
            Err(Status::Failed(format!("panicked: {}", text.unwrap_or_default())))
        })
    });
    let text = serde_json::to_vec(&word).unwrap_or_default();
    let _ = tell.write_all(&text);
    // SAFETY: it ends the process and touches nothing.
    unsafe { libc::_exit(0) }
}

fn settle(parent: Pid, core: Option<usize>) -> Result<(), Status> {
    let failed = |what: &str, error: Errno| Status::Failed(format!("{what}: {error}"));
    // SIGTERM, so that what it has made goes with it.
    set_pdeathsig(Signal::SIGTERM).map_err(|error| failed("prctl", error))?;
    if getppid() != parent {
        return Err(Status::Failed("the benchmark has ended".to_owned()));
    }
    if let Some(core) = core {
        let mut set = CpuSet::new();
        set.set(core).map_err(|error| failed("CPU_SET", error))?;
        sched_setaffinity(Pid::from_raw(0), &set).map_err(|error| failed("sched_setaffinity", error))?;
    }
    common::end_cleanly_on_signals("ipc-bench".to_owned(), true).map_err(|error| Status::Failed(error.to_string()))
}

/// Listens until both have said all they have to say. After one has ended badly, the other has a moment left.
fn listen(pair: &mut [Process; 2], mut deadline: Instant) -> Result<(), Failure> {
    let start = Instant::now();
    let mut why = format!("not done after {:.1} s", (deadline - start).as_secs_f64());
    while pair.iter().any(|process| !process.closed) {
        let now = Instant::now();
        if now >= deadline {
            // What it says tells more than that it was late.
            return match pair.iter().any(|process| process.closed && !process.is_well()) {
                true => Ok(()),
                false => Err(Failure::failed(why)),
            };
        }
        let left = PollTimeout::try_from(deadline - now + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        // Not the one that has closed its pipe: that is ready at once, and for ever.
        let open: Vec<usize> = (0..2).filter(|&at| !pair[at].closed).collect();
        let readable: Vec<usize> = {
            let fds = open.iter().map(|&at| pair[at].pipe.as_fd()).chain(SIGNALS.get().map(AsFd::as_fd));
            let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
            match poll(&mut fds, left) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(Failure::failed(error)),
            }
            open.iter().zip(&fds).filter(|(_, fd)| fd.any().unwrap_or(false)).map(|(&at, _)| at).collect()
        };
        if let Some(signal) = signal() {
            return Err(Failure::Signal(signal));
        }
        for at in readable {
            pair[at].hear();
            if pair[at].closed && !pair[at].is_well() {
                deadline = deadline.min(Instant::now() + GRACE);
                why = "the other process failed".to_owned();
            }
        }
    }
    Ok(())
}

/// The signal to end the run, if it has come.
pub fn signal() -> Option<Signal> {
    let info = SIGNALS.get()?.read_signal().ok()??;
    Signal::try_from(info.ssi_signo as i32).ok()
}

impl Process {
    fn hear(&mut self) {
        let mut bytes = [0; 16 << 10];
        match self.pipe.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(len) => self.said.extend_from_slice(&bytes[..len]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => self.closed = true,
        }
    }

    /// Has it said that it has done its work?
    fn is_well(&self) -> bool {
        self.said.starts_with(br#"{"Ok""#)
    }

    fn word<T: DeserializeOwned>(mut self) -> Word<T> {
        self.end();
        match serde_json::from_slice::<Word<T>>(&self.said) {
            Ok(word) => word,
            Err(_) => Err(Status::Failed(match self.status {
                Some(WaitStatus::Signaled(_, signal, _)) => format!("a process was ended by {signal}"),
                Some(WaitStatus::Exited(_, code)) => format!("a process ended with exit code {code} and no result"),
                _ => "a process ended without a result".to_owned(),
            })),
        }
    }

    /// Has an effect on one that has not ended.
    fn tell_to_end(&self) {
        if !self.closed {
            let _ = kill(self.pid, Signal::SIGTERM);
        }
    }

    /// Ends it, if it has not ended, and reaps it. Its end of the pipe is closed by nothing but its end.
    fn end(&mut self) {
        if self.status.is_some() {
            return;
        }
        self.tell_to_end();
        if !self.closed {
            let patience = Instant::now() + GRACE;
            while !self.closed {
                let left = patience.saturating_duration_since(Instant::now());
                let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                match poll(&mut [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)], left) {
                    Ok(1) => self.hear(),
                    Err(Errno::EINTR) => {}
                    _ => break,
                }
            }
            if !self.closed {
                let _ = kill(self.pid, Signal::SIGKILL);
            }
        }
        self.status = waitpid(self.pid, None).ok();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
