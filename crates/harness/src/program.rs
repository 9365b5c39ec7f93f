//! Programs that a test starts by itself, where it needs more of a hand in them than a [`Trial`](crate::Trial) leaves it:
//! one of the two ends is the test's own, or the user, the folder or the descriptors are. What goes wrong here panics, and so
//! fails the test.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use assert_cmd::assert::Assert;

use crate::launch::prepare;

/// Nothing that goes well takes so long.
pub const LONG: Duration = Duration::from_secs(10);
/// The user `nobody`.
pub const NOBODY: u32 = 65534;

/// A program that is told where to meet the other one, without input; its output is for [`ended`].
pub fn command(program: &str, endpoint: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.arg("--endpoint").arg(endpoint).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    prepare(&mut command, None);
    command
}

/// Runs such a program to its end.
pub fn run(program: &str, endpoint: impl AsRef<OsStr>, words: &[&str]) -> Assert {
    assert_cmd::Command::new(program).arg("--endpoint").arg(endpoint).args(words).timeout(LONG).assert()
}

/// What a program that [`run`] has run said on standard error.
pub fn said(run: &Assert) -> String {
    text(&run.get_output().stderr)
}

/// A receiver that has said that it is ready, and where.
pub fn ready(mut receiver: Child) -> (Child, String) {
    let mut line = String::new();
    // Byte by byte: what is behind this line is for `ended`.
    let mut stderr = BufReader::with_capacity(1, receiver.stderr.as_mut().unwrap());
    stderr.read_line(&mut line).unwrap();
    let endpoint = line.trim_end().rsplit_once(": ready ").unwrap_or_else(|| panic!("{line}")).1;
    (receiver, endpoint.to_owned())
}

/// The exit code of a program, all of its standard output, and what it said on standard error.
pub fn ended(child: Child) -> (Option<i32>, Vec<u8>, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    (status.code(), stdout, text(&stderr))
}

/// Checks the exit code and hands back what stands on standard error.
#[track_caller]
pub fn expect(output: &Output, code: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// What a program printed, for a person to read.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A program in the `examples` of the package under test; cargo builds them for a test of the whole package.
pub fn example(name: &str) -> Command {
    let test = env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    let path = target.join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    Command::new(path)
}

/// A process that does not outlive its test, however that ends.
pub struct Mortal(pub Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
