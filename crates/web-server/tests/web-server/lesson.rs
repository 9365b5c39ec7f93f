//! The commands of the lesson, as README.md shows them.

use std::process::{Command, Stdio};

use libtest_mimic::Completion;

use crate::client::{LONG, get};
use crate::process::within;
use crate::server::{Mode, Server};
use crate::{Result, ensure, trials};

trials!(curl_does_not_break_out, a_shell_that_says_nothing_gets_no_child);

const LESSON: &str = include_str!("../../README.md");

/// A command of the lesson's, for the shell, at this server.
fn shell(server: &Server, command: &str, and_then: &str) -> Result<Command> {
    ensure!(harness::lesson::shows(LESSON, command), "the lesson does not show {command:?}");
    let script = format!("{}{and_then}", command.replace("8080", &server.address.port().to_string()));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]);
    Ok(shell)
}

fn curl_does_not_break_out(mode: Mode) -> Result<Completion> {
    let server = Server::start(mode, &[])?;
    let command = "curl --path-as-is http://127.0.0.1:8080/../Cargo.toml";
    let output = shell(&server, command, " --silent --write-out ' %{http_code}'")?.output()?;
    if output.status.code() == Some(127) {
        return Ok(Completion::ignored_with("curl is not installed"));
    }
    ensure!(output.status.success() && output.stdout.ends_with(b" 400"), "{output:?}");
    server.stop()?;
    Ok(Completion::Completed)
}

fn a_shell_that_says_nothing_gets_no_child(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    let before = server.children().len();
    let command = "for i in $(seq 200); do exec {fd}<>/dev/tcp/127.0.0.1/8080; done";
    // The connections stay open until the shell hears the end of its input.
    let mut shell = shell(&server, command, "; read")?.stdin(Stdio::piped()).spawn()?;
    let place = if mode == "fork" { "waiting" } else { "connections" };
    // After a second or three the kernel hands even silent connections over (TCP_DEFER_ACCEPT).
    let all_are_there = within(LONG, || server.total(place).is_ok_and(|count| count >= 200));
    let children = server.children().len();
    let page = get(server.address, "/digits.txt");
    drop(shell.stdin.take());
    shell.wait()?;
    ensure!(all_are_there, "{}", server.status()?);
    // One may still be busy with the status that was asked for.
    ensure!(children <= before + 1, "{children} children, and {before} before");
    ensure!(page?.status == 200, "no page came");
    server.stop()
}
