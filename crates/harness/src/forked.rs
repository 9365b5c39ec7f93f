//! What holds of each pair of halves whose two processes fork(2) has made of one, without exec(2), whatever the channel is.
#![expect(unsafe_code, reason = "fork(2) is unsafe in a process that has threads")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::{Args, Error, Receiver, Result, Role, Sender, Technique};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::Signal;
use crate::pid::signal;

const MESSAGES: u32 = 20_000;

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

/// Forks. The child runs `child` with its half, and ends with 0 or the exit code of the error; the parent runs
/// `parent` with the other half.
fn family<P, C>(ours: P, theirs: C, child: impl FnOnce(C) -> Result<()>, parent: impl FnOnce(P, Pid)) {
    // One family at a time: a child has copies of all that is open, and what has a copy does not hang up.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the child takes no lock that another thread of this process could have held: glibc sees to those of
    // its allocator, and the other threads of a test program wait for their turn or for this one's end.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            drop(theirs);
            parent(ours, child);
        }
        ForkResult::Child => {
            drop(ours);
            let result = catch_unwind(AssertUnwindSafe(|| child(theirs)));
            let code = result.map_or(101, |result| result.map_or_else(|error| i32::from(error.exit_code()), |()| 0));
            // SAFETY: _exit(2) takes any number; exit(3) would run what is the parent's to run.
            unsafe { libc::_exit(code) }
        }
    }
}

/// The parent receives, and the child does with its end what it is told.
fn child_sends<T: Halves>(child: fn(T::Half) -> Result<()>, parent: impl FnOnce(T::Half, Pid)) {
    let (sending, receiving) = T::pair().unwrap();
    family(receiving, sending, child, parent);
}

fn child_receives<T: Halves>(child: fn(T::Half) -> Result<()>, parent: impl FnOnce(T::Half, Pid)) {
    let (sending, receiving) = T::pair().unwrap();
    family(sending, receiving, child, parent);
}

fn exit_code(child: Pid) -> i32 {
    match waitpid(child, None).unwrap() {
        WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

fn kill_and_wait(child: Pid) {
    signal(child.as_raw().cast_unsigned(), Signal::KILL);
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
pub fn a_child_receives<T: Halves>() {
    child_receives::<T>(receive_all::<T>, |half, child| {
        send_all::<T>(half).unwrap();
        assert_eq!(exit_code(child), 0);
    });
}

/// Everything, and then the end.
pub fn a_child_sends<T: Halves>() {
    child_sends::<T>(send_all::<T>, |half, child| {
        receive_all::<T>(half).unwrap();
        assert_eq!(exit_code(child), 0);
    });
}

/// Its death is not the end of what it had to say.
pub fn a_sender_that_is_killed_is_told_of<T: Halves>() {
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
pub fn a_receiver_that_is_killed_is_told_of<T: Halves>() {
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
pub fn a_sender_that_is_dropped_has_not_finished<T: Halves>() {
    child_receives::<T>(receive_for_ever::<T>, |half, child| {
        let args = args::<T>(Role::Sender);
        let mut sender = T::sender_of(&args, half).unwrap();
        sender.send(b"and then").unwrap();
        drop(sender);
        assert_eq!(exit_code(child), 3);
    });
}

/// The same the other way round.
pub fn a_receiver_that_is_dropped_takes_no_more<T: Halves>() {
    child_sends::<T>(send_for_ever::<T>, |half, child| {
        let args = args::<T>(Role::Receiver);
        let mut receiver = T::receiver_of(&args, half).unwrap();
        receiver.recv().unwrap();
        drop(receiver);
        assert_eq!(exit_code(child), 3);
    });
}
