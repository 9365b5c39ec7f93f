//! What a run found out: plain data that the table, the files, the comparison and any report are made from.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::message::Verify;

/// Changes when a field does.
pub const VERSION: u32 = 2;

/// Everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// [`VERSION`].
    pub version: u32,
    /// Where.
    pub machine: Machine,
    /// The command line.
    pub command: Vec<String>,
    /// Seconds since 1970-01-01 UTC at the start.
    pub started: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Processes that wanted to run in the minute before, on average.
    pub load: f64,
    /// How messages were checked.
    pub verify: Verify,
    /// What no technique can beat, and what a measurement itself costs.
    pub hardware: Vec<Hardware>,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// The machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// As /proc/cpuinfo names it.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: Vec<usize>,
    /// Those of them that two processes on two cores get.
    pub pair: Option<(usize, usize)>,
    /// `uname -sr`.
    pub kernel: String,
    /// Runs on a hypervisor, whose name this is where it tells.
    pub hypervisor: Option<String>,
    /// MiB of memory.
    pub memory_mib: u64,
    /// Built without optimisation: the figures mean nothing.
    pub debug_build: bool,
}

impl Machine {
    /// The first thing in which the two differ: what it is, here and there.
    pub fn difference(&self, other: &Machine) -> Option<(&'static str, String, String)> {
        let hypervisor = |machine: &Machine| machine.hypervisor.clone().unwrap_or_else(|| "none".to_owned());
        let pair = |machine: &Machine| machine.pair.map_or("none".to_owned(), |(one, two)| format!("{one} and {two}"));
        let words = |machine: &Machine| {
            [
                ("CPU", machine.cpu.clone()),
                ("kernel", machine.kernel.clone()),
                ("hypervisor", hypervisor(machine)),
                ("cores", format!("{:?}", machine.cores)),
                ("the two cores", pair(machine)),
                ("MiB of memory", machine.memory_mib.to_string()),
                ("built without optimisation", machine.debug_build.to_string()),
            ]
        };
        let mut both = words(self).into_iter().zip(words(other));
        both.find(|((_, here), (_, there))| here != there).map(|((what, here), (_, there))| (what, here, there))
    }
}

/// A figure of the machine: nanoseconds, one for each round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hardware {
    /// What was done.
    pub what: Limit,
    /// Bytes, where it is about bytes.
    pub size: Option<usize>,
    /// Nanoseconds for one, in each round.
    pub nanos: Vec<f64>,
    /// Why there are none.
    pub reason: Option<String>,
}

/// What the machine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// A cache line goes to another core and comes back.
    CacheLine,
    /// The same with a look at the clock before and behind, as at each round trip: both wait until all else is done.
    TimedLine,
    /// One process wakes another with futex(2), which wakes it.
    Futex,
    /// A copy of so many bytes within the cache.
    CopyCache,
    /// A copy of so many bytes out of memory.
    CopyMemory,
    /// A system call that does nothing.
    SystemCall,
    /// Reading the clock.
    Clock,
    /// Making a message of so many bytes and checking it.
    Verify,
}

/// One thing measured in one way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub source: Source,
    /// How.
    pub measure: Measure,
    /// Bytes in a message.
    pub size: usize,
    /// Where the two processes run.
    pub place: Place,
    /// What they do while there is nothing.
    pub wait: Wait,
    /// The rounds, in the order of time. A technique's and its twin's of one [`number`](Round::number) were neighbours.
    pub rounds: Vec<Round>,
    /// Why there are no rounds, or no more of them.
    pub status: Status,
    /// What is special about it.
    pub note: Option<String>,
}

/// Who carries the messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// What kind of thing it is.
    pub kind: Kind,
    /// The technique, for its twin as well; or the library.
    pub name: String,
}

/// What kind of thing carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A technique of this workspace.
    Technique,
    /// The plainest loop of the same system calls.
    Twin,
    /// A library of somebody else's.
    Peer,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// There and back over two channels, one message at a time.
    RoundTrip,
    /// One way, as fast as it goes.
    Throughput,
}

/// Where the two processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Each on a core of its own.
    Apart,
    /// Both on one core.
    Together,
    /// Where the kernel puts them.
    Free,
}

/// What a process does while there is nothing to take or no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wait {
    /// It sleeps in the kernel.
    Block,
    /// It looks again.
    Spin,
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was measured.
    Measured,
    /// It is not what the technique does: nothing is wrong.
    Skipped(String),
    /// This machine does not offer it.
    Unsupported(String),
    /// Something went wrong.
    Failed(String),
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Which of the run's rounds it was; 0 is the one that found out how fast the row is. Several runs that were joined
    /// count on.
    pub number: u32,
    /// Messages that arrived in the time; a round trip is two.
    pub messages: u64,
    /// Messages that were sent in the time and did not arrive.
    pub lost: u64,
    /// Nanoseconds from the first message to the last, by the receiver's clock.
    pub nanos: u64,
    /// Each round trip.
    pub trips: Option<Trips>,
    /// What it cost the sender, then the receiver; of a round trip, the one that begins, then the one that answers.
    pub ends: [Cost; 2],
}

