//! The measurements, one after the other.
//!
//! Rounds are the outer loop: whatever disturbs the machine for a while then disturbs one round of many rows and not
//! all rounds of a few, and the median over the rounds does not see it. Within a round a technique and its twin come
//! one after the other, so that the ratio of the two is taken within the same moment; in the next round in the opposite
//! order, for who comes second was up to two per cent faster.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::signal::Signal;

use crate::hardware;
use crate::message::{Form, Verify};
use crate::plan::Budget;
use crate::processes::Failure;
use crate::results::{Hardware, Measure, Round, Row, Status};
use crate::source::{self, Maker};
use crate::worker::{Job, Pace, Traits};

/// No measurement takes longer than this, or than four times the time that it was planned to take, by far; what does is stuck.
const LIMIT: Duration = Duration::from_secs(20);

/// Measures all rows and the hardware.
///
/// # Errors
/// The signal that ended the run.
pub fn run(rows: &mut [Row], seconds: f64, verify: Verify, dir: &Path) -> Result<Vec<Hardware>, Signal> {
    let of = |measure| rows.iter().filter(|row| row.status == Status::Measured && row.measure == measure).count();
    let (trips, ways) = (of(Measure::RoundTrip), of(Measure::Throughput));
    let mut hardware = hardware::rows(rows);
    let budget = Budget::new(seconds, trips, ways, hardware.len());
    let run = Run { budget, verify, maker: Maker { dir, number: Cell::new(0) } };
    let bar = bar((trips + ways) as u64 * u64::from(budget.rounds + 1));
    let mut paces = vec![None; rows.len()];
    for (row, pace) in rows.iter_mut().zip(&mut paces).filter(|(row, _)| row.status == Status::Measured) {
        bar.set_message(format!("how fast is {}?", row.source));
        *pace = run.calibrate(row)?;
        bar.inc(1);
    }
    let mut turns: Vec<_> = rows.iter_mut().zip(&mut paces).collect();
    for round in 1..=budget.rounds {
        if round > 1 && turns.iter().all(|(_, pace)| pace.is_none()) {
            break;
        }
        bar.set_message(format!("round {round} of {}: the machine", budget.rounds));
        hardware::round(&mut hardware, budget.machine, verify)?;
        for (row, pace) in turns.iter_mut().filter(|(row, _)| row.status == Status::Measured) {
            bar.set_message(format!("round {round} of {}: {}, {}", budget.rounds, row.source, row.measure));
            if let Some(pace) = pace {
                run.round(row, pace, round)?;
            }
            bar.inc(1);
        }
        turns.reverse();
    }
    bar.finish_and_clear();
    Ok(hardware)
}

struct Run<'a> {
    budget: Budget,
    verify: Verify,
    maker: Maker<'a>,
}

/// How a row is measured.
#[derive(Clone, Copy)]
struct Pacing {
    pace: Pace,
    /// Time that it has.
    left: Duration,
}

impl Run<'_> {
    /// Finds out how many messages take as long as a round; `None` where there is nothing more to measure.
    fn calibrate(&self, row: &mut Row) -> Result<Option<Pacing>, Signal> {
        let (start, share) = (Instant::now(), self.budget.share(row));
        let Some(round) = self.attempt(row, Pace::For(share.calibration))? else { return Ok(None) };
        let units = match row.measure {
            Measure::RoundTrip => round.messages / 2,
            Measure::Throughput => round.messages,
        };
        let each = (round.nanos as f64 / units.max(1) as f64).max(1.0);
        let count = (share.round.as_nanos() as f64 / each * 0.9) as u64;
        if count == 0 {
            // So slow that to find out was to measure it.
            row.rounds.push(round);
            return Ok(None);
        }
        let count = count.min(source::most(&row.source, row.size));
        let pace = Pace::Count { warm_up: (count / 10).max(1), count: (count - count / 10).max(1) };
        Ok(Some(Pacing { pace, left: share.purse().saturating_sub(start.elapsed()) }))
    }

    /// One round of one row, while it has time; it always has for the first.
    fn round(&self, row: &mut Row, plan: &mut Pacing, number: u32) -> Result<(), Signal> {
        if plan.left.is_zero() && !row.rounds.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        if let Some(round) = self.attempt(row, plan.pace)? {
            row.rounds.push(Round { number, ..round });
        }
        plan.left = plan.left.saturating_sub(self.budget.share(row).cost(start.elapsed()));
        Ok(())
    }

    /// One measurement, or the row says why not.
    fn attempt(&self, row: &mut Row, pace: Pace) -> Result<Option<Round>, Signal> {
        let job = Job {
            measure: row.measure,
            form: Form::new(row.size, self.verify),
            place: row.place,
            pace,
            limit: LIMIT.max(4 * self.budget.share(row).round),
            traits: Traits::default(),
        };
        match source::measure(&row.source, row.wait, job, &self.maker) {
            Ok(round) => Ok(Some(round)),
            Err(Failure::Signal(signal)) => Err(signal),
            Err(Failure::Row(status)) => {
                row.status = status;
                Ok(None)
            }
        }
    }
}

fn bar(len: u64) -> ProgressBar {
    let bar = ProgressBar::new(len);
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {elapsed} of about {duration}  {wide_msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
