//! What happens around the channel: a slow or closed standard output, a full disk, a storm of signals.

use std::thread;
use std::time::Duration;

use harness::{Process, Result, Role, Signal, Stdout, Trial, bytes, ensure};

use crate::ends::endless;
use crate::{always, blocks};

/// No program needs more memory than this, in bytes, however much goes through it.
const MEMORY: usize = 64 << 20;

/// Nobody reads the receiver's standard output: the sender waits, and nobody hoards.
fn slow_reader(trial: &Trial) -> Result {
    let run = endless(trial).stdout(Stdout::Held).sender(["--timeout", "0.4"]).start()?;
    let mut peak = 0;
    while !run.sender.has_ended() {
        let processes = [Some(&run.sender), run.receiver.as_ref()];
        let memory = processes.into_iter().flatten().filter_map(Process::peak_memory);
        peak = memory.max().unwrap_or(0).max(peak);
        thread::sleep(Duration::from_millis(5));
    }
    run.sender.wait()?.expect(4)?;
    ensure!(peak > 0 && peak < MEMORY, "{} MiB of memory were in use", peak >> 20);
    run.output().drain();
    run.wait()?.receiver.expect_one_of(&[3, 4, 143])
}

/// `| head`: whoever has seen enough ends the conversation, and that is no error.
fn stdout_closed(trial: &Trial) -> Result {
    let both = endless(trial).stdout(Stdout::Head(20));
    let noticed = trial.pair.can.sender_notices;
    let run = if noticed { both } else { both.sender(["--timeout", "0.4"]) }.start()?;
    let ended = run.wait()?;
    if !trial.pair.is_family() {
        ended.receiver.expect(0)?;
    }
    ended.sender.expect_one_of(if noticed { &[0, 3] } else { &[0, 3, 4] })
}

/// A full disk behind standard output: exit code 1 and one line that says so.
fn stdout_full(trial: &Trial) -> Result {
    let payload = trial.file("input", &bytes(3, trial.pair.can.payload_limit.min(200_000)))?;
    let full = Stdout::File("/dev/full".into());
    let quiet = ["--file", &payload, "--quiet"];
    if trial.pair.is_family() {
        let sender = trial.launch(Role::Sender).args(quiet).stdout(full).timeout(1.0).spawn()?;
        sender.wait()?.expect(3)?;
        let text = sender.stderr();
        let lines = text.lines().filter(|line| line.contains("-receiver: "));
        ensure!(lines.count() == 1, "not one line of the receiver's on standard error: {text:?}");
        return Ok(());
    }
    // The sender first: a quiet receiver does not say that it is ready.
    let sender = trial.launch(Role::Sender).args(quiet).timeout(1.0).spawn()?;
    let receiver = trial.launch(Role::Receiver).args(["--quiet"]).stdout(full).timeout(1.0).spawn()?;
    receiver.wait()?.expect(1)?;
    let text = receiver.stderr();
    ensure!(text.lines().count() == 1, "not one line on standard error: {text:?}");
    sender.wait()?.expect_one_of(&[0, 3, 4])
}

/// Harmless signals at 1 kHz interrupt system calls, and nothing else.
fn signal_storm(trial: &Trial) -> Result {
    let can = &trial.pair.can;
    let payload = bytes(5, can.payload_limit.min(if can.reliable { 3 << 20 } else { 200_000 }));
    let file = trial.file("input", &payload)?;
    let size = can.max_message.min(100).to_string();
    let run = trial.both().sender(["--file", &file, "--size", &size]).sender(trial.pair.pace()).start()?;
    let kinds = [Signal::URG, Signal::WINCH, Signal::CONT];
    for kind in kinds.into_iter().cycle() {
        run.sender.signal(kind)?;
        run.receiver.iter().try_for_each(|receiver| receiver.signal(kind))?;
        if run.sender.has_ended() && run.receiver.as_ref().is_none_or(Process::has_ended) {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    ensure!(run.complete()? == payload, "other bytes came out");
    Ok(())
}

crate::promises! {
    blocks: slow_reader;
    always: stdout_closed, stdout_full, signal_storm;
}
