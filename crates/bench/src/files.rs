//! The figures as files.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::{AccessFlags, access};
use serde::Deserialize;

use crate::results::{Results, Row, Spread, Status, VERSION};

/// Writes everything.
///
/// # Errors
/// Where the file cannot be written.
pub fn write_json(results: &Results, path: &Path) -> io::Result<()> {
    replace(path, &serde_json::to_vec(results)?)
}

/// Writes a file that is complete or as it was before. What is no file, as /dev/stdout, is written to.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return fs::write(path, bytes);
    }
    // As open(2) makes it: the umask takes away what it takes away. What was there before keeps its mode.
    let mode = fs::Permissions::from_mode(0o666);
    let mut new = tempfile::Builder::new().permissions(mode).tempfile_in(folder(path))?;
    if let Ok(old) = fs::metadata(path) {
        new.as_file().set_permissions(old.permissions())?;
    }
    new.write_all(bytes)?;
    new.persist(path)?;
    Ok(())
}

/// Can a file be written there? To be asked before a run that takes long.
///
/// # Errors
/// Why not.
pub fn check(path: &Path) -> io::Result<()> {
    let there = fs::metadata(path);
    if there.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let place = if there.is_ok_and(|meta| !meta.is_file()) { path } else { folder(path) };
    access(place, AccessFlags::W_OK)?;
    Ok(())
}

/// Where a file of this name lies.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// `InvalidData` where it is something else, or was written by another version.
pub fn read_json(path: &Path) -> io::Result<Results> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let text = fs::read(path)?;
    let Version { version } = serde_json::from_slice(&text)?;
    if version == VERSION {
        return Ok(serde_json::from_slice(&text)?);
    }
    let why = format!("written as version {version}, and this reads version {VERSION}");
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Writes a line for each row: medians over its rounds, but for `nanos_min` and `nanos_max`, the best and the worst round;
/// `min` and `max`, the fastest and the slowest of all round trips; and p90 and above, which are of all round trips, and
/// empty where fewer than five took longer. What failed has no figures.
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
    replace(path, text.as_bytes())
}

fn line(text: &mut String, results: &Results, row: &Row) {
    let unmeasured = Row { rounds: Vec::new(), ..row.clone() };
    let row = if row.is_measured() { row } else { &unmeasured };
    let show = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
    let median = |values: Vec<f64>| Spread::of(&values).map_or(String::new(), |spread| spread.median.to_string());
    let each = |of: &dyn Fn(&crate::results::Round) -> f64| median(row.rounds.iter().map(of).collect());
    let trips = || row.rounds.iter().filter_map(|round| round.trips.as_ref());
    let quantile = |part| show(row.quantile(part).map(|nanos| nanos as f64));
    let spread = Spread::of(&row.figures());
    let twin = results.against_twin(row);
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
        show(trips().map(|trips| trips.min as f64).reduce(f64::min)),
        median(trips().map(|trips| trips.p50 as f64).collect()),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        show(trips().map(|trips| trips.max as f64).reduce(f64::max)),
        each(&|round| round.cpu()),
        each(&|round| round.sleeps()),
        each(&|round| round.memory_kib() as f64),
        show(twin.map(|ratio| ratio.median)),
        show(results.against_bound(row)),
        format!("\"{}\"", status.replace('"', "'")),
    ];
    let _ = writeln!(text, "{}", columns.join(","));
}
