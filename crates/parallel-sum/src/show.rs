//! What a run has found, for a person.

use std::time::{Duration, Instant};
use std::{io, thread};

use common::{Context, Result, Technique};

use crate::collect::Part;
use crate::range::Range;

/// What a run has found.
pub struct Found<'a> {
    pub range: Range,
    /// `None` where the workers had no way to tell.
    pub technique: Option<&'static Technique>,
    pub parts: &'a [Part],
    pub total: u128,
    /// From before the first fork(2) until the total was known.
    pub time: Duration,
}

impl Found<'_> {
    /// Prints it, checks it against the formula, and compares the time with that of this process alone.
    ///
    /// # Errors
    /// [`common::Error::System`] where the total is not what it must be.
    pub fn show(&self) -> Result<()> {
        let Found { range, technique, parts, total, time } = self;
        let how = technique.map_or("nothing: the workers cannot tell what they found".to_owned(), |technique| {
            format!("{}: {}", technique.name, technique.kernel_object)
        });
        print(&format!("{}, through {how}\n", task(*range, parts.len())))?;

        let rows = parts.iter().enumerate().map(|(number, part)| {
            let (sum, seconds) = match part.result {
                Some((sum, time)) => (sum.to_string(), seconds(time)),
                None => ("?".to_owned(), "?".to_owned()),
            };
            [
                (number + 1).to_string(),
                part.pid.to_string(),
                part.range.from.to_string(),
                part.range.to.to_string(),
                sum,
                seconds,
            ]
        });
        let total_row = ["total", "", "", "", &total.to_string(), &seconds(*time)].map(str::to_owned);
        let head = ["worker", "process", "from", "to", "sum", "seconds"].map(str::to_owned);
        for row in aligned([head].into_iter().chain(rows).chain([total_row]).collect()) {
            print(&row)?;
        }
        self.check()?;
        self.compare(alone(*range)?.1)
    }

    fn compare(&self, alone: Duration) -> Result<()> {
        let slowest = self.parts.iter().filter_map(|part| part.result).map(|(_, time)| time).max();
        let adding =
            slowest.map_or(String::new(), |time| format!(", of which the slowest added for {} s", seconds(time)));
        print(&format!("one process alone: {} s", seconds(alone)))?;
        print(&format!("{} workers: {} s{adding}", self.parts.len(), seconds(self.time)))?;
        let (alone, all) = (alone.as_secs_f64(), self.time.as_secs_f64());
        if alone >= all {
            print(&format!("{:.2} times as fast as one process", alone / all))
        } else {
            print(&format!("{:.1} times as slow as one process", all / alone))
        }
    }

    fn check(&self) -> Result<()> {
        let formula = self.range.formula();
        if self.technique.is_none() {
            print(&format!("\nn(n+1)/2 says {formula}; the parent knows {}", self.total))?;
            return expect(self.total == 0, "a worker's write came to the parent although memory is not shared");
        }
        print(&format!(
            "\nn(n+1)/2 says {formula}: {}",
            if self.total == formula { "the same" } else { "NOT the same" }
        ))?;
        expect(self.total == formula, "the total is wrong")
    }
}

/// What is to be done, and by how many.
pub fn task(range: Range, workers: usize) -> String {
    let cores = thread::available_parallelism().map_or("an unknown number of".to_owned(), |cores| cores.to_string());
    format!("{} to {}, {workers} workers on {cores} cores", range.from, range.to)
}

/// What this process finds alone, and how long it takes.
///
/// # Errors
/// [`common::Error::System`] where it cannot add.
pub fn alone(range: Range) -> Result<(u128, Duration)> {
    let begin = Instant::now();
    let sum = range.sum();
    let time = begin.elapsed();
    expect(sum == range.formula(), "the sum of one process is wrong")?;
    Ok((sum, time))
}

fn expect(came: bool, otherwise: &str) -> Result<()> {
    if came { Ok(()) } else { Err(io::Error::other(otherwise.to_owned())).doing("check") }
}

/// Seconds with as many digits as a clock is good for.
pub fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

/// One line.
pub fn print(line: &str) -> Result<()> {
    common::print(&format!("{line}\n"))
}

/// Lines in which the cells are below each other, on the right of their columns.
fn aligned<const N: usize>(rows: Vec<[String; N]>) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect()
}