/// What a measurement cost one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// CPU time of all its threads, in nanoseconds.
    pub cpu_nanos: u64,
    /// How often it went to sleep.
    pub sleeps: u64,
    /// How often it was put off its core.
    pub preemptions: u64,
    /// KiB of memory that it had more at the end than before it made the channel.
    pub memory_kib: u64,
}

/// The round trips of a round, in nanoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trips {
    /// How many.
    pub count: u64,
    /// The fastest.
    pub min: u64,
    /// Half of them took no longer.
    pub p50: u64,
    /// 90 of 100 took no longer.
    pub p90: u64,
    /// 99 of 100 took no longer.
    pub p99: u64,
    /// 999 of 1000 took no longer.
    pub p999: u64,
    /// The slowest.
    pub max: u64,
    /// Every one of them: how long, to three digits, and how many took so long.
    pub histogram: Vec<(u64, u64)>,
}

impl Round {
    /// Messages per second.
    pub fn per_second(&self) -> f64 {
        self.messages as f64 * 1e9 / self.nanos.max(1) as f64
    }

    /// CPU time of both ends per message, in nanoseconds.
    pub fn cpu(&self) -> f64 {
        self.each(|cost| cost.cpu_nanos)
    }

    /// Voluntary context switches of both ends per message.
    pub fn sleeps(&self) -> f64 {
        self.each(|cost| cost.sleeps)
    }

    /// KiB of memory of both ends.
    pub fn memory_kib(&self) -> u64 {
        self.ends.iter().map(|cost| cost.memory_kib).sum()
    }

    fn each(&self, of: impl Fn(&Cost) -> u64) -> f64 {
        self.ends.iter().map(of).sum::<u64>() as f64 / self.messages.max(1) as f64
    }
}

impl Row {
    /// It has figures that mean something: what failed in one of its rounds has none.
    pub fn is_measured(&self) -> bool {
        self.status == Status::Measured && !self.rounds.is_empty()
    }

    /// The one figure of each round: nanoseconds of the median round trip, or nanoseconds per message. Less is
    /// better. None where it was not [measured](Row::is_measured).
    pub fn figures(&self) -> Vec<f64> {
        let rounds = self.rounds.iter().filter(|_| self.is_measured());
        rounds.map(|round| figure(self.measure, round)).collect()
    }

    /// The figures over those of `below`, which were taken in the same rounds.
    fn ratios(&self, below: &Row) -> Vec<f64> {
        let below: HashMap<u32, f64> = below.rounds.iter().map(|round| round.number).zip(below.figures()).collect();
        let numbers = self.rounds.iter().map(|round| round.number);
        numbers.zip(self.figures()).filter_map(|(number, above)| Some(above / below.get(&number)?)).collect()
    }

    /// Nanoseconds within which `part` (as in 0.99) of the round trips of all rounds were back; `None` where fewer than
    /// five took longer, for then it would be a matter of chance.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let rounds = || self.rounds.iter().filter_map(|round| round.trips.as_ref());
        let count: u64 = rounds().map(|trips| trips.count).sum();
        let mut steps: Vec<(u64, u64)> = rounds().flat_map(|trips| &trips.histogram).copied().collect();
        steps.sort_unstable();
        let within = (count as f64 * part).ceil() as u64;
        let mut seen = 0;
        let (nanos, _) = steps.into_iter().find(|(_, count)| {
            seen += count;
            seen >= within
        })?;
        (count - within >= 5).then_some(nanos)
    }

    /// Does `other` tell of the same thing, measured in the same way?
    pub fn is_same(&self, other: &Row) -> bool {
        self.source == other.source && self.is_alike(other)
    }

    /// Was `other` measured in the same way?
    pub fn is_alike(&self, other: &Row) -> bool {
        (self.measure, self.size, self.place, self.wait) == (other.measure, other.size, other.place, other.wait)
    }
}

fn figure(measure: Measure, round: &Round) -> f64 {
    match (measure, &round.trips) {
        (Measure::RoundTrip, Some(trips)) => trips.p50 as f64,
        _ => round.nanos as f64 / round.messages.max(1) as f64,
    }
}

impl Results {
    /// The bare twin of a technique's row.
    pub fn twin(&self, row: &Row) -> Option<&Row> {
        let twin = Source { kind: Kind::Twin, ..row.source.clone() };
        self.rows.iter().find(|other| other.source == twin && other.is_alike(row))
    }

    /// How many times its twin's time a row takes: the ratios of neighbouring rounds.
    pub fn against_twin(&self, row: &Row) -> Option<Spread> {
        Spread::of(&row.ratios(self.twin(row)?))
    }

