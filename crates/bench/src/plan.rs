//! What is to be measured, and how long each measurement may take.

use std::time::Duration;

use crate::args::{Args, Twins};
use crate::peers;
use crate::results::{Kind, Measure, Place, Row, Source, Status, Wait};
use crate::source;
use crate::twins;

/// Bytes in a message of a round trip.
const TRIP_SIZES: [usize; 3] = [64, 1 << 10, 64 << 10];
/// Bytes in a message of one way.
const WAY_SIZES: [usize; 5] = [64, 1 << 10, 4 << 10, 64 << 10, 1 << 20];

/// Every row, still without rounds. A technique and its twin are neighbours.
///
/// # Errors
/// Where a name is no technique's.
pub fn rows(args: &Args) -> Result<Vec<Row>, String> {
    let known = sources(args);
    if let Some(name) = args.techniques.iter().find(|name| !known.iter().any(|(known, _)| known == name)) {
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        return Err(format!("no technique is called {name:?}; there are: {}", names.join(" ")));
    }
    let wanted = |name: &str| args.techniques.is_empty() || args.techniques.iter().any(|wanted| wanted == name);
    let names: Vec<_> = known.into_iter().filter(|(name, _)| wanted(name)).collect();
    let mut rows = Vec::new();
    for place in once(&args.place) {
        for wait in once(&args.wait) {
            for measure in [Measure::RoundTrip, Measure::Throughput] {
                if args.only.is_some_and(|only| only != measure) {
                    continue;
                }
                for (name, kinds) in &names {
                    for size in once(sizes(args, measure)) {
                        rows.extend(kinds.iter().map(|&kind| row(kind, name, measure, size, place, wait)));
                    }
                }
            }
        }
    }
    Ok(rows)
}

/// Every name, and what of that name is measured.
fn sources(args: &Args) -> Vec<(&'static str, &'static [Kind])> {
    let techniques = |kinds| catalog::TECHNIQUES.iter().map(move |technique| (technique.name, kinds));
    let peers = peers::PEERS.iter().map(|peer| (peer.name, &[Kind::Peer][..]));
    match args.twins {
        Twins::Beside => techniques(&[Kind::Technique, Kind::Twin][..]).chain(peers).collect(),
        Twins::None => techniques(&[Kind::Technique][..]).chain(peers).collect(),
        Twins::Only => twins::NAMES.iter().map(|&name| (name, &[Kind::Twin][..])).collect(),
    }
}

/// Each of them once, however often it was named.
fn once<T: Copy + PartialEq>(named: &[T]) -> Vec<T> {
    let mut once = Vec::new();
    for &one in named {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

fn sizes(args: &Args, measure: Measure) -> &[usize] {
    match measure {
        _ if !args.sizes.is_empty() => &args.sizes,
        Measure::RoundTrip => &TRIP_SIZES,
        Measure::Throughput => &WAY_SIZES,
    }
}

fn row(kind: Kind, name: &str, measure: Measure, size: usize, place: Place, wait: Wait) -> Row {
    let source = Source { kind, name: name.to_owned() };
    let status = source::refusal(&source, measure, size, wait).unwrap_or(Status::Measured);
    let note = source::note(&source, measure).map(str::to_owned);
    Row { source, measure, size, place, wait, rounds: Vec::new(), status, note }
}

/// How the time is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// How often each row is measured.
    pub rounds: u32,
    /// For rows of round trips, where much is to be learned from many.
    pub trip: Share,
    /// For rows of one way.
    pub way: Share,
    /// For one figure of the machine, in each round.
    pub machine: Duration,
}

/// The time of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// For all that concerns it.
    pub all: Duration,
    /// For finding out how fast it is.
    pub calibration: Duration,
    /// For one measurement.
    pub round: Duration,
}

/// To fork two processes, let them find each other, and reap them.
const SETUP: Duration = Duration::from_millis(4);
/// Less says nothing.
const LEAST: Duration = Duration::from_millis(1);
/// For one figure of the machine, in a round; more does not make it better.
const MACHINE: Duration = Duration::from_millis(20);

