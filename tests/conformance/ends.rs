//! How a conversation ends when one side is not there, dies or stops.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use crate::{always, blocks, family, reliable, strangers};
use harness::kill::{self, Victim};
use harness::{Both, Launch, Outcome, Process, Result, Role, Run, Signal, Stdout, Trial, ensure, lost_since};

/// `--timeout`, in seconds, where a wait has to run into it. Only the end that has to wait in vain gets one: on
/// a busy machine the other might run into it too.
const TIMEOUT: f64 = 0.4;
const IMPATIENT: [&str; 2] = ["--timeout", "0.4"];
/// What a wait may take beyond `--timeout`.
const SLACK: Duration = Duration::from_millis(500);

/// A sender that does not end by itself.
pub(crate) fn endless(trial: &Trial) -> Both<'_> {
    let size = trial.pair.can.max_message.min(64).to_string();
    trial.both().sender(["--count", "1000000000", "--size", &size]).stdout(Stdout::Count)
}

/// An endless transfer, from which something has come out.
fn under_way(both: Both<'_>) -> Result<Run> {
    let run = both.start()?;
    run.output().wait_for_stdout(1)?;
    Ok(run)
}

/// One small transfer on the trial's endpoint, which must succeed.
pub(crate) fn works(trial: &Trial) -> Result {
    let came = trial.both().sender(["again"]).start()?.complete()?;
    ensure!(came == b"again\n", "then {:?} came out", String::from_utf8_lossy(&came));
    Ok(())
}

fn in_time(end: &Outcome, since: Instant, limit: Duration) -> Result {
    let took = end.at.saturating_duration_since(since);
    let limit = limit + lost_since(since);
    ensure!(took <= limit, "{end} after {:.2} s, more than {:.2} s", took.as_secs_f64(), limit.as_secs_f64());
    Ok(())
}

fn times_out(process: &Process, since: Instant) -> Result {
    let end = process.wait()?;
    end.expect(4)?;
    let early = end.at.saturating_duration_since(since).as_secs_f64() < TIMEOUT - 0.05;
    ensure!(!early, "{} gave up before its time", process.stderr());
    in_time(&end, since, Duration::from_secs_f64(TIMEOUT) + SLACK)
}

fn one_line(process: &Process) -> Result {
    let text = process.stderr();
    ensure!(text.lines().count() == 1, "not one line on standard error: {text:?}");
    Ok(())
}

/// The one that no receiver comes to; in a family, an inherited channel that nobody reads.
fn no_receiver(trial: &Trial) -> Result {
    waits_in_vain(trial, trial.launch(Role::Sender))
}

/// The same, started by somebody who has blocked every signal that can be: a wait ends all the same.
fn no_receiver_and_signals_blocked(trial: &Trial) -> Result {
    waits_in_vain(trial, trial.launch(Role::Sender).under(["env", "--block-signal"]))
}

/// Started by somebody who does not want to hear of his children, which a program inherits.
fn children_ignored(trial: &Trial) -> Result {
    let sender = trial.launch(Role::Sender).under(["env", "--ignore-signal=CHLD"]).args(["hello"]).spawn()?;
    sender.wait()?.expect(0)?;
    ensure!(sender.stdout() == b"hello\n", "{:?} came out", String::from_utf8_lossy(&sender.stdout()));
    Ok(())
}

fn waits_in_vain(trial: &Trial, launch: Launch<'_>) -> Result {
    let launch = launch.args(["--quiet"]).timeout(TIMEOUT);
    let launch = if trial.pair.is_family() {
        launch.args(["--count", "100000"]).silent_channel()
    } else {
        launch.args(["hello"])
    };
    let sender = launch.spawn()?;
    times_out(&sender, sender.started())?;
    one_line(&sender)
}

/// The one that no receiver comes to, while much else happens where it waits: that is no reason to wait for longer.
fn no_receiver_in_a_busy_place(trial: &Trial) -> Result {
    let sender = trial.launch(Role::Sender).args(["hello"]).timeout(TIMEOUT).spawn()?;
    let places = [trial.meeting_dir(), PathBuf::from("/dev/shm")];
    let name = format!("busy-{:x}", fastrand::u64(..));
    while !sender.has_ended() && Instant::now() < trial.deadline() {
        for place in &places {
            fs::write(place.join(&name), "")?;
            fs::remove_file(place.join(&name))?;
        }
        thread::sleep(Duration::from_secs_f64(TIMEOUT / 20.0));
    }
    times_out(&sender, sender.started())
}

/// The one that no sender comes to; in a family, an inherited channel on which nothing is said.
fn no_sender(trial: &Trial) -> Result {
    let launch = trial.launch(Role::Receiver).timeout(TIMEOUT);
    if trial.pair.is_family() {
        let receiver = launch.args(["--quiet"]).silent_channel().spawn()?;
        times_out(&receiver, receiver.started())?;
        return one_line(&receiver);
    }
    let receiver = launch.spawn()?;
    times_out(&receiver, receiver.started())
}

