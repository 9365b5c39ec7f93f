//! Workers, and a channel from each to the parent.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use std::{io, iter};

use catalog::{Ends, Job};
use common::{Context, Error, Folder, Receiver, Result, Sender, Technique};

use crate::crew::Crew;
use crate::range::Range;

/// What a worker was given, and what became of it.
pub struct Part {
    pub range: Range,
    pub pid: i32,
    /// As the worker has said; `None` where it had no way to say it.
    pub result: Option<(u128, Duration)>,
}

/// The sums of all workers, through a technique.
pub struct Collect<'a> {
    pub shares: &'a [Range],
    /// No word about a signal that ends this process.
    pub quiet: bool,
}

impl Job for Collect<'_> {
    type Output = Result<Vec<Part>>;

    fn run<S: Sender, R: Receiver, ToSend: FnOnce() -> Result<S>, ToReceive: FnOnce() -> Result<R>>(
        self,
        technique: &'static Technique,
        channel: impl Fn(&Ends) -> Result<(ToSend, ToReceive)>,
    ) -> Self::Output {
        let folder = Folder::new()?;
        let mut parts = Vec::new();
        let mut receivers = VecDeque::new();
        // Last, and so dropped first: where this fails, the workers are ended while their channels are still open, or
        // they would complain of that.
        let mut crew = Crew::default();
        for (number, range) in self.shares.iter().copied().enumerate() {
            let mut ends = Ends::private(technique, folder.path(), number as u32);
            ends.receiver.end_waits_after(crew.hopeless(number));
            let (to_send, to_receive) = channel(&ends)?;
            receivers.push_back(to_receive);
            let pid = crew.start(|| {
                // fork(2) has copied the parent's ends of all channels so far. While a copy is open somewhere, nobody
                // is told that the end is closed.
                receivers.clear();
                work(number, range, to_send)
            })?;
            parts.push(Part { range, pid: pid.as_raw(), result: None });
        }
        crew.complete(self.quiet)?;
        // One channel at a time: ten message queues at once are more than the kernel grants a user, and standard
        // signals of ten workers at once would merge. A worker that is done before its turn waits for its receiver.
        let in_turn = iter::from_fn(|| receivers.pop_front());
        for (number, (part, to_receive)) in parts.iter_mut().zip(in_turn).enumerate() {
            part.result = Some(receive(number, to_receive).map_err(|error| crew.explain(number, error))?);
            // Not before it has ended has it let go of its end, and with it of the kernel's object.
            crew.wait(number)?;
        }
        Ok(parts)
    }
}

/// A worker's life: add, and tell.
fn work<S: Sender>(number: usize, range: Range, to_send: impl FnOnce() -> Result<S>) -> Result<()> {
    let begin = Instant::now();
    let sum = range.sum();
    let text = format!("{number} {sum} {}", begin.elapsed().as_nanos());
    let mut sender = to_send()?;
    sender.send(text.as_bytes())?;
    sender.finish()
}

/// Waits for what a worker tells: one message, and the end.
fn receive<R: Receiver>(number: usize, to_receive: impl FnOnce() -> Result<R>) -> Result<(u128, Duration)> {
    let mut receiver = to_receive()?;
    let told = receiver.recv()?.and_then(|message| parse(number, message));
    match (told, receiver.recv()?) {
        (Some(result), None) => Ok(result),
        _ => Err(io::Error::from(io::ErrorKind::InvalidData)).doing(format!("what worker {} says", number + 1)),
    }
}

fn parse(number: usize, message: &[u8]) -> Option<(u128, Duration)> {
    let mut words = str::from_utf8(message).ok()?.split(' ');
    let is_its = words.next()?.parse() == Ok(number);
    let (sum, nanos) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (is_its && words.next().is_none()).then_some((sum, Duration::from_nanos(nanos)))
}

/// The same without a channel: each worker adds its sum to `total`, and `total` is what the parent then has.
pub fn without(shares: &[Range]) -> Result<(Vec<Part>, u128)> {
    let total = Cell::new(0);
    let mut crew = Crew::default();
    let start = |range: &Range| {
        let pid = crew.start(|| {
            // In the worker's own copy of the variable: after fork(2) memory is not shared.
            total.set(total.get() + range.sum());
            Ok(())
        })?;
        Ok(Part { range: *range, pid: pid.as_raw(), result: None })
    };
    let parts = shares.iter().map(start).collect::<Result<_, Error>>()?;
    crew.complete(false)?;
    crew.wait_for_all()?;
    Ok((parts, total.get()))
}
