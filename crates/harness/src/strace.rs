//! The system calls of a program, as strace(1) counts them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::process::Command;

use crate::{Result, Role, ensure};

/// Why a test is ignored where [`works`] says no.
pub const NONE: &str = "strace is not installed or may not trace here";

/// Is there a strace, and may it trace?
pub fn works() -> bool {
    let nothing = Command::new("strace").args(["--output=/dev/null", "true"]).status();
    nothing.is_ok_and(|status| status.success())
}

/// Runs a pair, one end of it under strace: the sender with these words, the receiver with its output thrown away.
/// Returns how many calls that end made of each name, and all together as `total`; `None` where strace does not work.
///
/// # Errors
/// Where one of the two fails.
pub fn calls(
    traced: Role,
    [sender, receiver]: [&str; 2],
    endpoint: impl AsRef<OsStr>,
    words: &[&str],
) -> Result<Option<HashMap<String, u64>>> {
    if !works() {
        return Ok(None);
    }
    let counts = tempfile::NamedTempFile::new()?;
    let command = |program: &str, role: Role| {
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--summary-only", "--output"]).arg(counts.path()).arg(program);
        let mut command = if role == traced { command } else { Command::new(program) };
        command.args(["--quiet", "--timeout", "30", "--endpoint"]).arg(&endpoint);
        command
    };
    let mut receiver = command(receiver, Role::Receiver).args(["--output", "/dev/null"]).spawn()?;
    let sent = command(sender, Role::Sender).args(words).status()?;
    ensure!(receiver.wait()?.success() && sent.success(), "the pair failed under strace");
    Ok(Some(fs::read_to_string(counts.path())?.lines().filter_map(count).collect()))
}

/// Demands that each of `messages` messages takes these calls, so many of each, and that no others are made as often. `besides`
/// is for those of the start and of the end.
///
/// # Errors
/// Where it is otherwise.
pub fn check(counts: &HashMap<String, u64>, messages: u64, expected: &[(&str, u64)], besides: u64) -> Result {
    for (name, times) in expected {
        let calls = counts.get(*name).copied().unwrap_or_default();
        let range = times * messages..times * messages + besides;
        ensure!(range.contains(&calls), "{calls} calls of {name}: {counts:?}");
    }
    // The receiver writes its own output, and --timeout looks at the clock.
    let apart = |name: &str| {
        expected.iter().any(|(one, _)| *one == name) || ["write", "clock_gettime", "total"].contains(&name)
    };
    for (name, calls) in counts {
        ensure!(apart(name) || *calls < messages, "{calls} calls of {name}: {counts:?}");
    }
    Ok(())
}

/// A line of what `strace -c` prints: `% time  seconds  usecs/call  calls  [errors]  syscall`.
pub(crate) fn count(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    let calls = words.nth(3)?.parse().ok()?;
    Some((words.next_back()?.to_owned(), calls))
}
