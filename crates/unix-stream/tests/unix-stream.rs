//! What is special about a Unix domain stream socket: its path, and that the kernel tells who is at the other end.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, process};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, chown};

const SENDER: &str = env!("CARGO_BIN_EXE_unix-stream-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_unix-stream-receiver");
const LONG: Duration = Duration::from_secs(10);
/// The user `nobody`.
const NOBODY: u32 = 65534;

/// A path in a folder of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Place {
        let folder = env::temp_dir().join(format!("unix-stream-programs-{}-{test}", process::id()));
        fs::create_dir(&folder).unwrap();
        Place(folder.join("s"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--endpoint").arg(&self.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, program: &str, words: &[&str]) -> assert_cmd::assert::Assert {
        assert_cmd::Command::new(program).arg("--endpoint").arg(&self.0).args(words).timeout(LONG).assert()
    }

    /// A receiver that listens.
    fn receiver(&self) -> Child {
        ready(self.command(RECEIVER).spawn().unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// Waits for the line that says so.
fn ready(mut receiver: Child) -> Child {
    let mut line = String::new();
    let mut stderr = BufReader::with_capacity(1, receiver.stderr.as_mut().unwrap());
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains(": ready "), "{line}");
    receiver
}

fn ended(child: Child) -> (Option<i32>, Vec<u8>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn any_program_can_be_the_sender() {
    let place = Place::new("any");
    let receiver = place.receiver();
    let mut stream = UnixStream::connect(&place.0).unwrap();
    stream.write_all(b"\0\0\0\x06hello\n\0\0\0\0\xff\xff\xff\xff").unwrap();
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]));
    assert!(stderr.contains("received 2 messages, 6 bytes"), "{stderr}");
    assert!(!place.0.exists());
}

#[test]
fn only_the_owner_may_connect_whatever_the_mask() {
    let place = Place::new("mask");
    let line = format!("umask 0; exec '{RECEIVER}' --endpoint '{}'", place.0.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut receiver = ready(shell.spawn().unwrap());
    let mode = fs::metadata(&place.0).unwrap().permissions().mode();
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_path_that_no_socket_can_have_is_refused_at_both_ends() {
    let place = Place::new("long");
    let long = place.0.with_file_name("x".repeat(120));
    for program in [SENDER, RECEIVER] {
        let mut command = assert_cmd::Command::new(program);
        let run = command.arg("--endpoint").arg(&long).timeout(LONG).assert().code(1);
        let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(stderr.contains("ENAMETOOLONG") && stderr.contains("at most 107 bytes"), "{stderr}");
    }
}

#[test]
fn what_is_not_a_socket_of_ours_is_left_alone() {
    let place = Place::new("file");
    fs::write(&place.0, "precious").unwrap();
    let run = place.run(RECEIVER, &[]).code(1);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.contains("it is not of our making"), "{stderr}");
    assert_eq!(fs::read(&place.0).unwrap(), b"precious");
}

/// A killed receiver leaves its name. The next one replaces it.
#[test]
fn a_name_without_a_listener_is_replaced() {
    let place = Place::new("stale");
    let mut receiver = place.receiver();
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    assert!(place.0.exists());
    let receiver = place.receiver();
    place.run(SENDER, &["again"]).success();
    assert_eq!(ended(receiver).1, b"again\n");
}

/// Once it has its sender, a receiver does not listen any more.
#[test]
fn a_second_connection_is_refused() {
    let place = Place::new("second");
    let mut receiver = place.receiver();
    let mut sender = place.command(SENDER).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    receiver.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    // The name is there until the end; nobody stands behind it any more.
    assert_eq!(UnixStream::connect(&place.0).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    drop(input);
    assert_eq!((ended(sender).0, ended(receiver).0), (Some(0), Some(0)));
}

/// Nobody takes the connection: the queue has room for one, and the second waits in connect(2).
#[test]
fn waiting_in_a_full_queue_ends_in_time() {
    let place = Place::new("queue");
    let mut receiver = place.receiver();
    kill(Pid::from_raw(receiver.id() as i32), Signal::SIGSTOP).unwrap();
    let waiting = UnixStream::connect(&place.0).unwrap();
    let started = Instant::now();
    let run = place.run(SENDER, &["--timeout", "0.3", "hello"]).code(4);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.contains("connect ") && started.elapsed() < Duration::from_secs(1), "{stderr}");
    drop(waiting);
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

#[test]
#[ignore = "needs root, to be two users"]
fn another_user_is_turned_away() {
    let place = Place::new("foreign");
    chown(place.0.parent().unwrap(), Some(NOBODY.into()), None).unwrap();
    let receiver = ready(place.command(RECEIVER).uid(NOBODY).spawn().unwrap());
    let mut foreign = UnixStream::connect(&place.0).unwrap();
    // Nothing comes back but the end: it is not served, and the receiver goes on waiting.
    let _ = foreign.write_all(b"\0\0\0\x05evil\n\xff\xff\xff\xff");
    let _ = foreign.shutdown(Shutdown::Write);
    let _ = foreign.read_to_end(&mut Vec::new());
    let sender = place.command(SENDER).uid(NOBODY).arg("good").spawn().unwrap();
    assert_eq!(ended(sender).0, Some(0));
    assert_eq!(ended(receiver).1, b"good\n");

    // The other way round, behind a lock file of ours: the listener is nobody's.
    let theirs = Place::new("foreign-listener");
    chown(theirs.0.parent().unwrap(), Some(NOBODY.into()), None).unwrap();
    let mut foreign = ready(theirs.command(RECEIVER).uid(NOBODY).spawn().unwrap());
    let mut receiver = place.receiver();
    fs::rename(&theirs.0, &place.0).unwrap();
    let run = place.run(SENDER, &["secret"]).code(1);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.contains("another user's process listens there"), "{stderr}");
    for child in [&mut foreign, &mut receiver] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
