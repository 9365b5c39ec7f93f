//! SIGINT, SIGTERM and SIGHUP end a program at whatever moment they come, and leave nothing behind.

use std::thread;
use std::time::Duration;

use crate::always;
use harness::{Result, Role, Run, Signal, Stdout, Trial, ensure};

/// How often each signal comes to each side.
const TIMES: usize = 20;
/// The moments lie between the start of the program and this: loading, meeting, and well into the transfer.
const LATEST: f64 = 0.040;
/// `--timeout` of the other side, which may be waiting for one that is no more.
const TIMEOUT: f64 = 0.3;

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
    run.end(role)?.signal(signal)?;
    let ended = run.wait()?;
    let (hit, other) = match role {
        Role::Sender => (&ended.sender, &ended.receiver),
        Role::Receiver => (&ended.receiver, &ended.sender),
    };
    hit.expect(128 + signal.as_raw())?;
    // 3: it knew the other one. 4: it was still waiting for it. 143: a parent ends its child.
    let children: &[i32] = if trial.pair.is_family() { &[3, 4, 143] } else { &[3, 4] };
    other.expect_one_of(children)?;
    let left = trial.objects();
    ensure!(left.is_empty(), "left behind: {}", left[0]);
    Ok(())
}

/// An endless transfer of which neither side waits for the other to be ready.
fn start_at_once(trial: &Trial) -> Result<Run> {
    if trial.pair.is_family() {
        return super::ends::endless(trial).timeout(TIMEOUT).start();
    }
    let receiver = trial.launch(Role::Receiver).timeout(TIMEOUT).stdout(Stdout::Count).spawn()?;
    let size = trial.pair.can.max_message.min(64).to_string();
    let endless = ["--count", "1000000000", "--size", &size];
    let sender = trial.launch(Role::Sender).args(endless).timeout(TIMEOUT).spawn()?;
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
