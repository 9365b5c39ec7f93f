//! Adds up a range of numbers in several processes: the parent forks workers, each adds its share, and what they
//! found comes back through a technique of this workspace, for their memory is not shared.
//!
//! ```text
//! parallel-sum                            # the lecture's example: 1 to 10000, ten workers, through pipes
//! parallel-sum --via posix-mq             # through message queues
//! parallel-sum --via none                 # what the parent knows without communication
//! parallel-sum --via all                  # every technique, in a table
//! parallel-sum --to 2000000000 --workers 2
//! ```

mod all;
mod collect;
mod crew;
mod fork;
mod range;
mod show;

use std::process::ExitCode;
use std::time::Instant;

use catalog::TECHNIQUES;
use clap::{CommandFactory, FromArgMatches, Parser};
use common::{Context, Error, Result};
use nix::sys::stat::{Mode, umask};

use collect::Collect;
use range::Range;
use show::Found;

/// Adds up a range of numbers in several processes, whose sums come back through a technique of this workspace
#[derive(Parser)]
#[command(name = "parallel-sum", version)]
struct Cli {
    /// First number
    #[arg(long, value_name = "N", default_value = "1", value_parser = number, allow_negative_numbers = true)]
    from: u64,
    /// Last number
    #[arg(long, value_name = "N", default_value = "10000", value_parser = number, allow_negative_numbers = true)]
    to: u64,
    /// Processes that add
    #[arg(long, value_name = "N", default_value = "10", value_parser = workers, allow_negative_numbers = true)]
    workers: u32,
    /// A technique, or all of them in a table, or none
    #[arg(long, value_name = "TECHNIQUE", default_value = "pipe", value_parser = via)]
    via: String,
}

/// So many processes are no burden for a machine that others use, too.
const MOST_WORKERS: u32 = 1000;

fn main() -> ExitCode {
    common::exit("parallel-sum", run())
}

fn run() -> Result<()> {
    let Some(matches) = common::command_line(Cli::command())? else { return Ok(()) };
    let Cli { from, to, workers, via } =
        Cli::from_arg_matches(&matches).map_err(|error| Error::Usage(error.to_string()))?;
    if from > to {
        return Err(Error::Usage(format!("--from {from} is above --to {to}")));
    }
    let range = Range { from, to };
    let shares = range.split(workers).map_err(Error::Usage)?;
    // Modes are given explicitly; a mask of the user's must not take away what both ends need.
    umask(Mode::from_bits_truncate(0o077));
    common::expect_children()?;
    // While workers are forked, a signal waits: there is nobody yet who would end them.
    common::ending_signals()?.thread_block().doing("pthread_sigmask")?;
    if via == "all" {
        return all::run(range, &shares);
    }
    let begin = Instant::now();
    let (parts, total) = match catalog::with(&via, Collect { shares: &shares, quiet: false }) {
        Some(parts) => {
            let parts = parts?;
            let total = parts.iter().filter_map(|part| part.result).map(|(sum, _)| sum).sum();
            (parts, total)
        }
        None => collect::without(&shares)?,
    };
    let technique = TECHNIQUES.iter().find(|technique| technique.name == via);
    Found { range, technique: technique.copied(), parts: &parts, total, time: begin.elapsed() }.show()
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("not a whole number from 0 to {}", u64::MAX))
}

fn workers(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(workers) if (1..=MOST_WORKERS).contains(&workers) => Ok(workers),
        _ => Err(format!("not a whole number from 1 to {MOST_WORKERS}")),
    }
}

fn via(text: &str) -> Result<String, String> {
    let names = || TECHNIQUES.iter().map(|technique| technique.name).chain(["all", "none"]);
    match names().any(|name| name == text) {
        true => Ok(text.to_owned()),
        false => Err(format!("there are {}", names().collect::<Vec<_>>().join(", "))),
    }
}
