//! The measurements, one after the other.
//!
//! Rounds are the outer loop: whatever disturbs the machine for a while then disturbs one round of many rows and not
//! all rounds of a few, and the median over the rounds does not see it. Within a round a technique and its twin come
//! one after the other, so that the ratio of the two is taken within the same moment.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::signal::Signal;

use crate::hardware;
use crate::message::{Form, Verify};
use crate::plan::Budget;
use crate::processes::Failure;
use crate::results::{Hardware, Measure, Row, Status};
use crate::source::{self, Maker};
use crate::worker::{Job, Pace, Traits};

/// Measures all rows and the hardware.
///
/// # Errors
/// The signal that ended the run.
pub fn run(rows: &mut [Row], seconds: f64, verify: Verify, dir: &Path) -> Result<Vec<Hardware>, Signal> {
    let live = rows.iter().filter(|row| row.status == Status::Measured).count();
    let budget = Budget::new(seconds, live);
    let maker = Maker { dir, number: Cell::new(0) };
    let bar = bar(live as u64 * u64::from(budget.rounds + 1));

    let mut hardware = hardware::rows(rows);
    let mut paces: Vec<Option<(Pace, Duration)>> = Vec::new();
    for row in &mut *rows {
        paces.push(if row.status == Status::Measured {
            bar.set_message(format!("how fast is {} {}?", row.source.name, row.source.kind));
            let pace = calibrate(row, &budget, verify, &maker)?;
            bar.inc(1);
            pace
        } else {
            None
        });
    }
    for round in 1..=budget.rounds {
        bar.set_message(format!("round {round} of {}: the machine", budget.rounds));
        hardware::round(&mut hardware, budget.round, verify)?;
        for (row, pace) in rows.iter_mut().zip(&mut paces) {
            if row.status == Status::Measured {
                bar.set_message(format!(
                    "round {round} of {}: {} {} {}",
                    budget.rounds, row.source.name, row.source.kind, row.measure
                ));
                if let Some((pace, left)) = pace {
                    one(row, *pace, left, verify, &maker)?;
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(hardware)
}

/// Finds out how many messages take as long as a round, and how much time the row has.
fn calibrate(
    row: &mut Row,
    budget: &Budget,
    verify: Verify,
    maker: &Maker<'_>,
) -> Result<Option<(Pace, Duration)>, Signal> {
    let start = Instant::now();
    let Some(round) = attempt(row, Pace::For(budget.calibration), verify, maker)? else { return Ok(None) };
    let units = match row.measure {
        Measure::RoundTrip => round.messages / 2,
        Measure::Throughput => round.messages,
    };
    let each = (round.nanos as f64 / units.max(1) as f64).max(1.0);
    let count = (budget.round.as_nanos() as f64 / each * 0.9) as u64;
    if count == 0 {
        // So slow that to find out was to measure it.
        row.rounds.push(round);
        return Ok(None);
    }
    let most = source::most(&row.source, row.size);
    let count = count.min(most);
    let pace = Pace::Count { warm_up: (count / 10).max(1), count: (count - count / 10).max(1) };
    // What is slow has fewer rounds rather than all the time of the others.
    Ok(Some((pace, (budget.row * 2).saturating_sub(start.elapsed()))))
}

/// One round of one row, while it has time `left`; it always has for the first.
fn one(row: &mut Row, pace: Pace, left: &mut Duration, verify: Verify, maker: &Maker<'_>) -> Result<(), Signal> {
    if left.is_zero() && !row.rounds.is_empty() {
        return Ok(());
    }
    let start = Instant::now();
    if let Some(round) = attempt(row, pace, verify, maker)? {
        row.rounds.push(round);
    }
    *left = left.saturating_sub(start.elapsed());
    Ok(())
}

/// One measurement, or why not.
fn attempt(
    row: &mut Row,
    pace: Pace,
    verify: Verify,
    maker: &Maker<'_>,
) -> Result<Option<crate::results::Round>, Signal> {
    let job = Job {
        measure: row.measure,
        form: Form::new(row.size, verify),
        place: row.place,
        pace,
        limit: LIMIT,
        traits: Traits::default(),
    };
    match source::measure(&row.source, row.wait, job, maker) {
        Ok(round) => Ok(Some(round)),
        Err(Failure::Signal(signal)) => Err(signal),
        Err(Failure::Row(status)) => {
            row.status = status;
            Ok(None)
        }
    }
}

/// No measurement takes longer, by far; what does is stuck.
const LIMIT: Duration = Duration::from_secs(20);

fn bar(len: u64) -> ProgressBar {
    let bar = ProgressBar::new(len);
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {elapsed} of about {duration}  {wide_msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
