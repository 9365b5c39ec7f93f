//! `ipc-bench`: how fast two processes talk through each technique, and what it costs.
//!
//! ```text
//! args ─▶ plan ─▶ run ─▶ source ─▶ worker ─▶ processes    one measurement: two forked processes, a loop in each
//!                  │      ├ a technique (crate catalog)
//!                  │      ├ its bare twin (twins/)
//!                  │      └ a peer (peers)
//!                  └▶ hardware
//!                results ─▶ table, files, compare, report
//! ```
#![expect(clippy::print_stderr, reason = "what went wrong goes to standard error")]

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

mod args;
mod compare;
mod control;
mod files;
mod hardware;
mod join;
mod machine;
mod message;
mod peers;
mod plan;
mod processes;
mod report;
mod results;
mod run;
mod source;
mod table;
mod twins;
mod usage;
mod worker;

use args::Args;
use results::{Results, Row, Status, VERSION};

/// Why the run gave no results.
enum Stop {
    Usage(String),
    System(String),
    Signal(Signal),
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        let names: String = catalog::TECHNIQUES.iter().map(|technique| format!("{}\n", technique.name)).collect();
        return print(&names).map_or_else(|error| fail(1, &error.to_string()), |()| ExitCode::SUCCESS);
    }
    let measured = || match args.from.split_first() {
        Some((first, others)) => read_all(first, others),
        None => bench(&args),
    };
    match prepare(&args).and_then(|old| Ok((old, measured()?))) {
        Ok((old, results)) => tell(&args, old.as_ref(), &results),
        Err(Stop::Usage(text)) => fail(2, &format!("{text}; see --help")),
        Err(Stop::System(text)) => fail(1, &text),
        Err(Stop::Signal(signal)) => fail(128 + signal as u8, &format!("ended by {signal}")),
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    eprintln!("ipc-bench: {text}");
    ExitCode::from(code)
}

/// The results to compare with, and whether what is found can be written, before anything is measured: a mistake in a name
/// should not cost half an hour.
fn prepare(args: &Args) -> Result<Option<Results>, Stop> {
    let stop = |path: &Path, error: io::Error| Stop::System(format!("write {}: {error}", path.display()));
    for path in args.json.iter().chain(&args.csv) {
        files::check(path).map_err(|error| stop(path, error))?;
    }
    if let Some(dir) = &args.report {
        report::check(dir).map_err(|error| stop(&report::path(dir), error))?;
    }
    args.compare.as_deref().map(read).transpose()
}

fn read(path: &Path) -> Result<Results, Stop> {
    files::read_json(path).map_err(|error| Stop::System(format!("read {}: {error}", path.display())))
}

fn read_all(first: &Path, others: &[PathBuf]) -> Result<Results, Stop> {
    let mut results = read(first)?;
    for path in others {
        let why = |why| Stop::System(format!("read {}: {why}", path.display()));
        join::join(&mut results, read(path)?).map_err(why)?;
    }
    Ok(results)
}

fn bench(args: &Args) -> Result<Results, Stop> {
    let system = |what: &'static str| move |error: io::Error| Stop::System(format!("{what}: {error}"));
    let mut rows = plan::rows(args).map_err(Stop::Usage)?;
    // For the endpoints of the techniques; the files that are written in the end are the user's as ever.
    let mask = umask(Mode::from_bits_truncate(0o077));
    processes::take_signals().map_err(|error| Stop::System(error.to_string()))?;
    // In /tmp, because the path of a socket is short.
    let prefix = format!("ipc-lab-{}-run-bench-", geteuid());
    let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in("/tmp").map_err(system("mkdir"))?;
    // Held open: so scripts/leftovers.sh knows that the folder has an owner.
    let _hold = File::open(dir.path()).map_err(system("open"))?;
    let (start, started, load) = (Instant::now(), SystemTime::now(), machine::load());
    let hardware = run::run(&mut rows, args.time, args.verify, dir.path()).map_err(Stop::Signal)?;
    dir.close().map_err(system("rmdir"))?;
    umask(mask);
    Ok(Results {
        version: VERSION,
        machine: machine::describe(),
        command: std::env::args().collect(),
        started: started.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        seconds: start.elapsed().as_secs_f64(),
        load,
        verify: args.verify,
        hardware,
        rows,
    })
}

/// Prints the results. Nobody reads them any more, as in `| head`? Then nothing is lost.
fn print(text: &str) -> common::Result<()> {
    match common::print(text) {
        Err(common::Error::OutputClosed) => Ok(()),
        other => other,
    }
}

/// Prints and writes what was found.
fn tell(args: &Args, old: Option<&Results>, results: &Results) -> ExitCode {
    let is_first = |row: &Row| row.source.name == results.rows[0].source.name;
    let details = args.details || results.rows.iter().all(is_first);
    let mut text = table::text(results, details);
    let any = |is: fn(&Status) -> bool| results.rows.iter().any(|row| is(&row.status));
    let mut code = match () {
        () if any(|status| matches!(status, Status::Failed(_))) => 1,
        () if any(|status| matches!(status, Status::Unsupported(_))) => 77,
        () => 0,
    };
    if let Some(old) = old {
        text += &compare::text(results, old);
    }
    if let Err(error) = print(&text) {
        eprintln!("ipc-bench: {error}");
        code = 1;
    }
    let mut write = |path: &Path, written: io::Result<()>| {
        if let Err(error) = written {
            eprintln!("ipc-bench: write {}: {error}", path.display());
            code = 1;
        }
    };
    if let Some(path) = &args.json {
        write(path, files::write_json(results, path));
    }
    if let Some(path) = &args.csv {
        write(path, files::write_csv(results, path));
    }
    if let Some(dir) = &args.report {
        let written = report::write(results, dir);
        if let Ok(path) = &written {
            eprintln!("ipc-bench: the report is in {}", path.display());
        }
        write(&report::path(dir), written.map(drop));
    }
    ExitCode::from(code)
}
