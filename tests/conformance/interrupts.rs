//! SIGINT, SIGTERM and SIGHUP end a program at whatever moment they come, and leave nothing behind.

use std::thread;
use std::time::Duration;

use crate::always;
use harness::{Process, Result, Role, Run, Signal, Stdout, Trial, ensure};

/// How often each signal comes to each side.
const TIMES: usize = 20;
/// The moments lie between the start of the program and this: loading, meeting, and well into the transfer.
const LATEST: f64 = 0.040;
/// How long one that has not met the other may go on waiting for it before the trial ends it too.
const PATIENCE: Duration = Duration::from_millis(50);

fn interrupted(trial: &Trial, role: Role, signal: Signal) -> Result {
    let mut random = fastrand::Rng::new();
    for _ in 0..TIMES {
        let moment = random.f64() * LATEST;
        once(trial, role, signal, moment)
            .map_err(|error| format!("{role} interrupted after {:.1} ms: {error}", moment * 1e3))?;
    }
    Ok(())
}

fn once(trial: &Trial, role: Role, signal: Signal, moment: f64) -> Result {
    let run = start_at_once(trial)?;
    // The moment is counted from when there is a process to be interrupted.
    thread::sleep(Duration::from_secs_f64(moment));
    let met = run.output().stdout_len() > 0;
    run.end(role)?.signal(signal)?;
    run.end(role)?.wait()?.expect(128 + signal.as_raw())?;
    let (other, notices) = match role {
        Role::Sender => (run.receiver.as_ref(), trial.pair.can.receiver_notices),
        Role::Receiver => (Some(&run.sender), trial.pair.can.sender_notices),
    };
    if let Some(other) = other {
        end_of_the_other(other, met && notices)?;
    }
    let left = trial.objects();
    ensure!(left.is_empty(), "left behind: {}", left[0]);
    Ok(())
}

/// One that knew the other tells of its end. One that still waits for it is ended as well.
fn end_of_the_other(other: &Process, knew: bool) -> Result {
    if !knew && other.wait_within(PATIENCE).is_err() {
        other.signal(Signal::TERM)?;
    }
    // 143 also where a parent ends its child.
    other.wait()?.expect_one_of(&[3, 143])
}

/// An endless transfer of which neither side waits for the other to be ready.
fn start_at_once(trial: &Trial) -> Result<Run> {
    if trial.pair.is_family() {
        return super::ends::endless(trial).start();
    }
    let receiver = trial.launch(Role::Receiver).stdout(Stdout::Count).spawn()?;
    let size = trial.pair.can.max_message.min(64).to_string();
    let sender = trial.launch(Role::Sender).args(["--count", "1000000000", "--size", &size]).spawn()?;
    Ok(Run::of(sender, receiver))
}

fn sigint_to_sender(trial: &Trial) -> Result {
    interrupted(trial, Role::Sender, Signal::INT)
}

fn sigint_to_receiver(trial: &Trial) -> Result {
    interrupted(trial, Role::Receiver, Signal::INT)
}

fn sigterm_to_sender(trial: &Trial) -> Result {
    interrupted(trial, Role::Sender, Signal::TERM)
}

fn sigterm_to_receiver(trial: &Trial) -> Result {
    interrupted(trial, Role::Receiver, Signal::TERM)
}

fn sighup_to_sender(trial: &Trial) -> Result {
    interrupted(trial, Role::Sender, Signal::HUP)
}

fn sighup_to_receiver(trial: &Trial) -> Result {
    interrupted(trial, Role::Receiver, Signal::HUP)
}

crate::promises! {
    always: sigint_to_sender, sigint_to_receiver, sigterm_to_sender, sigterm_to_receiver;
    always: sighup_to_sender, sighup_to_receiver;
}
