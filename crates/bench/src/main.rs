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
use std::io::{self, Write};
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
use results::{Results, Status, VERSION};

/// Why the run gave no results.
enum Stop {
    Usage(String),
    System(String),
    Signal(Signal),
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        print(&catalog::TECHNIQUES.iter().map(|technique| format!("{}\n", technique.name)).collect::<String>());
        return ExitCode::SUCCESS;
    }
    let measured = || match args.from.split_first() {
        Some((first, others)) => read_all(first, others),
        None => bench(&args),
    };
    let (text, code) = match old(&args).and_then(|old| Ok((old, measured()?))) {
        Ok((old, results)) => return tell(&args, old.as_ref(), &results),
        Err(Stop::Usage(text)) => (format!("{text}; see --help"), 2),
        Err(Stop::System(text)) => (text, 1),
        Err(Stop::Signal(signal)) => (format!("ended by {signal}"), 128 + signal as u8),
    };
    eprintln!("ipc-bench: {text}");
    ExitCode::from(code)
}

/// The results to compare with, before anything is measured: a mistake in a name should not cost a minute.
fn old(args: &Args) -> Result<Option<Results>, Stop> {
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
    umask(Mode::from_bits_truncate(0o077));
    processes::take_signals().map_err(|error| Stop::System(error.to_string()))?;
    // In /tmp, because the path of a socket is short.
    let prefix = format!("ipc-lab-{}-run-bench-", geteuid());
    let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in("/tmp").map_err(system("mkdir"))?;
    // Held open: so scripts/leftovers.sh knows that the folder has an owner.
    let _hold = File::open(dir.path()).map_err(system("open"))?;
    let (start, started, load) = (Instant::now(), SystemTime::now(), machine::load());
    let hardware = run::run(&mut rows, args.time, args.verify, dir.path()).map_err(Stop::Signal)?;
    dir.close().map_err(system("rmdir"))?;
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

/// Nobody reads it any more, as in `| head`? Then nothing is lost.
fn print(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Prints and writes what was found.
fn tell(args: &Args, old: Option<&Results>, results: &Results) -> ExitCode {
    let details = args.details || args.techniques.len() == 1;
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
    print(&text);
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
        write(dir, written.map(drop));
    }
    ExitCode::from(code)
}
