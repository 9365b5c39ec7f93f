//! Machines that refuse something, lack something, or lie.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use catalog::TECHNIQUES;
use libtest_mimic::Completion;
use nix::unistd::geteuid;

use crate::process::{Ended, command, command_of, run};
use crate::table::{TOTAL, row, total};
use crate::{Result, ensure};

const NEEDS_ROOT: &str = "needs root, to be a user who runs nothing else";

/// A user who has no other processes; `None` where we may not become one.
fn as_somebody(mut command: Command, number: u32) -> Option<Command> {
    geteuid().is_root().then(|| {
        let id = 50_000 + (std::process::id() * 8 + number) % 10_000;
        command.uid(id).gid(id);
        command
    })
}

/// With a limit of its own.
fn limited(limit: &str, words: &[&str]) -> Command {
    command_of(&["prlimit", limit], words)
}

pub fn no_fork() -> Result<Completion> {
    for (number, via) in (0..).zip(["pipe", "fifo", "none"]) {
        // The parent and three workers.
        let Some(command) = as_somebody(limited("--nproc=4", &["--via", via]), number) else {
            return Ok(Completion::ignored_with(NEEDS_ROOT));
        };
        let Ended { code, stdout, stderr } = run(command)?;
        ensure!(code == Some(1) && stdout.is_empty(), "{via}: {code:?}\n{stdout}{stderr}");
        ensure!(
            stderr.starts_with("parallel-sum: fork parallel-sum: worker 4: EAGAIN: Try again (see ulimit -u"),
            "{stderr}"
        );
        ensure!(stderr.lines().count() == 1, "{stderr}");
    }
    Ok(Completion::Completed)
}

pub fn few_queues() -> Result<Completion> {
    // Room for one queue of ten messages of 8 KiB, and not for two.
    let command = limited("--msgqueue=120000", &["--via", "posix-mq"]);
    let Some(command) = as_somebody(command, 4) else { return Ok(Completion::ignored_with(NEEDS_ROOT)) };
    let Ended { code, stdout, stderr } = run(command)?;
    if code == Some(77) {
        return Ok(Completion::ignored_with(stderr.trim_end().to_owned()));
    }
    ensure!(code == Some(0) && total(&stdout) == Some(TOTAL), "{code:?}\n{stdout}{stderr}");
    // It is the limit that is tested, and not nothing.
    let limit = limited("--msgqueue=1000", &["--via", "posix-mq"]);
    let Some(command) = as_somebody(limit, 5) else { return Ok(Completion::ignored_with(NEEDS_ROOT)) };
    let Ended { code, stdout, stderr } = run(command)?;
    ensure!(
        code == Some(1) && stdout.is_empty() && stderr.contains("RLIMIT_MSGQUEUE is 1000"),
        "{code:?}\n{stdout}{stderr}"
    );
    Ok(Completion::Completed)
}

/// A table goes on after a failure, and tells of it in the end.
pub fn failing() -> Result {
    let Ended { code, stdout, stderr } = run(limited("--msgqueue=1000", &["--via", "all"]))?;
    let told = |why: &str| why.contains("RLIMIT_MSGQUEUE is 1000");
    ensure!(matches!(row(&stdout, "posix-mq"), Some(("-", "FAILED", why)) if told(&why)), "{stdout}");
    ensure!(code == Some(1) && stderr.contains("techniques failed\n"), "{code:?}\n{stderr}");
    ensure!(matches!(row(&stdout, "unix-stream"), Some((TOTAL, "right", _))), "{stdout}");
    Ok(())
}

/// The library that lies.
fn liar() -> Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let library = dir.path().join("lie.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lie.c");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status()?;
    ensure!(status.success(), "cc: {status}");
    Ok((dir, library))
}

pub fn unsupported() -> Result<Completion> {
    const NAME: &str = "process-vm";
    if !TECHNIQUES.iter().any(|technique| technique.name == NAME) {
        return Ok(Completion::ignored_with("no technique here is one that a machine could lack"));
    }
    let (_dir, library) = liar()?;
    let mut one = command(&["--via", NAME]);
    one.env("LD_PRELOAD", &library).env("LIE", "an old kernel");
    let Ended { code, stdout, stderr } = run(one)?;
    ensure!(code == Some(77) && stdout.is_empty(), "{code:?}\n{stdout}{stderr}");
    let mut table = command(&["--via", "all"]);
    table.env("LD_PRELOAD", &library).env("LIE", "an old kernel");
    let Ended { code, stdout, stderr } = run(table)?;
    ensure!(matches!(row(&stdout, NAME), Some(("-", "skipped", _))), "{stdout}{stderr}");
    ensure!(code == Some(0) && stdout.contains(" 0 failed, 1 skipped\n"), "{code:?}\n{stdout}{stderr}");
    Ok(Completion::Completed)
}

pub fn lies() -> Result {
    let (_dir, library) = liar()?;
    let cases = [
        ("nothing", 0, ""),
        ("another sum", 1, "parallel-sum: check: the total is wrong\n"),
        ("another worker", 1, "parallel-sum: what worker 1 says: invalid data\n"),
        ("not a number", 1, "parallel-sum: what worker 1 says: invalid data\n"),
    ];
    for (lie, expected, line) in cases {
        let mut command = command(&["--via", "pipe"]);
        command.env("LD_PRELOAD", &library).env("LIE", lie);
        let Ended { code, stdout, stderr } = run(command)?;
        ensure!(code == Some(expected) && stderr == line, "{lie}: {code:?}\n{stdout}{stderr}");
        ensure!(expected == 0 || !stdout.contains(&format!("{TOTAL}: the same")), "{lie}: {stdout}");
    }
    Ok(())
}
