//! Where messages may be lost: it is never silent, and what arrives is whole, in order and once all the same.

use std::thread;
use std::time::Duration;

use harness::{Process, Result, Role, Run, Signal, Stdout, Trial, bytes, ensure};

use crate::best_effort;

/// More messages than any queue holds.
const COUNT: usize = 300_000;
const SIZE: usize = 64;
/// How long the receiver is stuck. At full speed many more messages come meanwhile than a queue holds.
const STUCK: Duration = Duration::from_millis(400);
const MOMENT: Duration = Duration::from_millis(20);

/// What makes a sender send them.
fn flood() -> [String; 4] {
    ["--count".to_owned(), COUNT.to_string(), "--size".to_owned(), SIZE.to_string()]
}

/// A receiver whose standard output nobody reads for a while, and a sender that does not care.
fn overrun(trial: &Trial) -> Result<Run> {
    let run = trial.both().sender(flood()).stdout(Stdout::Held).start()?;
    thread::sleep(STUCK);
    run.output().drain();
    let ended = run.wait()?;
    ended.receiver.expect(6)?;
    ended.sender.expect(6)?;
    Ok(run)
}

/// The number L in `lost L of N messages` on standard error.
fn lost(process: &Process) -> Result<usize> {
    let text = process.stderr();
    let told = text.split_once("lost ").and_then(|(_, rest)| rest.split_once(&format!(" of {COUNT} messages")));
    let number = told.and_then(|(number, _)| number.parse().ok());
    number.ok_or_else(|| format!("no \"lost L of {COUNT} messages\" in {text:?}").into())
}

fn loss_is_exact(trial: &Trial) -> Result {
    let run = overrun(trial)?;
    let came = run.output().stdout();
    let arrived = came.len() / SIZE;
    ensure!(came.len() % SIZE == 0, "{} bytes came out, which are no whole messages", came.len());
    let mut last = None;
    for message in came.chunks(SIZE) {
        let number = str::from_utf8(&message[..10])?.parse::<usize>()?;
        ensure!(last < Some(number) && number < COUNT, "message {number} came after {last:?}");
        ensure!(message[10] == b' ' && message[SIZE - 1] == b'\n', "message {number} is damaged");
        last = Some(number);
    }
    ensure!(arrived < COUNT, "nothing was lost, so nothing was tried");
    for process in [Some(&run.sender), run.receiver.as_ref()].into_iter().flatten() {
        let lost = lost(process)?;
        ensure!(arrived + lost == COUNT, "{arrived} of {COUNT} came out, and {lost} are said to be lost");
    }
    Ok(())
}

/// A file is complete or not there.
fn what_is_lost_leaves_no_file(trial: &Trial) -> Result {
    let path = trial.path("output");
    let to = path.display().to_string();
    let run = trial.both().sender(flood()).receiver(["--output", &to]).start()?;
    let receiver = run.end(Role::Receiver)?;
    // A file takes what it is given, and nobody sees when the first message comes. So the receiver itself is stuck, again
    // and again, with a moment in between to meet its sender.
    while !receiver.has_ended() {
        receiver.signal(Signal::STOP)?;
        thread::sleep(STUCK);
        receiver.signal(Signal::CONT)?;
        receiver.wait_within(MOMENT).ok();
    }
    receiver.wait()?.expect(6)?;
    ensure!(!path.exists(), "there is a file, though something is missing");
    Ok(())
}

/// A megabyte in pieces that fit into a packet, with pauses: nothing is missing, and that is said.
fn complete_at_an_honest_pace(trial: &Trial) -> Result {
    let payload = bytes(8, trial.pair.can.payload_limit.min(1 << 20));
    let file = trial.file("input", &payload)?;
    let size = trial.pair.can.max_message.min(1400).to_string();
    let run = trial.both().sender(["--file", &file, "--size", &size]).sender(trial.pair.pace()).start()?;
    ensure!(run.complete()? == payload, "other bytes came out");
    Ok(())
}

crate::promises! {
    best_effort: loss_is_exact, what_is_lost_leaves_no_file, complete_at_an_honest_pace;
}
