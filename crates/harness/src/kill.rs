//! Kills at random moments, and what has to hold after each: the survivor ends in time and claims no success
//! that it did not have, the same endpoint serves again, nothing is left.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::{How, Outcome, Pair, Process, Result, Role, Run, Signal, Trial, bytes, ensure, lost_since};

/// `--timeout` of both ends, in seconds.
const TIMEOUT: f64 = 1.0;
/// What a wait may take beyond it.
const SLACK: Duration = Duration::from_millis(500);
/// A transfer that takes so long has room for random moments.
const LONG_ENOUGH: Duration = Duration::from_millis(50);
/// Bytes in a message: small ones make a transfer long without making it large.
const MESSAGE: usize = 64;
/// Bytes to begin with where nothing is lost, and where a queue that is full drops: few enough messages for any queue.
const PAYLOAD: (usize, usize) = (256 << 10, 8 << 10);

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The sending end.
    Sender,
    /// The receiving end.
    Receiver,
    /// Both at once.
    Both,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Victim::Sender => "sender",
            Victim::Receiver => "receiver",
            Victim::Both => "both",
        })
    }
}

/// A transfer that runs long enough to be killed in the middle.
pub struct Plan {
    payload: Vec<u8>,
    /// How long the sender takes for it, from its start to its end.
    pub length: Duration,
}

impl Plan {
    /// Looks for a payload that keeps the pair busy for a while.
    ///
    /// # Errors
    /// Where a transfer that nobody disturbs fails.
    pub fn measure(pair: &Pair) -> Result<Plan> {
        let mut len = (pair.can.payload_limit / 2).min(if pair.can.reliable { PAYLOAD.0 } else { PAYLOAD.1 });
        loop {
            let payload = bytes(9, len);
            // The shortest of some: most moments shall lie within the transfer and not after it.
            let mut length = Duration::MAX;
            for _ in 0..3 {
                length = length.min(undisturbed(pair, &payload)?);
            }
            if length >= LONG_ENOUGH || len * 2 > pair.can.payload_limit {
                return Ok(Plan { payload, length });
            }
            len *= 2;
        }
    }
}

/// How long a transfer takes, from the start of the sender to its end.
fn undisturbed(pair: &Pair, payload: &[u8]) -> Result<Duration> {
    let trial = Trial::new(pair)?;
    let run = start(&trial, payload)?;
    let complete = run.complete().map_err(|error| format!("{error}\n{}", trial.report()))?;
    ensure!(complete == payload, "an undisturbed transfer of {} bytes went wrong", payload.len());
    Ok(run.sender.wait()?.at.saturating_duration_since(run.sender.started()))
}

/// Starts both ends at once, so that a kill may hit the rendezvous too.
fn start(trial: &Trial, payload: &[u8]) -> Result<Run> {
    let file = trial.file("input", payload)?;
    let size = MESSAGE.min(trial.pair.can.max_message).to_string();
    let input = [&["--file", &file, "--size", &size][..], trial.pair.pace()].concat();
    if trial.pair.is_family() {
        return trial.both().sender(input).timeout(TIMEOUT).start();
    }
    let receiver = trial.launch(Role::Receiver).timeout(TIMEOUT).spawn()?;
    let sender = trial.launch(Role::Sender).args(input).timeout(TIMEOUT).spawn()?;
    Ok(Run::of(sender, receiver))
}

/// What became of the survivor.
#[derive(Clone, Debug)]
pub struct Survived {
    /// How long after the kill it ended.
    pub wait: Duration,
    /// How it ended, if there was one.
    pub outcome: Option<Outcome>,
}

