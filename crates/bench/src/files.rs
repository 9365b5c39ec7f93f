//! The figures as files.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use crate::results::{Results, Row, Spread, Status, VERSION};

/// Writes everything.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_json(results: &Results, path: &Path) -> io::Result<()> {
    fs::write(path, serde_json::to_vec(results)?)
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// `InvalidData` where it is something else, or was written by another version.
pub fn read_json(path: &Path) -> io::Result<Results> {
    let results: Results = serde_json::from_slice(&fs::read(path)?)?;
    if results.version == VERSION {
        return Ok(results);
    }
    let why = format!("written as version {}, and this reads version {VERSION}", results.version);
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Writes a line for each row.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_csv(results: &Results, path: &Path) -> io::Result<()> {
    let mut text = String::from(
        "kind,name,measure,size,place,wait,rounds,nanos,nanos_min,nanos_max,per_second,mb_per_s,lost,min,p50,p90,p99,\
         p999,max,cpu_nanos,sleeps,memory_kib,twin_ratio,bound_ratio,status\n",
    );
    for row in &results.rows {
        line(&mut text, results, row);
    }
    fs::write(path, text)
}

fn line(text: &mut String, results: &Results, row: &Row) {
    let median = |values: Vec<f64>| Spread::of(&values).map_or(String::new(), |spread| spread.median.to_string());
    let each = |of: &dyn Fn(&crate::results::Round) -> f64| median(row.rounds.iter().map(of).collect());
    let trips = |of: fn(&crate::results::Trips) -> u64| {
        median(row.rounds.iter().filter_map(|round| Some(of(round.trips.as_ref()?) as f64)).collect())
    };
    let figures = row.figures();
    let spread = Spread::of(&figures);
    let show = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let twin = results.twin(row).and_then(|twin| Spread::of_ratios(&figures, &twin.figures()));
    let status = match &row.status {
        Status::Measured => "measured".to_owned(),
        Status::Skipped(why) => format!("skipped: {why}"),
        Status::Unsupported(why) => format!("unsupported: {why}"),
        Status::Failed(why) => format!("failed: {why}"),
    };
    let columns = [
        row.source.kind.to_string(),
        row.source.name.clone(),
        row.measure.to_string(),
        row.size.to_string(),
        row.place.to_string(),
        row.wait.to_string(),
        row.rounds.len().to_string(),
        show(spread.map(|spread| spread.median)),
        show(spread.map(|spread| spread.min)),
        show(spread.map(|spread| spread.max)),
        each(&|round| round.per_second()),
        each(&|round| round.per_second() * row.size as f64 / 1e6),
        row.rounds.iter().map(|round| round.lost).sum::<u64>().to_string(),
        trips(|trips| trips.min),
        trips(|trips| trips.p50),
        trips(|trips| trips.p90),
        trips(|trips| trips.p99),
        trips(|trips| trips.p999),
        trips(|trips| trips.max),
        each(&|round| round.cpu()),
        each(&|round| round.sleeps()),
        each(&|round| round.memory_kib() as f64),
        show(twin.map(|ratio| ratio.median)),
        show(spread.and_then(|spread| Some(spread.median / results.bound(row)?))),
        format!("\"{}\"", status.replace('"', "'")),
    ];
    let _ = writeln!(text, "{}", columns.join(","));
}
