//! Finds the pairs of programs, starts them, waits for them under deadlines, kills them and looks for what
//! they leave behind. It knows them by their command line alone, so that a pair in any language will do.
//!
//! ```no_run
//! use harness::{Trial, pair};
//!
//! # fn main() -> harness::Result {
//! let pair = pair("fifo")?;
//! let trial = Trial::new(&pair)?; // its own folder, runtime folder and endpoint
//! let receiver = trial.receiver(["--stats"])?; // started, and ready
//! let sender = trial.sender(["hello"])?;
//! sender.wait()?.expect(0)?;
//! receiver.wait()?.expect(0)?;
//! assert_eq!(receiver.stdout(), b"hello\n");
//! trial.finish() // nothing is left behind
//! # }
//! ```
//!
//! Both ends at once, whichever of them starts the other (in a family the sender starts the receiver):
//!
//! ```no_run
//! # fn main() -> harness::Result {
//! # let pair = harness::pair("pipe")?;
//! # let trial = harness::Trial::new(&pair)?;
//! let run = trial.both().sender(["--count", "3"]).receiver(["--stats"]).timeout(2.0).start()?;
//! let payload = run.complete()?; // both exit with 0
//! # Ok(())
//! # }
//! ```
//!
//! Everything that a trial started is killed when it is dropped, and no wait outlasts the trial's deadline.
//!
//! Where a test needs more of a hand in the programs than that, [`program`], [`pid`] and [`Place`] are for starting and watching
//! them one by one; and what several techniques have in common is tried by the functions of [`family`], [`socket_path`]
//! and [`port`], which are named as the tests that call them, and by [`forked::main`].

mod capture;
mod data;
pub mod family;
pub mod forked;
pub mod kill;
mod launch;
mod leftovers;
pub mod lesson;
mod pairs;
pub mod pid;
mod place;
pub mod port;
mod process;
pub mod program;
mod pulse;
mod run;
pub mod socket_path;
mod steps;
pub mod strace;
mod system_v;
mod trial;

pub use capture::Stdout;
pub use data::{bytes, sha256, sha256_of};
pub use launch::Launch;
pub use leftovers::{Census, Object, left_over_of_this_run};
pub use lesson::{Lacking, Lesson};
pub use pairs::{Capabilities, EndpointKind, Pair, Reach, pair, pairs};
pub use place::Place;
pub use process::{How, Outcome, Process, Role, Signal};
pub use pulse::lost_since;
pub use run::{Both, Ended, Run};
pub use steps::kill_after;
pub use trial::Trial;

/// What went wrong, for a person to read.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What everything here returns.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// For a program without arguments: `trial.receiver(NO_ARGS)`.
pub const NO_ARGS: [&str; 0] = [];

/// Fails with a formatted text unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+).into());
        }
    };
}
