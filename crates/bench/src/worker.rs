//! What the two processes of a measurement do: the loops whose time counts.
//!
//! The same loops carry a technique's messages and its bare twin's, and make and check the same messages, so that
//! what differs is what lies between `send` and `recv`. They are compiled for each of them anew, and call nothing
//! through a pointer.

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{Receiver, Sender};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::control::Turns;
use crate::message::Form;
use crate::processes::{self, Failure};
use crate::results::{Cost, Measure, Place, Round, Status, Trips};
use crate::usage::{Usage, memory_kib};

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// What is measured.
    pub measure: Measure,
    /// The messages.
    pub form: Form,
    /// Where.
    pub place: Place,
    /// For how long.
    pub pace: Pace,
    /// When to give up.
    pub limit: Duration,
    /// What is special about the channel.
    pub traits: Traits,
}

/// How many messages.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many, after so many that do not count.
    Count {
        /// Do not count.
        warm_up: u64,
        /// Count.
        count: u64,
    },
    /// As many as there are time for, after one: to find out how many.
    For(Duration),
}

/// What is special about a channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// Messages may be lost.
    pub may_lose: bool,
    /// The receiver is told the end; otherwise it knows it by the last message.
    pub says_end: bool,
    /// Two channels between the same two processes are in each other's way unless one end waits until the other's
    /// `send` has returned.
    pub takes_turns: bool,
}

type Word<T> = Result<T, Status>;

/// Makes a channel with `there`, for a round trip another with `back`, and measures between two processes. Each returns
/// what makes a sender and what makes a receiver.
///
/// # Errors
/// What went wrong in either process, or a signal to end the run.
pub fn measure<S, R, ToSend, ToReceive, Back, ToAnswer, Hearer, ToHear>(
    job: Job,
    there: impl FnOnce() -> common::Result<(ToSend, ToReceive)>,
    back: impl FnOnce() -> common::Result<(ToAnswer, ToHear)>,
) -> Result<Round, Failure>
where
    S: Sender,
    R: Receiver,
    ToSend: FnOnce() -> common::Result<S>,
    ToReceive: FnOnce() -> common::Result<R>,
    Back: Sender,
    Hearer: Receiver,
    ToAnswer: FnOnce() -> common::Result<Back>,
    ToHear: FnOnce() -> common::Result<Hearer>,
{
    let cores = processes::cores(job.place)?;
    let (to_send, to_receive) = there().map_err(|error| Failure::Row(status(error)))?;
    match job.measure {
        Measure::Throughput => {
            let send = move || give(job, to_send);
            let (given, taken) = processes::run(cores, job.limit, send, move || take(job, to_receive))?;
            let Taken { first, messages, nanos, cost } = taken;
            let lost = (given.count - 1 - first).saturating_sub(messages);
            // What comes out of a buffer in a burst was not sent in one: with losses the sender's time counts too.
            let nanos = if job.traits.may_lose { nanos.max(given.nanos) } else { nanos };
            Ok(Round { number: 0, messages, lost, nanos, trips: None, ends: [given.cost, cost] })
        }
        Measure::RoundTrip => {
            let (to_answer, to_hear) = back().map_err(|error| Failure::Row(status(error)))?;
            let (mine, theirs) = Turns::pair(job.traits.takes_turns).map_err(Failure::failed)?;
            let ask = move || ask(job, to_send, to_hear, mine);
            let answer = move || answer(job, to_receive, to_answer, theirs);
            let (asked, answered) = processes::run(cores, job.limit, ask, answer)?;
            let trips = Some(asked.trips);
            Ok(Round {
                number: 0,
                messages: 2 * asked.count,
                lost: 0,
                nanos: asked.nanos,
                trips,
                ends: [asked.cost, answered],
            })
        }
    }
}

/// What the sender of one way tells.
#[derive(Serialize, Deserialize)]
struct Given {
    /// Messages that it has sent, from number 0 on.
    count: u64,
    nanos: u64,
    cost: Cost,
}

