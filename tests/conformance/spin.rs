//! `--spin`, where a pair has it: who waits does not sleep, and everything else is as it was.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::ends::{endless, works};
use crate::{DoesNotApply, always, strangers};
use harness::{Both, Result, Role, Signal, Trial, bytes, ensure, lost_since};

const SPIN: [&str; 1] = ["--spin"];

fn has_it(trial: &Trial) -> Result {
    let help = Command::new(&trial.pair.sender).arg("--help").output()?;
    let there = String::from_utf8_lossy(&help.stdout).contains("--spin");
    there.then_some(()).ok_or_else(|| DoesNotApply("it has no --spin").into())
}

/// Both ends spin; in a family the sender passes it on.
fn both<'a>(trial: &'a Trial, both: Both<'a>) -> Both<'a> {
    let both = both.sender(SPIN);
    if trial.pair.is_family() { both } else { both.receiver(SPIN) }
}

fn spinning_carries(trial: &Trial) -> Result {
    has_it(trial)?;
    let payload = bytes(11, if trial.pair.can.reliable { 500_000 } else { 200_000 });
    let file = trial.file("input", &payload)?;
    for size in [100, trial.pair.can.max_message.min(8000)] {
        let run = both(trial, trial.both().sender(["--file", &file, "--size", &size.to_string()]));
        let run = run.sender(trial.pair.pace()).start()?;
        ensure!(run.complete()? == payload, "chunks of {size}: other bytes came out");
    }
    Ok(())
}

/// Who spins wakes who sleeps, because nothing is there yet or because there is no room.
fn one_spins_and_the_other_sleeps(trial: &Trial) -> Result {
    has_it(trial)?;
    let can = &trial.pair.can;
    // More than any channel holds.
    let payload = bytes(12, if can.reliable { can.payload_limit.min(6_000_000) } else { 200_000 });
    let file = trial.file("input", &payload)?;
    let size = can.max_message.min(8000).to_string();
    for spinner in [Role::Sender, Role::Receiver] {
        let both = trial.both().sender(["--file", &file, "--size", &size]).sender(trial.pair.pace());
        let both = if spinner == Role::Sender { both.sender(SPIN) } else { both.receiver(SPIN) };
        let run = both.start()?;
        if can.reliable {
            run.output().wait_for_stdout(1)?;
            let receiver = run.end(Role::Receiver)?;
            receiver.stop()?;
            thread::sleep(Duration::from_millis(50)); // until there is no room
            receiver.signal(Signal::CONT)?;
        }
        ensure!(run.complete()? == payload, "the {spinner} spins: other bytes came out");
    }
    Ok(())
}

fn spinning_ends_with_the_sender(trial: &Trial) -> Result {
    ends_with(trial, Role::Sender, Role::Receiver)
}

fn spinning_ends_with_the_receiver(trial: &Trial) -> Result {
    ends_with(trial, Role::Receiver, Role::Sender)
}

fn ends_with(trial: &Trial, dies: Role, lives: Role) -> Result {
    has_it(trial)?;
    let can = &trial.pair.can;
    if !(if lives == Role::Sender { can.sender_notices } else { can.receiver_notices }) {
        return Err(DoesNotApply("nobody tells").into());
    }
    let run = both(trial, endless(trial)).start()?;
    run.output().wait_for_stdout(1)?;
    let now = Instant::now();
    run.end(dies)?.signal(Signal::KILL)?;
    let end = run.end(lives)?.wait()?;
    end.expect(3)?;
    let took = end.at.saturating_duration_since(now);
    ensure!(took <= Duration::from_secs(1) + lost_since(now), "{end} after {took:?}");
    drop(run);
    works(trial)
}

fn spinning_times_out(trial: &Trial) -> Result {
    has_it(trial)?;
    trial.launch(Role::Receiver).args(SPIN).timeout(0.4).spawn()?.wait()?.expect(4)
}

crate::promises! {
    always: spinning_carries, spinning_ends_with_the_sender, spinning_ends_with_the_receiver;
    strangers: spinning_times_out, one_spins_and_the_other_sleeps;
}
