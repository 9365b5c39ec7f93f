//! Shows on the running machine that processes cannot reach each other's memory, step by step. Whatever is printed
//! was measured a moment before; each step ends with what was expected, and whether it came.
//!
//! ```text
//! isolation            as any user; as root it shows the frames of physical memory, too
//! ```
//!
//! Each step is a file in `steps/`, to be read alone: fork(2), two processes, a look at both, a verdict.

mod boundary;
mod child;
mod drawing;
mod look;
mod page;
mod show;
mod steps;

use std::io;
use std::process::ExitCode;

use clap::Command;
use common::{Context, Result};

use show::Show;
use steps::{copy_on_write, foreign, kernel, shared, spaces, variable};

type Step = fn(&mut Show) -> Result<()>;

const STEPS: [(&str, Step); 6] = [
    ("One address, two values", variable::run),
    ("Memory is copied when somebody writes to it", copy_on_write::run),
    ("Shared on request: one frame, and both see the write", shared::run),
    ("The memory of another process", foreign::run),
    ("The memory of the kernel", kernel::run),
    ("Both address spaces, side by side", spaces::run),
];

fn main() -> ExitCode {
    common::exit("isolation", run())
}

fn run() -> Result<()> {
    let command = Command::new("isolation").version(env!("CARGO_PKG_VERSION")).about(env!("CARGO_PKG_DESCRIPTION"));
    if common::command_line(command)?.is_none() {
        return Ok(());
    }
    common::expect_children()?;
    let mut show = Show::new();
    for (number, (title, step)) in (1..).zip(STEPS) {
        show.title(&format!("{number}. {title}"))?;
        step(&mut show)?;
        show.line("")?;
    }
    match show.summary()? {
        0 => Ok(()),
        count => Err(io::Error::other(format!("it contradicts the lesson in {count} points"))).doing("this machine"),
    }
}