/// Kills `victim` so long after the start of a transfer, and checks everything.
///
/// # Errors
/// What does not hold, with all that the programs said.
pub fn once(pair: &Pair, plan: &Plan, victim: Victim, moment: Duration) -> Result<Survived> {
    let trial = Trial::of(pair, Duration::from_secs(30))?;
    let checked = (|| {
        let survived = kill_and_check(&trial, plan, victim, moment)?;
        let again = trial.both().sender(["again"]).timeout(5.0).start()?.complete();
        let again = again.map_err(|error| format!("run again on the same endpoint: {error}"))?;
        ensure!(again == b"again\n", "run again on the same endpoint, other bytes came out");
        trial.finish()?;
        Ok(survived)
    })();
    checked.map_err(|error: crate::Failure| format!("{error}\n{}", trial.report()).into())
}

fn kill_and_check(trial: &Trial, plan: &Plan, victim: Victim, moment: Duration) -> Result<Survived> {
    let run = start(trial, &plan.payload)?;
    let start = run.sender.started();
    thread::sleep((start + moment).saturating_duration_since(Instant::now()));
    let under_way = run.output().stdout_len() > 0;
    let victims = match victim {
        Victim::Sender => vec![&run.sender],
        Victim::Receiver => run.receiver.iter().collect(),
        Victim::Both => [&run.sender].into_iter().chain(&run.receiver).collect(),
    };
    if victim == Victim::Both {
        // Neither may see the other's end and tidy up.
        for process in &victims {
            process.signal(Signal::STOP)?;
        }
    }
    let killed = Instant::now();
    for process in &victims {
        process.signal(Signal::KILL)?;
    }
    match victim {
        Victim::Both => Ok(Survived { wait: Duration::ZERO, outcome: None }),
        Victim::Sender => check_receiver(trial, &run, plan, killed, under_way),
        Victim::Receiver => check_sender(trial, &run, plan, killed, under_way),
    }
}

/// How long after the kill the survivor ended, if that was in time.
fn end_of(process: &Process, killed: Instant) -> Result<Survived> {
    let outcome = process.wait()?;
    let wait = outcome.at.saturating_duration_since(killed);
    let limit = Duration::from_secs_f64(TIMEOUT) + SLACK + lost_since(killed);
    ensure!(wait <= limit, "{outcome}, but only {:.2} s after the kill", wait.as_secs_f64());
    Ok(Survived { wait, outcome: Some(outcome) })
}

fn check_receiver(trial: &Trial, run: &Run, plan: &Plan, killed: Instant, under_way: bool) -> Result<Survived> {
    // A family's receiver may have ended before it was found; then there is nobody left to check.
    let Some(receiver) = &run.receiver else { return Ok(Survived { wait: Duration::ZERO, outcome: None }) };
    let survived = end_of(receiver, killed)?;
    let payload = run.output().stdout();
    let whole = payload == plan.payload;
    ensure!(plan.payload.starts_with(&payload), "what came out is not how the payload begins");
    let how = survived.outcome.as_ref().map(|outcome| outcome.how);
    ensure!(how != Some(How::Exited(0)) || whole, "a false success: {} of the bytes came out", payload.len());
    let failures: &[i32] = if under_way && trial.pair.can.receiver_notices { &[0, 3] } else { &[0, 3, 4] };
    survived.outcome.iter().try_for_each(|outcome| outcome.expect_one_of(failures))?;
    Ok(survived)
}

fn check_sender(trial: &Trial, run: &Run, plan: &Plan, killed: Instant, under_way: bool) -> Result<Survived> {
    let survived = end_of(&run.sender, killed)?;
    // Strangers: 0 says that everything was handed over. A parent's 0 says that its child has done its work.
    if trial.pair.is_family() && survived.outcome.as_ref().is_some_and(|outcome| outcome.how == How::Exited(0)) {
        let payload = run.output().stdout();
        ensure!(payload == plan.payload, "a false success: {} of the bytes came out", payload.len());
    }
    let failures: &[i32] = if under_way && trial.pair.can.sender_notices { &[0, 3] } else { &[0, 3, 4] };
    survived.outcome.iter().try_for_each(|outcome| outcome.expect_one_of(failures))?;
    Ok(survived)
}