/// One way: the sender.
fn give<S: Sender>(job: Job, to_send: impl FnOnce() -> common::Result<S>) -> Word<Given> {
    let mut buffer = job.form.buffer();
    let memory = memory_kib();
    let mut sender = to_send().map_err(status)?;
    let warm_up = job.pace.warm_up();
    for number in 0..warm_up {
        job.form.write(&mut buffer, number, false);
        sender.send(&buffer).map_err(status)?;
    }
    let before = Usage::now();
    let start = Instant::now();
    let mut number = warm_up;
    loop {
        let last = job.pace.is_over(number, start);
        job.form.write(&mut buffer, number, last);
        sender.send(&buffer).map_err(status)?;
        number += 1;
        if last {
            break;
        }
    }
    let elapsed = start.elapsed();
    let cost = Usage::now().since(&before, memory);
    unless_lost(job, sender.finish(), ())?;
    Ok(Given { count: number, nanos: nanos(elapsed), cost })
}

/// What the receiver of one way tells.
#[derive(Serialize, Deserialize)]
struct Taken {
    /// The number of the message with which its clock started.
    first: u64,
    /// Messages that came behind it.
    messages: u64,
    nanos: u64,
    cost: Cost,
}

/// One way: the receiver. Its clock starts when it has the last message that does not count.
fn take<R: Receiver>(job: Job, to_receive: impl FnOnce() -> common::Result<R>) -> Word<Taken> {
    let memory = memory_kib();
    let mut receiver = to_receive().map_err(status)?;
    let warm_up = job.pace.warm_up();
    let (mut due, mut messages, mut first) = (0, 0, 0);
    let (mut before, mut start) = (Usage::now(), Instant::now());
    let mut end = start;
    let mut ended = false;
    loop {
        // Where messages may be lost, so may be the last one; then the end is said.
        let Some(message) = unless_lost(job, receiver.recv(), None)? else {
            if job.traits.may_lose {
                ended = true;
                break;
            }
            return Err(Status::Failed(format!("the end came where message {due} was due")));
        };
        let seen = job.form.check(message, due, job.traits.may_lose).map_err(failed)?;
        if due < warm_up && seen.number + 1 >= warm_up {
            first = seen.number;
            messages = 0;
            before = Usage::now();
            start = Instant::now();
        } else {
            messages += 1;
        }
        due = seen.number + 1;
        if job.traits.may_lose {
            end = Instant::now();
        }
        if seen.last {
            break;
        }
    }
    if !job.traits.may_lose {
        end = Instant::now();
    }
    let cost = Usage::now().since(&before, memory);
    if job.traits.says_end && !ended && unless_lost(job, receiver.recv(), None)?.is_some() {
        return Err(Status::Failed("a message came after the last one".to_owned()));
    }
    if messages == 0 {
        return Err(Status::Failed("every message was lost".to_owned()));
    }
    Ok(Taken { first, messages, nanos: nanos(end - start), cost })
}

/// What the asking end of a round trip tells.
#[derive(Serialize, Deserialize)]
struct Asked {
    count: u64,
    nanos: u64,
    trips: Trips,
    cost: Cost,
}

/// A round trip: the end that begins. A message and its answer have the same number.
fn ask<S: Sender, R: Receiver>(
    job: Job,
    to_send: impl FnOnce() -> common::Result<S>,
    to_hear: impl FnOnce() -> common::Result<R>,
    turns: Turns,
) -> Word<Asked> {
    let mut buffer = job.form.buffer();
    let mut times = Histogram::<u64>::new_with_bounds(1, 1_000_000_000_000, 3).map_err(failed)?;
    // Touches its memory, so that the first samples do not have to.
    times.reset();
    let memory = memory_kib();
    let mut receiver = to_hear().map_err(status)?;
    let mut sender = to_send().map_err(status)?;
    let mut trip = |number: u64, last: bool| {
        job.form.write(&mut buffer, number, last);
        turns.wait(number);
        let start = Instant::now();
        sender.send(&buffer).map_err(status)?;
        turns.sent();
        let Some(message) = receiver.recv().map_err(status)? else {
            return Err(Status::Failed(format!("the end came where answer {number} was due")));
        };
        let time = start.elapsed();
        job.form.check(message, number, false).map_err(failed)?;
        Ok(nanos(time))
    };
    let warm_up = job.pace.warm_up();
    for number in 0..warm_up {
        trip(number, false)?;
    }
    let before = Usage::now();
    let start = Instant::now();
    let mut number = warm_up;
    while !job.pace.is_over(number, start) {
        times.saturating_record(trip(number, false)?);
        number += 1;
    }
    let elapsed = start.elapsed();
    let cost = Usage::now().since(&before, memory);
    trip(number, true)?;
    turns.wait(number + 1);
    sender.finish().map_err(status)?;
    turns.sent();
    if job.traits.says_end && receiver.recv().map_err(status)?.is_some() {
        return Err(Status::Failed("an answer came after the last one".to_owned()));
    }
    Ok(Asked { count: number - warm_up, nanos: nanos(elapsed), trips: trips(&times), cost })
}