    /// How many times the time that no technique can beat.
    pub fn against_bound(&self, row: &Row) -> Option<f64> {
        Some(Spread::of(&row.figures())?.median / self.bound(row)?)
    }

    /// The best that the machine did in any round, in nanoseconds.
    pub fn limit(&self, what: Limit, size: Option<usize>) -> Option<f64> {
        let found = self.hardware.iter().find(|hardware| hardware.what == what && hardware.size == size)?;
        Spread::of(&found.nanos).map(|spread| spread.min)
    }

    /// What no technique that copies can beat, in nanoseconds: a copy of the message within the cache; for a round
    /// trip, one each way, and a cache line that goes there and back, which is timed as the trip is. On one core there is no
    /// other to which a line could go, and what it takes at least to change processes is not known.
    pub fn bound(&self, row: &Row) -> Option<f64> {
        let copy = self.limit(Limit::CopyCache, Some(row.size))?;
        match (row.measure, row.place) {
            (Measure::Throughput, _) => Some(copy),
            (Measure::RoundTrip, Place::Together) => None,
            (Measure::RoundTrip, _) => Some(2.0 * copy + self.limit(Limit::TimedLine, None)?),
        }
    }
}

/// A figure over rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// `None` where there are no values.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Spread { min, median, max })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Twin => write!(f, "the twin of {}", self.name),
            Kind::Technique | Kind::Peer => f.write_str(&self.name),
        }
    }
}

macro_rules! words {
    ($($kind:ident { $($variant:ident => $word:literal),+ $(,)? })+) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($kind::$variant => $word),+ })
            }
        }
    )+};
}

words! {
    Kind { Technique => "technique", Twin => "twin", Peer => "peer" }
    Measure { RoundTrip => "round-trip", Throughput => "throughput" }
    Place { Apart => "apart", Together => "together", Free => "free" }
    Wait { Block => "block", Spin => "spin" }
    Limit {
        CacheLine => "cache-line", TimedLine => "timed-line", Futex => "futex", CopyCache => "copy-cache",
        CopyMemory => "copy-memory", SystemCall => "system-call", Clock => "clock", Verify => "verify",
    }
}

/// Rows and runs for tests.
#[cfg(test)]
pub mod samples {
    use super::*;

    /// A row of `pipe`, or its twin, with messages of 64 B.
    pub fn row(kind: Kind, measure: Measure, rounds: Vec<Round>) -> Row {
        Row {
            source: Source { kind, name: "pipe".to_owned() },
            measure,
            size: 64,
            place: Place::Apart,
            wait: Wait::Block,
            rounds,
            status: Status::Measured,
            note: None,
        }
    }

    /// One way: each round's number, and nanoseconds for each message.
    pub fn ways(kind: Kind, rounds: &[(u32, u64)]) -> Row {
        let ends = [Cost::default(); 2];
        let round = |&(number, nanos): &(u32, u64)| Round { number, messages: 1, lost: 0, nanos, trips: None, ends };
        row(kind, Measure::Throughput, rounds.iter().map(round).collect())
    }

    /// A run that has these rows.
    pub fn results(rows: Vec<Row>) -> Results {
        Results {
            version: VERSION,
            machine: Machine::default(),
            command: vec!["ipc-bench".to_owned()],
            started: 0,
            seconds: 1.0,
            load: 0.0,
            verify: Verify::Page,
            hardware: Vec::new(),
            rows,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{row, ways};
    use super::*;

    fn trips(histogram: &[(u64, u64)]) -> Round {
        let count = histogram.iter().map(|(_, count)| count).sum();
        let trips = Trips { count, min: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0, histogram: histogram.to_vec() };
        Round { number: 1, messages: 2 * count, lost: 0, nanos: 1, trips: Some(trips), ends: [Cost::default(); 2] }
    }

    #[test]
    fn a_quantile_is_of_all_rounds_together() {
        let rounds = vec![trips(&[(10, 90), (1000, 10)]), trips(&[(10, 80), (20, 20)])];
        let row = row(Kind::Technique, Measure::RoundTrip, rounds);
        assert_eq!([0.5, 0.85, 0.9, 0.95].map(|part| row.quantile(part)), [Some(10), Some(10), Some(20), Some(20)]);
        assert_eq!(row.quantile(0.96), Some(1000));
        assert_eq!(row.quantile(0.99), None, "two are too few");
    }

    #[test]
    fn ratios_are_of_neighbours() {
        let technique = ways(Kind::Technique, &[(1, 10), (2, 40), (3, 90), (5, 7)]);
        let mut twin = ways(Kind::Twin, &[(1, 10), (3, 30), (2, 20), (4, 1)]);
        assert_eq!(technique.ratios(&twin), [1.0, 2.0, 3.0]);
        twin.status = Status::Failed("one of its rounds".to_owned());
        assert!(technique.ratios(&twin).is_empty());
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[4.0, 1.0]).unwrap().median, 2.5);
    }
}
