//! A child that does its part step by step: the two wait for each other, and nobody sleeps.
#![expect(unsafe_code, reason = "fork(2) and _exit(2) have no safe wrapper")]

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Context, Result};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

/// The parent's view of a child. It does not outlive this value.
pub struct Child {
    pid: Pid,
    to_child: Talk,
    reaped: bool,
}

/// One end of the socket pair between the two. It is how they talk; what they show each other is memory.
pub struct Talk(UnixStream);

impl Child {
    /// Forks. The child runs `part` and ends, without a return from here and without a word on standard output:
    /// what is still in the parent's buffers would appear twice.
    pub fn start(part: impl FnOnce(&mut Talk) -> io::Result<()>) -> Result<Child> {
        let (ours, theirs) = UnixStream::pair().doing("socketpair")?;
        let parent = getpid();
        // SAFETY: this program has one thread, so no lock that the child needs is held by a thread that it lacks.
        match unsafe { fork() }.doing("fork")? {
            ForkResult::Parent { child } => Ok(Child { pid: child, to_child: Talk(ours), reaped: false }),
            ForkResult::Child => {
                drop(ours);
                let mut talk = Talk(theirs);
                // A panic must not unwind into what was the parent's stack.
                let run = AssertUnwindSafe(|| end_with(parent).and_then(|()| part(&mut talk)));
                let status = i32::from(!catch_unwind(run).is_ok_and(|result| result.is_ok()));
                // SAFETY: it ends the process at once.
                unsafe { libc::_exit(status) }
            }
        }
    }

    /// Its number.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for what the child tells.
    pub fn told<const N: usize>(&mut self) -> Result<[u64; N]> {
        match self.to_child.hear() {
            Ok(words) => Ok(words),
            Err(_) => {
                let how = format!("{:?}", self.wait()?);
                Err(io::Error::other(format!("it ended too early: {how}"))).doing("the child")
            }
        }
    }

    /// Lets the child go on.
    pub fn go_on(&mut self) -> Result<()> {
        self.to_child.tell([]).doing("write to the child")
    }

    /// Waits for the child's end.
    pub fn wait(&mut self) -> Result<WaitStatus> {
        let status = waitpid(self.pid, None).doing("waitpid")?;
        self.reaped = true;
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = waitpid(self.pid, None);
        }
    }
}

impl Talk {
    /// Tells the other one some numbers.
    pub fn tell<const N: usize>(&mut self, words: [u64; N]) -> io::Result<()> {
        // A word in front, so that to tell nothing is to tell something.
        self.0.write_all(&0_u64.to_ne_bytes())?;
        words.iter().try_for_each(|word| self.0.write_all(&word.to_ne_bytes()))
    }

    /// Waits until the other one tells that many numbers.
    pub fn hear<const N: usize>(&mut self) -> io::Result<[u64; N]> {
        let mut word = [0; size_of::<u64>()];
        self.0.read_exact(&mut word)?;
        let mut words = [0; N];
        for heard in &mut words {
            self.0.read_exact(&mut word)?;
            *heard = u64::from_ne_bytes(word);
        }
        Ok(words)
    }

    /// Waits until the parent lets it go on.
    pub fn wait(&mut self) -> io::Result<()> {
        self.hear::<0>().map(drop)
    }
}

/// The kernel ends this process when `parent` ends. A change of the user forgets it.
pub fn end_with(parent: Pid) -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // Has it ended before it was asked?
    if getppid() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}
