//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::message::Verify;
use crate::results::{Measure, Place, Wait};

/// Measures how fast two processes talk through each technique, and what it costs: beside the bare system calls that
/// the technique is made of, and beside what the machine can do.
#[derive(Debug, Parser)]
#[command(name = "ipc-bench", version, max_term_width = 100)]
pub struct Args {
    /// Techniques to measure [default: all]
    #[arg(value_name = "TECHNIQUE")]
    pub techniques: Vec<String>,

    /// Print the techniques' names and end
    #[arg(long)]
    pub list: bool,

    /// Seconds for everything, divided among the rows; very slow rows take longer
    #[arg(long, value_name = "SECONDS", default_value = "90", value_parser = seconds)]
    pub time: f64,

    /// Measure this only: round-trip or throughput
    #[arg(long, value_name = "WHAT", value_parser = measure)]
    pub only: Option<Measure>,

    /// Bytes in a message, instead of the usual sizes
    #[arg(long, value_name = "BYTES,…", value_delimiter = ',', value_parser = size)]
    pub sizes: Vec<usize>,

    /// Where the two processes run
    #[arg(long, value_name = "WHERE,…", value_delimiter = ',', default_value = "apart")]
    pub place: Vec<Place>,

    /// What a process does while it waits; what cannot spin is left out
    #[arg(long, value_name = "HOW,…", value_delimiter = ',', default_value = "block")]
    pub wait: Vec<Wait>,

    /// How much of each message is checked
    #[arg(long, value_name = "HOW", default_value = "page")]
    pub verify: Verify,

    /// Whether to measure the bare twins
    #[arg(long, value_name = "HOW", default_value = "beside")]
    pub twins: Twins,

    /// Print every figure, not the overview only; one technique alone always has them
    #[arg(long)]
    pub details: bool,

    /// Write everything that was measured to FILE
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a line for each row to FILE
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write a page with plots to DIR/index.html
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,

    /// Measure nothing: show the results in FILE, which --json wrote; of several runs on one machine, as of one
    #[arg(
        long,
        value_name = "FILE,…",
        value_delimiter = ',',
        conflicts_with_all = ["techniques", "json", "time", "only", "sizes", "place", "wait", "verify", "twins"]
    )]
    pub from: Vec<PathBuf>,

    /// Compare with the results in FILE, which --json wrote
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
}

/// Whether to measure the bare twins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Twins {
    /// Each beside its technique
    Beside,
    /// The techniques alone
    None,
    /// The twins alone
    Only,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e6 => Ok(seconds),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

fn size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size) if (1..=common::MAX_FRAME).contains(&size) => Ok(size),
        _ => Err(format!("not a number from 1 to {}", common::MAX_FRAME)),
    }
}

fn measure(text: &str) -> Result<Measure, String> {
    [Measure::RoundTrip, Measure::Throughput]
        .into_iter()
        .find(|measure| measure.to_string() == text)
        .ok_or_else(|| "round-trip or throughput".to_owned())
}