/// A dead sender is never taken for one that has finished.
fn sender_killed(trial: &Trial) -> Result {
    let notices = trial.pair.can.receiver_notices;
    let both = endless(trial);
    let run = under_way(if notices { both } else { both.receiver(IMPATIENT) })?;
    let now = Instant::now();
    run.sender.signal(Signal::KILL)?;
    let end = run.end(Role::Receiver)?.wait()?;
    end.expect(if notices { 3 } else { 4 })?;
    in_time(&end, now, Duration::from_secs_f64(if notices { 1.0 } else { TIMEOUT + 1.0 }))?;
    drop(run);
    works(trial)
}

fn receiver_killed(trial: &Trial) -> Result {
    let notices = trial.pair.can.sender_notices;
    let both = endless(trial);
    let run = under_way(if notices { both } else { both.sender(IMPATIENT) })?;
    let now = Instant::now();
    run.end(Role::Receiver)?.signal(Signal::KILL)?;
    let end = run.sender.wait()?;
    end.expect(if notices { 3 } else { 4 })?;
    in_time(&end, now, Duration::from_secs_f64(if notices { 1.0 } else { TIMEOUT + 1.0 }))?;
    drop(run);
    works(trial)
}

/// What a killed pair leaves behind is recognised and replaced.
fn both_killed_and_run_again(trial: &Trial) -> Result {
    for first in [Role::Sender, Role::Receiver] {
        let run = under_way(endless(trial))?;
        let second = if first == Role::Sender { Role::Receiver } else { Role::Sender };
        // Stopped first: neither may see the other's end and tidy up.
        for role in [second, first] {
            run.end(role)?.signal(Signal::STOP)?;
        }
        for role in [first, second] {
            run.end(role)?.signal(Signal::KILL)?;
        }
        drop(run);
        works(trial)?;
    }
    Ok(())
}

/// A stopped process is silent, and nothing but a deadline tells.
fn receiver_stopped(trial: &Trial) -> Result {
    let run = under_way(endless(trial).sender(IMPATIENT))?;
    let receiver = run.end(Role::Receiver)?;
    receiver.signal(Signal::STOP)?;
    let now = Instant::now();
    let end = run.sender.wait()?;
    end.expect(4)?;
    // The channel has to fill up first.
    in_time(&end, now, Duration::from_secs_f64(TIMEOUT + 0.5) + SLACK)?;
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect_one_of(&[3, 4, 143])
}

fn sender_stopped(trial: &Trial) -> Result {
    let run = under_way(endless(trial).receiver(IMPATIENT))?;
    run.sender.signal(Signal::STOP)?;
    let now = Instant::now();
    let end = run.end(Role::Receiver)?.wait()?;
    end.expect(4)?;
    in_time(&end, now, Duration::from_secs_f64(TIMEOUT + 0.5) + SLACK)?;
    run.sender.signal(Signal::CONT)?;
    run.sender.wait()?.expect_one_of(&[3, 4])
}

/// Who goes on before the other one's deadline loses nothing.
fn stopped_and_continued(trial: &Trial) -> Result {
    let count = (trial.pair.can.payload_limit / 64).min(20_000);
    let lines: String = (0..count).map(|number| format!("{number:060}\n")).collect();
    for role in [Role::Sender, Role::Receiver] {
        let run = trial.both().stdin(lines.as_bytes()).timeout(5.0).start()?;
        run.output().wait_for_stdout(1)?;
        run.end(role)?.signal(Signal::STOP)?;
        thread::sleep(Duration::from_millis(150));
        run.end(role)?.signal(Signal::CONT)?;
        ensure!(run.complete()? == lines.as_bytes(), "{role} stopped and continued: other bytes came out");
    }
    Ok(())
}

/// An endpoint in use is refused, and whoever uses it does not notice.
fn second_receiver(trial: &Trial) -> Result {
    let count = (trial.pair.can.payload_limit / 64).min(1000).to_string();
    let run = trial.both().sender(["--count", &count, "--size", "32", "--interval", "0.0005"]).start()?;
    let refused = || -> Result {
        let second = trial.launch(Role::Receiver).args(["--quiet"]).timeout(TIMEOUT).spawn()?;
        second.wait()?.expect(1)?;
        one_line(&second)
    };
    refused()?;
    run.output().wait_for_stdout(1)?;
    refused()?;
    let came = run.complete()?.len();
    ensure!(came == 32 * count.parse::<usize>()?, "only {came} bytes came out");
    Ok(())
}

/// Kills at random moments; `scripts/kill-campaign.sh` is the long one.
fn kill_campaign_short(trial: &Trial) -> Result {
    let plan = kill::Plan::measure(&trial.pair)?;
    let mut random = fastrand::Rng::new();
    for victim in [Victim::Sender, Victim::Receiver, Victim::Both] {
        let moment = plan.length.mul_f64(random.f64());
        kill::once(&trial.pair, &plan, victim, moment)
            .map_err(|error| format!("{victim} killed after {} us: {error}", moment.as_micros()))?;
    }
    Ok(())
}

crate::promises! {
    always: no_receiver, no_sender, sender_killed, receiver_killed, sender_stopped;
    always: both_killed_and_run_again, kill_campaign_short;
    reliable: stopped_and_continued;
    blocks: receiver_stopped;
    strangers: second_receiver, no_receiver_in_a_busy_place;
    always: no_receiver_and_signals_blocked;
    family: children_ignored;
}