impl Budget {
    /// Divides `seconds` among so many rows of round trips and of one way, and the figures of the machine.
    pub fn new(seconds: f64, trips: usize, ways: usize, figures: usize) -> Budget {
        let shares = (2 * trips + ways) as f64;
        // The machine's figures are cheap beside many rows. Beside a few they get less time each, and then fewer rounds.
        let machine = |rounds: u32| {
            let each = 0.2 * seconds / f64::from(rounds) / figures.max(1) as f64;
            let time = MACHINE.min(Duration::from_secs_f64(each).saturating_sub(SETUP)).max(LEAST);
            (time, (time + SETUP).as_secs_f64() * f64::from(rounds) * figures as f64)
        };
        let mut rounds = match (seconds * 1000.0 / shares) as u64 {
            _ if shares == 0.0 => 1,
            0..30 => 1,
            30..95 => 3,
            95..1000 => 5,
            more => ((more / 200) as u32 | 1).min(31),
        };
        while rounds > 1 && machine(rounds).1 > 0.25 * seconds {
            rounds -= 2;
        }
        let (machine, spent) = machine(rounds);
        let one = (seconds - spent).max(0.5 * seconds) / shares.max(1.0);
        let (trip, way) = (Duration::from_secs_f64(2.0 * one), Duration::from_secs_f64(one));
        Budget { rounds, trip: Share::new(trip, rounds), way: Share::new(way, rounds), machine }
    }

    /// The time of a row.
    pub fn share(&self, row: &Row) -> Share {
        match row.measure {
            Measure::RoundTrip => self.trip,
            Measure::Throughput => self.way,
        }
    }
}

impl Share {
    fn new(all: Duration, rounds: u32) -> Share {
        let calibration = (all / 10).clamp(LEAST, Duration::from_millis(20));
        let round = (all.saturating_sub(calibration + SETUP) / rounds).saturating_sub(SETUP).max(LEAST);
        Share { all, calibration, round }
    }

    /// What a measurement that took so long costs the row. One during which the machine was disturbed must not cost it all
    /// the others: then it would be the row's only figure.
    pub fn cost(&self, took: Duration) -> Duration {
        took.min(4 * self.round)
    }

    /// What a row can spend: what is slow has fewer rounds rather than all the time of the others.
    pub fn purse(&self) -> Duration {
        2 * self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_fit_into_the_time() {
        for (seconds, trips, ways) in [(90.0, 120, 190), (600.0, 120, 190), (30.0, 8, 8), (10.0, 1, 0), (5.0, 0, 2)] {
            let budget = Budget::new(seconds, trips, ways, 16);
            for share in [budget.trip, budget.way] {
                let all = (share.round + SETUP) * budget.rounds + share.calibration + SETUP;
                assert!(all <= share.all && all > share.all * 9 / 10, "{budget:?} takes {all:?}");
            }
            let rows = budget.trip.all * trips as u32 + budget.way.all * ways as u32;
            let all = rows + (budget.machine + SETUP) * budget.rounds * 16;
            assert!(all.as_secs_f64() <= seconds, "{budget:?} takes {all:?}");
            assert!(budget.rounds % 2 == 1, "a median of {} rounds is one of them", budget.rounds);
        }
    }

    #[test]
    fn a_disturbed_round_leaves_time_for_the_others() {
        for seconds in [30.0, 90.0, 1800.0] {
            let budget = Budget::new(seconds, 120, 190, 16);
            for share in [budget.trip, budget.way] {
                let left = share.purse() - share.calibration - share.cost(Duration::from_secs(20));
                assert!(left >= (share.round + SETUP) * (budget.rounds - 1), "{budget:?}");
            }
        }
    }

    #[test]
    fn the_shortest_run_measures_everything_once() {
        let budget = Budget::new(1.0, 120, 190, 16);
        assert_eq!((budget.rounds, budget.trip.round, budget.way.round), (1, LEAST, LEAST));
    }

    #[test]
    fn where_nothing_is_measured_the_machine_is_looked_at_once() {
        let budget = Budget::new(90.0, 0, 0, 16);
        assert_eq!((budget.rounds, budget.machine), (1, MACHINE));
    }
}
