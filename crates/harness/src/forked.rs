//! What holds of each pair of halves whose two processes fork(2) has made of one, without exec(2), whatever the channel is.
//!
//! The child of a fork has one thread, the one that called it, and every lock as it was at that moment: what another
//! thread held, nobody in the child will ever release. Rust's library takes a lock of its own wherever a thread begins
//! or ends, so a child that starts one, as an end does to bound its waits, may then wait for ever. Who forks must have
//! no other thread, and a program of `#[test]` functions has some. So these have a [`main`] of their own.
#![expect(unsafe_code, reason = "fork(2) is unsafe in a process that has threads")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{Args, Error, Receiver, Result, Role, Sender, Technique};
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, alarm, fork, getpid, getppid};

const MESSAGES: u32 = 20_000;

/// How long a test may take, in seconds.
const LIMIT: u32 = 60;

/// A technique that can be used on both sides of a fork.
pub trait Halves {
    /// What one of the two processes needs.
    type Half;

    /// What it is and can do.
    const TECHNIQUE: Technique;

    /// The sender's half, and the receiver's.
    fn pair() -> Result<(Self::Half, Self::Half)>;

    /// The end of the process that sends.
    fn sender_of(args: &Args, half: Self::Half) -> Result<impl Sender>;

    /// The end of the process that receives.
    fn receiver_of(args: &Args, half: Self::Half) -> Result<impl Receiver>;
}

/// Whoever is not told of a death times out instead, which is another exit code.
fn args<T: Halves>(role: Role) -> Args {
    let mut args = Args::new(&T::TECHNIQUE, role);
    args.timeout = Some(Duration::from_secs(10));
    args
}

/// The `main` of a test: all that holds of `T`, one after the other.
pub fn main<T: Halves>() -> ! {
    let tests: [(&str, fn()); 6] = [
        ("a_child_receives", a_child_receives::<T>),
        ("a_child_sends", a_child_sends::<T>),
        ("a_sender_that_is_killed_is_told_of", a_sender_that_is_killed_is_told_of::<T>),
        ("a_receiver_that_is_killed_is_told_of", a_receiver_that_is_killed_is_told_of::<T>),
        ("a_sender_that_is_dropped_has_not_finished", a_sender_that_is_dropped_has_not_finished::<T>),
        ("a_receiver_that_is_dropped_takes_no_more", a_receiver_that_is_dropped_takes_no_more::<T>),
    ];
    let trials = tests.map(|(name, test)| Trial::test(name, move || alone(test)));
    // If it may have one thread only, that is this one.
    let args = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&args, trials.into()).exit()
}

/// Runs a test in a process of its own, with which the threads that it starts are gone.
fn alone(test: fn()) -> std::result::Result<(), Failed> {
    let ((), child) = start((), || {
        alarm::set(LIMIT);
        test();
        Ok(())
    });
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Signaled(_, Signal::SIGALRM, _) => Err(format!("it was not over after {LIMIT} s").into()),
        other => Err(format!("{other:?}").into()),
    }
}

/// Forks. The child drops `ours`, which this process gets back, does its `work` and ends with 0 or the exit code of the
/// error. It does not outlive this process.
fn start<P>(ours: P, work: impl FnOnce() -> Result<()>) -> (P, Pid) {
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), 1, "threads in a process that forks");
    let parent = getpid();
    // SAFETY: this process has one thread, so the child's copy of its memory is in order.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => (ours, child),
        ForkResult::Child => {
            drop(ours);
            let life = AssertUnwindSafe(|| {
                set_pdeathsig(Signal::SIGKILL).unwrap();
                assert_eq!(getppid(), parent, "the parent has ended");
                work()
            });
            let code =
                catch_unwind(life).map_or(101, |end| end.map_or_else(|error| i32::from(error.exit_code()), |()| 0));
            // SAFETY: _exit(2) takes any number; exit(3) would run what is the parent's to run.
            unsafe { libc::_exit(code) }
        }
    }
}

/// The parent receives, and the child does with its end what it is told.
fn child_sends<T: Halves>(child: fn(T::Half) -> Result<()>, parent: impl FnOnce(T::Half, Pid)) {
    let (theirs, ours) = T::pair().unwrap();
    let (ours, pid) = start(ours, || child(theirs));
    parent(ours, pid);
}

