//! The command line and the start: exit codes, and one line that says what is wrong.

use std::net::TcpListener;
use std::time::Duration;

use assert_cmd::Command;
use tempfile::TempDir;

use crate::server::{PROGRAM, Server};
use crate::{Result, ensure};

/// A trial, which no mode makes a difference to.
pub(crate) type Trial = (&'static str, fn() -> Result);

pub(crate) const TRIALS: &[Trial] = &[
    ("usage_errors", usage_errors),
    ("help_and_version", help_and_version),
    ("the_root_must_be_a_folder", the_root_must_be_a_folder),
    ("a_port_in_use_is_refused", a_port_in_use_is_refused),
];

/// Runs the program and returns what it says on standard error.
fn fails(words: &[&str], code: i32) -> Result<String> {
    let output = Command::new(PROGRAM).args(words).timeout(Duration::from_secs(20)).output()?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(code), "{words:?}: {}, {text:?}", output.status);
    ensure!(text.lines().count() == 1 && text.starts_with("web-server: "), "{words:?}: {text:?}");
    ensure!(output.stdout.is_empty(), "{words:?} wrote to standard output");
    Ok(text)
}

fn usage_errors() -> Result {
    for words in [
        &[][..],
        &["--root"],
        &["--root", "/", "--port", "65536"],
        &["--root", "/", "--mode", "thread"],
        &["--root", "/", "--workers", "0"],
        &["--root", "/", "--max-children", "0"],
        &["--root", "/", "--timeout", "0"],
        &["--root", "/", "--grace", "soon"],
        &["--root", "/", "--listen", "localhost:80"],
        &["--root", "/", "more"],
    ] {
        fails(words, 2)?;
    }
    Ok(())
}

fn help_and_version() -> Result {
    for (word, expected) in [("--help", "--max-children"), ("--version", "web-server 0")] {
        let run = Command::new(PROGRAM).arg(word).assert().success();
        let text = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
        ensure!(text.contains(expected), "{text}");
    }
    Ok(())
}

fn the_root_must_be_a_folder() -> Result {
    let dir = TempDir::new()?;
    let missing = dir.path().join("missing");
    let missing = missing.to_str().ok_or("not a text")?;
    let text = fails(&["--port", "0", "--root", missing], 1)?;
    ensure!(text.contains("ENOENT") && text.contains(missing), "{text}");
    let text = fails(&["--port", "0", "--root", "/etc/passwd"], 1)?;
    ensure!(text.contains("ENOTDIR"), "{text}");
    Ok(())
}

fn a_port_in_use_is_refused() -> Result {
    let other = TcpListener::bind("127.0.0.1:0")?;
    let port = other.local_addr()?.port().to_string();
    let text = fails(&["--root", "/usr", "--port", &port], 1)?;
    ensure!(text.contains("EADDRINUSE") && text.contains(&port), "{text}");
    // Another server of ours, in either mode, is no exception.
    for mode in crate::server::MODES {
        let server = Server::start(mode, &[])?;
        let port = server.address.port().to_string();
        fails(&["--root", "/usr", "--port", &port, "--mode", "prefork"], 1)?;
        server.stop()?;
    }
    Ok(())
}
