//! What the contract promises (`docs/contract.md`), tried on every pair of programs.
//!
//! `cargo test -p conformance -- fifo` tries one technique, `-- fifo::order` one promise.
//! `PAIR=path/to/sender,path/to/receiver cargo test -p conformance` tries any pair, in any language.

mod cli;
mod ends;
mod faults;
mod interrupts;
mod limits;
mod loss;
mod meeting;
mod payload;
mod security;
mod spin;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;
use std::{panic, thread};

use harness::{Census, EndpointKind, Pair, Result, Trial, left_over_of_this_run, pairs};
use libtest_mimic::{Arguments, Completion, Failed};

/// One thing that every pair promises, as far as it declares the capability for it.
struct Promise {
    name: &'static str,
    /// `Err` says why the promise does not concern a pair.
    applies: fn(&Pair) -> Result<(), &'static str>,
    run: fn(&Trial) -> Result,
}

/// Names and functions of promises, for the table at the end of each file.
macro_rules! promises {
    ($($applies:ident: $($name:ident),+ $(,)?;)+) => {
        pub(crate) const PROMISES: &[crate::Promise] =
            &[$($(crate::Promise { name: stringify!($name), applies: $applies, run: $name }),+),+];
    };
}
pub(crate) use promises;

fn always(_: &Pair) -> Result<(), &'static str> {
    Ok(())
}

fn reliable(pair: &Pair) -> Result<(), &'static str> {
    pair.can.reliable.then_some(()).ok_or("the kernel may drop messages")
}

fn best_effort(pair: &Pair) -> Result<(), &'static str> {
    (!pair.can.reliable).then_some(()).ok_or("nothing is ever lost")
}

fn strangers(pair: &Pair) -> Result<(), &'static str> {
    (!pair.is_family()).then_some(()).ok_or("the sender starts the receiver")
}

fn family(pair: &Pair) -> Result<(), &'static str> {
    pair.is_family().then_some(()).ok_or("the sender does not start the receiver")
}

fn in_runtime_folder(pair: &Pair) -> Result<(), &'static str> {
    let of_its_own = matches!(pair.can.endpoint, EndpointKind::Path | EndpointKind::Pid);
    of_its_own.then_some(()).ok_or("the default endpoint is not in the trial's own runtime folder")
}

fn blocks(pair: &Pair) -> Result<(), &'static str> {
    pair.can.blocks.then_some(()).ok_or("the sender does not wait for a slow receiver")
}

/// What a trial returns that has found out only while it ran why it does not concern the pair.
#[derive(Debug)]
struct DoesNotApply(&'static str);

impl fmt::Display for DoesNotApply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for DoesNotApply {}

/// Longer than any trial takes on a busy machine; what hangs is found by the waits within.
const DEADLINE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // A trial mostly waits, so there is room for more of them than there are cores.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    args.test_threads = args.test_threads.or(Some(2 * cores));
    let pairs = match pairs() {
        Ok(pairs) => pairs,
        Err(error) => return fail(&error.to_string()),
    };
    let tables = [
        payload::PROMISES,
        ends::PROMISES,
        interrupts::PROMISES,
        faults::PROMISES,
        limits::PROMISES,
        loss::PROMISES,
        meeting::PROMISES,
        security::PROMISES,
        spin::PROMISES,
        cli::PROMISES,
    ];
    // Promises in the outer loop: the trials that run side by side are of different techniques.
    let promises = tables.into_iter().flatten();
    let refusals: &[OnceLock<_>] = vec![OnceLock::new(); pairs.len()].leak();
    let with_refusals = || pairs.iter().zip(refusals);
    let trials = promises
        .flat_map(|promise| with_refusals().map(move |(pair, refusal)| trial(pair, refusal, promise)))
        .collect();
    let before = Census::take();
    let conclusion = libtest_mimic::run(&args, trials);
    let left = [left_over_of_this_run(), before.new_since()].concat();
    if !left.is_empty() {
        return fail(&format!("the run left behind: {}", left.join(", ")));
    }
    conclusion.exit_code()
}

/// The line that comes with exit code 77, if that is how a pair ends: this machine does not let it do its work.
type Refusal = Option<String>;

fn refusal(pair: &Pair) -> Refusal {
    let trial = Trial::new(pair).ok()?;
    // Whatever else goes wrong here is for the trials to find.
    let _ = trial.both().sender(["hello"]).start().and_then(|run| run.wait());
    trial.report().lines().find(|line| line.contains(": not supported on this machine: ")).map(str::to_owned)
}

fn trial(pair: &'static Pair, asked: &'static OnceLock<Refusal>, promise: &'static Promise) -> libtest_mimic::Trial {
    let run = || {
        if let Err(reason) = (promise.applies)(pair) {
            return Ok(Completion::ignored_with(reason));
        }
        if let Some(line) = asked.get_or_init(|| refusal(pair)) {
            return Ok(Completion::ignored_with(line.trim()));
        }
        let trial = Trial::of(pair, DEADLINE)?;
        let tried = panic::catch_unwind(panic::AssertUnwindSafe(|| (promise.run)(&trial)));
        let result = tried.unwrap_or_else(|_| Err("an assertion failed, see above".into()));
        match result.and_then(|()| trial.finish()) {
            Ok(()) => Ok(Completion::Completed),
            Err(error) if error.is::<DoesNotApply>() => Ok(Completion::ignored_with(error.to_string())),
            Err(error) => Err(Failed::from(format!("{error}\n{}", trial.report()))),
        }
    };
    libtest_mimic::Trial::ignorable_test(format!("{}::{}", pair.name, promise.name), run)
}

#[expect(clippy::print_stderr, reason = "a test program speaks to a person")]
fn fail(text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::from(101)
}
