//! The sum through every technique; workers that are killed or cannot be forked; and nothing is left.

mod command_line;
mod deaths;
mod machines;
mod process;
mod sums;
mod table;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use catalog::TECHNIQUES;
use libtest_mimic::{Arguments, Failed, Trial};
use nix::sys::prctl::set_child_subreaper;

use crate::command_line::{bad_input, closed_output, full_output, ignored_sigchld};
use crate::deaths::{dies_waiting, interrupted, interrupted_table, killed, orphans};
use crate::machines::{failing, few_queues, lies, no_fork, unsupported};
use crate::process::PROGRAM;
use crate::sums::{all, faster_alone, none, sum, unequal, wide};

type Result<T = (), E = Failed> = std::result::Result<T, E>;

/// Fails with a formatted text unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+).into());
        }
    };
}

pub(crate) use ensure;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Where every user can start it. Copied before there is a second thread: what a thread has open to write while
    // another one forks cannot be executed (ETXTBSY).
    let place = tempfile::tempdir()?;
    fs::set_permissions(place.path(), Permissions::from_mode(0o755))?;
    let program = place.path().join("parallel-sum");
    fs::copy(env!("CARGO_BIN_EXE_parallel-sum"), &program)?;
    let _ = PROGRAM.set(program);
    // What loses its parent becomes ours, so that it can be seen.
    set_child_subreaper(true)?;

    let mut trials = vec![
        Trial::test("all_techniques_in_a_table", all),
        Trial::test("without_communication_the_parent_knows_nothing", none),
        Trial::test("shares_need_not_be_equal", unequal),
        Trial::test("ten_thousand_numbers_are_faster_alone", faster_alone),
        Trial::test("sums_of_more_than_64_bits", wide),
        Trial::test("bad_input_is_told_in_one_line", bad_input),
        Trial::ignorable_test("a_fork_that_is_refused", no_fork),
        Trial::ignorable_test("ten_message_queues_within_a_low_limit", few_queues),
        Trial::ignorable_test("what_the_machine_does_not_offer_is_skipped", unsupported),
        Trial::test("a_technique_that_fails_is_told_of", failing),
        Trial::test("what_does_not_add_up_is_told", lies),
        Trial::test("a_worker_that_dies_while_it_waits_for_its_turn", dies_waiting),
        Trial::test("no_worker_outlives_its_parent", orphans),
        Trial::test("a_signal_ends_all_processes", interrupted),
        Trial::test("a_signal_ends_all_processes_of_a_table", interrupted_table),
        Trial::test("a_caller_that_ignores_sigchld", ignored_sigchld),
        Trial::test("output_that_nobody_reads_is_no_failure", closed_output),
        Trial::test("output_that_cannot_be_written_is", full_output),
    ];
    for technique in TECHNIQUES {
        let name = technique.name;
        trials.push(Trial::ignorable_test(format!("sum_through::{name}"), || sum(technique)));
        trials.push(Trial::ignorable_test(format!("killed_worker::{name}"), || killed(technique)));
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    place.close()?;
    conclusion.exit()
}