fn child_receives<T: Halves>(child: fn(T::Half) -> Result<()>, parent: impl FnOnce(T::Half, Pid)) {
    let (ours, theirs) = T::pair().unwrap();
    let (ours, pid) = start(ours, || child(theirs));
    parent(ours, pid);
}

fn exit_code(child: Pid) -> i32 {
    match waitpid(child, None).unwrap() {
        WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

fn kill_and_wait(child: Pid) {
    kill(child, Signal::SIGKILL).unwrap();
    waitpid(child, None).unwrap();
}

fn send_all<T: Halves>(half: T::Half) -> Result<()> {
    let args = args::<T>(Role::Sender);
    let mut sender = T::sender_of(&args, half)?;
    for number in 0..MESSAGES {
        sender.send(&number.to_be_bytes())?;
    }
    sender.finish()
}

fn send_for_ever<T: Halves>(half: T::Half) -> Result<()> {
    let args = args::<T>(Role::Sender);
    go_on_sending(T::sender_of(&args, half)?)
}

fn go_on_sending(mut sender: impl Sender) -> Result<()> {
    loop {
        sender.send(b"on and on")?;
    }
}

fn receive_all<T: Halves>(half: T::Half) -> Result<()> {
    let args = args::<T>(Role::Receiver);
    let mut receiver = T::receiver_of(&args, half)?;
    for number in 0..MESSAGES {
        assert_eq!(receiver.recv()?, Some(&number.to_be_bytes()[..]));
    }
    assert_eq!(receiver.recv()?, None);
    Ok(())
}

fn receive_for_ever<T: Halves>(half: T::Half) -> Result<()> {
    let args = args::<T>(Role::Receiver);
    go_on_receiving(T::receiver_of(&args, half)?)
}

fn go_on_receiving(mut receiver: impl Receiver) -> Result<()> {
    while receiver.recv()?.is_some() {}
    Ok(())
}

/// Everything, and then the end.
fn a_child_receives<T: Halves>() {
    child_receives::<T>(receive_all::<T>, |half, child| {
        send_all::<T>(half).unwrap();
        assert_eq!(exit_code(child), 0);
    });
}

/// Everything, and then the end.
fn a_child_sends<T: Halves>() {
    child_sends::<T>(send_all::<T>, |half, child| {
        receive_all::<T>(half).unwrap();
        assert_eq!(exit_code(child), 0);
    });
}

/// Its death is not the end of what it had to say.
fn a_sender_that_is_killed_is_told_of<T: Halves>() {
    child_sends::<T>(send_for_ever::<T>, |half, child| {
        let args = args::<T>(Role::Receiver);
        let mut receiver = T::receiver_of(&args, half).unwrap();
        assert_eq!(receiver.recv().unwrap(), Some(&b"on and on"[..]));
        kill_and_wait(child);
        let end = go_on_receiving(receiver);
        assert!(matches!(end, Err(Error::PeerGone(_))), "{end:?}");
    });
}

/// Where a message would go nowhere, no sender succeeds.
fn a_receiver_that_is_killed_is_told_of<T: Halves>() {
    child_receives::<T>(receive_for_ever::<T>, |half, child| {
        let args = args::<T>(Role::Sender);
        let mut sender = T::sender_of(&args, half).unwrap();
        sender.send(b"are you there?").unwrap();
        kill_and_wait(child);
        let end = go_on_sending(sender);
        assert!(matches!(end, Err(Error::PeerGone(_))), "{end:?}");
    });
}

/// What is dropped in a process that lives on is as good as dead, and so is never taken for the end.
fn a_sender_that_is_dropped_has_not_finished<T: Halves>() {
    child_receives::<T>(receive_for_ever::<T>, |half, child| {
        let args = args::<T>(Role::Sender);
        let mut sender = T::sender_of(&args, half).unwrap();
        sender.send(b"and then").unwrap();
        drop(sender);
        assert_eq!(exit_code(child), 3);
    });
}

/// The same the other way round.
fn a_receiver_that_is_dropped_takes_no_more<T: Halves>() {
    child_sends::<T>(send_for_ever::<T>, |half, child| {
        let args = args::<T>(Role::Receiver);
        let mut receiver = T::receiver_of(&args, half).unwrap();
        receiver.recv().unwrap();
        drop(receiver);
        assert_eq!(exit_code(child), 3);
    });
}
