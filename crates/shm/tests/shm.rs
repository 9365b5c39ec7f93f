//! What is special about shared memory: there may not be enough of it, and the kernel is hardly asked.

use std::process::Command;

use harness::{Role, strace};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

const RECEIVER: &str = env!("CARGO_BIN_EXE_shm-receiver");
const SENDER: &str = env!("CARGO_BIN_EXE_shm-sender");

fn main() {
    let trials = vec![
        Trial::ignorable_test("too_small_a_dev_shm_is_an_error_at_once", small_dev_shm),
        Trial::ignorable_test("a_message_costs_no_system_call", system_calls),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn small_dev_shm() -> Result<Completion, Failed> {
    let script = "mount -t tmpfs -o size=64k none /dev/shm || exit 99; \"$@\"; code=$?; ls /dev/shm; exit $code";
    let runtime = tempfile::tempdir()?;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", RECEIVER, "--timeout", "1"])
        .env("XDG_RUNTIME_DIR", runtime.path())
        .output();
    let Ok(output) = output else { return Ok(Completion::ignored_with("unshare is not installed")) };
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("unshare:") || output.status.code() == Some(99) {
        return Ok(Completion::ignored_with(format!("no private mounts here: {}", error.trim())));
    }
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("ENOSPC"), "{error}");
    assert!(output.stdout.is_empty(), "left behind: {}", String::from_utf8_lossy(&output.stdout));
    Ok(Completion::Completed)
}

fn system_calls() -> Result<Completion, Failed> {
    let name = format!("/ipc-lab-test-{}-calls", std::process::id());
    let Some(counts) = strace::calls(Role::Receiver, [SENDER, RECEIVER], name, &["--count", "100000"])? else {
        return Ok(Completion::ignored_with(strace::NONE));
    };
    let calls = counts["total"];
    assert!(calls < 10_000, "{calls} system calls for 100,000 messages: {counts:?}");
    Ok(Completion::Completed)
}
