//! What the server promises, tried on the program itself, in both modes.
//!
//! `cargo test -p web-server` tries everything, `cargo test -p web-server -- fork::` one mode.

mod client;
mod command;
mod faults;
mod hostile;
mod http;
mod lesson;
mod lifecycle;
mod load;
mod process;
mod server;

use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Completion, Failed};

use server::{MODES, Mode, leftovers};

/// What a trial returns.
pub type Result<T = (), E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// A trial of one mode. It may find that this machine does not allow it, and says why.
pub type Trial = (&'static str, fn(Mode) -> Result<Completion>);

/// Names and functions of trials, for the table at the end of each file.
macro_rules! trials {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const TRIALS: &[crate::Trial] = &[$((stringify!($name), |mode| crate::done($name(mode)))),+];
    };
}
pub(crate) use trials;

/// Fails with a formatted text unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+).into());
        }
    };
}
pub(crate) use ensure;

/// Turns what a trial returns into what the table holds.
fn done<T: Into<Outcome>>(result: Result<T>) -> Result<Completion> {
    result.map(|outcome| outcome.into().0)
}

/// Completed, or ignored with a reason.
struct Outcome(Completion);

impl From<()> for Outcome {
    fn from((): ()) -> Outcome {
        Outcome(Completion::Completed)
    }
}

impl From<Completion> for Outcome {
    fn from(completion: Completion) -> Outcome {
        Outcome(completion)
    }
}

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // A trial mostly waits, so there is room for more of them than there are cores.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    args.test_threads = args.test_threads.or(Some(2 * cores));
    let tables = [http::TRIALS, hostile::TRIALS, faults::TRIALS, lesson::TRIALS, lifecycle::TRIALS, load::TRIALS];
    let mut trials: Vec<_> = tables
        .into_iter()
        .flatten()
        .flat_map(|&(name, run)| {
            MODES.map(|mode| {
                let run = move || run(mode).map_err(|error| Failed::from(error.to_string()));
                libtest_mimic::Trial::ignorable_test(format!("{mode}::{name}"), run)
            })
        })
        .collect();
    trials.extend(command::TRIALS.iter().map(|&(name, run)| {
        let run = move || run().map_err(|error| Failed::from(error.to_string()));
        libtest_mimic::Trial::test(format!("command::{name}"), run)
    }));
    let conclusion = libtest_mimic::run(&args, trials);
    let left = leftovers();
    assert!(left.is_empty(), "the run left behind: {}", left.join(", "));
    conclusion.exit_code()
}
