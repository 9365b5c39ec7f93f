//! The two halves of a pair in two processes that fork(2) has made of one, without exec(2).
#![expect(unsafe_code, reason = "fork(2) is unsafe in a process that has threads")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::{Args, Error, Receiver, Result, Role, Sender};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use socketpair::{TECHNIQUE, pair, receiver_of, sender_of};

const MESSAGES: u32 = 20_000;

/// Whoever is not told of a death times out instead, which is another exit code.
fn args(role: Role) -> Args {
    let mut args = Args::new(&TECHNIQUE, role);
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

fn send_all(mut sender: impl Sender) -> Result<()> {
    for number in 0..MESSAGES {
        sender.send(&number.to_be_bytes())?;
    }
    sender.finish()
}

fn send_for_ever(mut sender: impl Sender) -> Result<()> {
    loop {
        sender.send(b"on and on")?;
    }
}

fn receive_all(mut receiver: impl Receiver) -> Result<()> {
    for number in 0..MESSAGES {
        assert_eq!(receiver.recv()?, Some(&number.to_be_bytes()[..]));
    }
    assert_eq!(receiver.recv()?, None);
    Ok(())
}

fn receive_for_ever(mut receiver: impl Receiver) -> Result<()> {
    while receiver.recv()?.is_some() {}
    Ok(())
}

#[test]
fn a_child_receives() {
    let (first, second) = pair().unwrap();
    let receive = |half| receive_all(receiver_of(&args(Role::Receiver), half)?);
    family(first, second, receive, |half, child| {
        send_all(sender_of(&args(Role::Sender), half).unwrap()).unwrap();
        assert_eq!(exit_code(child), 0);
    });
}

#[test]
fn a_child_sends() {
    let (first, second) = pair().unwrap();
    let send = |half| send_all(sender_of(&args(Role::Sender), half)?);
    family(second, first, send, |half, child| {
        receive_all(receiver_of(&args(Role::Receiver), half).unwrap()).unwrap();
        assert_eq!(exit_code(child), 0);
    });
}

#[test]
fn a_sender_that_is_killed_is_told_of() {
    let (first, second) = pair().unwrap();
    let send = |half| send_for_ever(sender_of(&args(Role::Sender), half)?);
    family(second, first, send, |half, child| {
        let args = args(Role::Receiver);
        let mut receiver = receiver_of(&args, half).unwrap();
        assert_eq!(receiver.recv().unwrap(), Some(&b"on and on"[..]));
        kill_and_wait(child);
        let end = receive_for_ever(receiver);
        assert!(matches!(end, Err(Error::PeerGone(_))), "{end:?}");
    });
}

#[test]
fn a_receiver_that_is_killed_is_told_of() {
    let (first, second) = pair().unwrap();
    let receive = |half| receive_for_ever(receiver_of(&args(Role::Receiver), half)?);
    family(first, second, receive, |half, child| {
        let args = args(Role::Sender);
        let mut sender = sender_of(&args, half).unwrap();
        sender.send(b"are you there?").unwrap();
        kill_and_wait(child);
        let end = send_for_ever(sender);
        assert!(matches!(end, Err(Error::PeerGone(_))), "{end:?}");
    });
}

/// What is dropped in a process that lives on is as good as dead, and so is never taken for the end.
#[test]
fn a_sender_that_is_dropped_has_not_finished() {
    let (first, second) = pair().unwrap();
    let receive = |half| receive_for_ever(receiver_of(&args(Role::Receiver), half)?);
    family(first, second, receive, |half, child| {
        let args = args(Role::Sender);
        let mut sender = sender_of(&args, half).unwrap();
        sender.send(b"and then").unwrap();
        drop(sender);
        assert_eq!(exit_code(child), 3);
    });
}

#[test]
fn a_receiver_that_is_dropped_takes_no_more() {
    let (first, second) = pair().unwrap();
    let send = |half| send_for_ever(sender_of(&args(Role::Sender), half)?);
    family(second, first, send, |half, child| {
        let args = args(Role::Receiver);
        let mut receiver = receiver_of(&args, half).unwrap();
        receiver.recv().unwrap();
        drop(receiver);
        assert_eq!(exit_code(child), 3);
    });
}
