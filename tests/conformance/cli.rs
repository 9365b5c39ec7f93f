//! The command line, the same for every program.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use harness::{EndpointKind, Pair, Result, Trial, ensure};
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};

use crate::always;

fn program(path: &Path, trial: &Trial) -> Command {
    let mut command = Command::new(path);
    command.env("XDG_RUNTIME_DIR", trial.path("runtime")).timeout(Duration::from_secs(5));
    command
}

fn programs(trial: &Trial) -> [(&Path, String); 2] {
    let name = &trial.pair.name;
    [(&trial.pair.sender, format!("{name}-sender")), (&trial.pair.receiver, format!("{name}-receiver"))]
}

/// Exit code, nothing on standard output, and one line on standard error that begins with the program's name.
fn complains(assert: Assert, code: i32, name: &str) -> Result {
    let output = assert.code(code).get_output().clone();
    let text = String::from_utf8(output.stderr)?;
    ensure!(text.lines().count() == 1, "not one line on standard error: {text:?}");
    ensure!(text.starts_with(&format!("{name}: ")), "the line does not begin with {name}: {text:?}");
    ensure!(output.stdout.is_empty(), "something on standard output");
    Ok(())
}

fn describe_help_and_version(trial: &Trial) -> Result {
    for (path, name) in programs(trial) {
        for option in ["--describe", "--help", "--version"] {
            let output = program(path, trial).arg(option).assert().success().get_output().clone();
            ensure!(output.stderr.is_empty(), "{name} {option} writes to standard error");
            ensure!(!output.stdout.is_empty(), "{name} {option} says nothing");
        }
    }
    let described = |path: &Path| program(path, trial).arg("--describe").assert().success().get_output().stdout.clone();
    let [(sender, _), (receiver, _)] = programs(trial);
    ensure!(described(sender) == described(receiver), "the two programs describe different techniques");
    Ok(())
}

fn bad_usage(trial: &Trial) -> Result {
    let wrong: &[&[&str]] = &[
        &["--no-such-option"],
        &["--timeout", "0"],
        &["--timeout", "-1"],
        &["--timeout", "soon"],
        &["--timeout", "nan"],
        &["--timeout"],
        &["--endpoint"],
    ];
    for (path, name) in programs(trial) {
        for args in wrong {
            complains(program(path, trial).args(*args).assert(), 2, &name)?;
        }
    }
    let [(sender, name), _] = programs(trial);
    for args in [&["--count", "many"][..], &["--size", "-1"], &["hello", "--file", "/dev/null"]] {
        complains(program(sender, trial).args(args).assert(), 2, &name)?;
    }
    Ok(())
}

fn bad_endpoint(trial: &Trial) -> Result {
    let wrong: &[&str] = match trial.pair.can.endpoint {
        EndpointKind::Path | EndpointKind::Pid => &["", "/", "folder/", ".."],
        EndpointKind::Name => &["", "/", "no-slash", "/two/slashes"],
        EndpointKind::Key => &["", "0", "0x", "0x123456789", "key"],
        EndpointKind::Address => &["", "127.0.0.1", "127.0.0.1:70000", ":"],
        EndpointKind::Inherited => &["", "somewhere"],
    };
    for (path, name) in programs(trial) {
        for endpoint in wrong {
            let mut command = program(path, trial);
            command.args(["--timeout", "0.2", "--quiet", "--endpoint", endpoint]);
            complains(command.assert(), 2, &name).map_err(|error| format!("--endpoint {endpoint:?}: {error}"))?;
        }
    }
    Ok(())
}

/// Nothing is overwritten.
fn output_exists(trial: &Trial) -> Result {
    let file = trial.file("output", b"precious")?;
    let [_, (receiver, name)] = programs(trial);
    let endpoint = trial.endpoint().unwrap_or("-");
    let mut command = program(receiver, trial);
    command.args(["--quiet", "--timeout", "1", "--endpoint", endpoint, "--output", &file]);
    complains(command.assert(), 1, &name)?;
    ensure!(fs::read(&file)? == b"precious", "the file was changed");
    Ok(())
}

/// In a folder like /tmp another user may have put a FIFO there, to read along.
fn output_planted(trial: &Trial) -> Result {
    let path = trial.path("planted");
    mkfifo(&path, Mode::from_bits_truncate(0o666))?;
    // Where it is opened, that does not wait.
    let _reader = File::options().read(true).write(true).open(&path)?;
    let [_, (receiver, name)] = programs(trial);
    let endpoint = trial.endpoint().unwrap_or("-");
    let refuses = |owner: u32| -> Result {
        chown(&path, Some(owner), None)?;
        let mut command = program(receiver, trial);
        command.args(["--quiet", "--timeout", "0.2", "--endpoint", endpoint, "--output"]).arg(&path);
        let assert = command.assert();
        let refused = String::from_utf8_lossy(&assert.get_output().stderr).contains("another user has put it there");
        ensure!(refused == (owner != 0), "of user {owner}: {}", String::from_utf8_lossy(&assert.get_output().stderr));
        if refused { complains(assert, 1, &name) } else { Ok(()) }
    };
    refuses(65534)?;
    refuses(0)
}

fn root(_: &Pair) -> Result<(), &'static str> {
    geteuid().is_root().then_some(()).ok_or("only root can make another user's objects")
}

fn missing_file(trial: &Trial) -> Result {
    let [(sender, name), _] = programs(trial);
    let missing = trial.path("missing").display().to_string();
    let mut command = program(sender, trial);
    command.args(["--quiet", "--timeout", "1", "--file", &missing]);
    complains(command.assert(), 1, &name)
}

crate::promises! {
    always: describe_help_and_version, bad_usage, bad_endpoint, output_exists, missing_file;
    root: output_planted;
}