/// A round trip: the end that answers.
fn answer<S: Sender, R: Receiver>(
    job: Job,
    to_receive: impl FnOnce() -> common::Result<R>,
    to_answer: impl FnOnce() -> common::Result<S>,
    turns: Turns,
) -> Word<Cost> {
    let mut buffer = job.form.buffer();
    let memory = memory_kib();
    let mut receiver = to_receive().map_err(status)?;
    let mut to_answer = Some(to_answer);
    let mut sender = None;
    let warm_up = job.pace.warm_up();
    let mut before = Usage::now();
    let (mut cost, mut last) = (Cost::default(), 0);
    for number in 0.. {
        let Some(message) = receiver.recv().map_err(status)? else {
            return Err(Status::Failed(format!("the end came where message {number} was due")));
        };
        let seen = job.form.check(black_box(message), number, false).map_err(failed)?;
        if seen.last {
            cost = Usage::now().since(&before, memory);
        }
        // A FIFO is open at either end or at none: this end opens the second one when it has heard from the first.
        if let Some(to_answer) = to_answer.take() {
            sender = Some(to_answer().map_err(status)?);
        }
        let Some(sender) = &mut sender else { continue };
        job.form.write(&mut buffer, number, seen.last);
        turns.wait(number + 1);
        sender.send(&buffer).map_err(status)?;
        turns.sent();
        if number + 1 == warm_up {
            before = Usage::now();
        }
        if seen.last {
            last = number;
            break;
        }
    }
    if job.traits.says_end && receiver.recv().map_err(status)?.is_some() {
        return Err(Status::Failed("a message came after the last one".to_owned()));
    }
    turns.wait(last + 2);
    if let Some(sender) = sender {
        sender.finish().map_err(status)?;
    }
    Ok(cost)
}

impl Pace {
    fn warm_up(&self) -> u64 {
        match self {
            Pace::Count { warm_up, .. } => (*warm_up).max(1),
            Pace::For(_) => 1,
        }
    }

    #[inline]
    fn is_over(&self, number: u64, start: Instant) -> bool {
        match self {
            Pace::Count { warm_up, count } => number >= (*warm_up).max(1) + (*count).max(1),
            Pace::For(time) => number > 1 && start.elapsed() >= *time,
        }
    }
}

fn trips(times: &Histogram<u64>) -> Trips {
    Trips {
        count: times.len(),
        min: times.min(),
        p50: times.value_at_quantile(0.5),
        p90: times.value_at_quantile(0.9),
        p99: times.value_at_quantile(0.99),
        p999: times.value_at_quantile(0.999),
        max: times.max(),
        histogram: times.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect(),
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Where messages may be lost, an end that says how many were is an end like any other: the rows count them.
fn unless_lost<T>(job: Job, said: common::Result<T>, end: T) -> Word<T> {
    match said {
        Err(common::Error::Lost { .. }) if job.traits.may_lose => Ok(end),
        other => other.map_err(status),
    }
}

fn status(error: common::Error) -> Status {
    match error {
        common::Error::Unsupported(why) => Status::Unsupported(why),
        other => Status::Failed(other.to_string()),
    }
}

fn failed(error: impl ToString) -> Status {
    Status::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Verify;

    /// It loses one of its messages, and says so as UDP's sender does.
    struct Leaky(u64);

    impl Sender for Leaky {
        fn send(&mut self, _: &[u8]) -> common::Result<()> {
            self.0 += 1;
            Ok(())
        }

        fn finish(self) -> common::Result<()> {
            Err(common::Error::Lost { lost: 1, of: self.0, hint: None })
        }
    }

    #[test]
    fn a_loss_is_a_failure_only_where_nothing_may_be_lost() {
        for may_lose in [true, false] {
            let job = Job {
                measure: Measure::Throughput,
                form: Form::new(64, Verify::Page),
                place: Place::Free,
                pace: Pace::Count { warm_up: 1, count: 9 },
                limit: Duration::MAX,
                traits: Traits { may_lose, ..Traits::default() },
            };
            let given = give(job, || Ok(Leaky(0)));
            assert_eq!(given.is_ok(), may_lose);
        }
    }
}
