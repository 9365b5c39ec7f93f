//! What is special about a Unix domain seqpacket socket: whole records, an end that reads like an empty one, and that
//! the kernel tells who is at the other end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use nix::unistd::chown;
use unix_seqpacket::unix_seqpacket::{connect, put, take};

const SENDER: &str = env!("CARGO_BIN_EXE_unix-seqpacket-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_unix-seqpacket-receiver");
const LONG: Duration = Duration::from_secs(10);
/// The user `nobody`.
const NOBODY: u32 = 65534;

/// A path in a folder of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Place {
        let folder = env::temp_dir().join(format!("unix-seqpacket-programs-{}-{test}", process::id()));
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

    /// What becomes of a receiver to which a program of one's own sends these records and then closes.
    fn told(&self, records: &[&[u8]]) -> (Option<i32>, Vec<u8>, String) {
        let receiver = self.receiver();
        let socket = connect(&self.0).unwrap();
        records.iter().for_each(|record| put(&socket, record).unwrap());
        drop(socket);
        ended(receiver)
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
    let (code, stdout, stderr) = place.told(&[b"\0hello\n", b"\0", b"\x01"]);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]));
    assert!(stderr.contains("received 2 messages, 6 bytes"), "{stderr}");
    assert!(!place.0.exists());
}

/// The command of the lesson.
#[test]
#[ignore = "needs python3"]
fn python_can_be_the_sender() {
    let place = Place::new("python");
    let receiver = place.receiver();
    let program = include_str!("../README.md").lines().find(|line| line.starts_with("python3 -c ")).unwrap();
    let line = program.replace("/tmp/talk/s", &place.0.display().to_string());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]), "{stderr}");
}

/// A connection that ends is not the end, and an empty record is neither an end nor a message.
#[test]
fn without_the_last_record_nothing_is_finished() {
    let one: &[u8] = b"\0one\n";
    for records in [&[][..], &[one], &[one, b""], &[b""]] {
        let (code, _, stderr) = Place::new("unfinished").told(records);
        assert_eq!(code, Some(3), "{records:?}: {stderr}");
        assert!(stderr.contains("the sender ended without finishing"), "{stderr}");
    }
}

#[test]
fn records_of_no_known_kind_are_refused() {
    for record in [&b"\x02"[..], b"\x01x", b"hello"] {
        let (code, stdout, stderr) = Place::new("unknown").told(&[record]);
        assert_eq!((code, stdout.len()), (Some(1), 0), "{record:?}");
        assert!(stderr.contains("a record of no known kind"), "{stderr}");
    }
}

#[test]
fn a_record_that_is_too_long_is_not_taken_for_a_shorter_one() {
    let longest = vec![0; 1 + (128 << 10)];
    let (code, stdout, stderr) = Place::new("longest").told(&[&longest, b"\x01"]);
    assert_eq!((code, stdout.len()), (Some(0), 128 << 10), "{stderr}");
    let (code, stdout, stderr) = Place::new("too-long").told(&[&[&longest[..], b"x"].concat()]);
    assert_eq!((code, stdout.len()), (Some(5), 0));
    assert!(stderr.contains("message too long: 131073 bytes"), "{stderr}");
}

/// One of the plain programs of the lesson.
fn example(name: &str, path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "unix-seqpacket", "--example", name, "--"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The plain pair: the second record, which is empty, ends it, and the third one is never seen.
#[test]
fn who_stops_at_0_misses_what_comes_after_an_empty_record() {
    let place = Place::new("plain");
    let receiver = example("unix-seqpacket-plain-receiver", &place.0).spawn().unwrap();
    let started = Instant::now();
    // It has no rendezvous: a sender that comes before it fails.
    while !example("unix-seqpacket-plain-sender", &place.0).stderr(Stdio::null()).status().unwrap().success() {
        assert!(started.elapsed() < 6 * LONG, "the plain receiver does not come");
    }
    let output = receiver.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "31 bytes, 15 of them cut off\n0 bytes: the end, or an empty record?\n");
    let lesson = include_str!("../README.md");
    assert!(printed.lines().all(|line| lesson.contains(line)), "the lesson says otherwise");
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
    assert_eq!(connect(&place.0).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    drop(input);
    assert_eq!((ended(sender).0, ended(receiver).0), (Some(0), Some(0)));
}

#[test]
#[ignore = "needs root, to be two users"]
fn another_user_is_turned_away() {
    let place = Place::new("foreign");
    chown(place.0.parent().unwrap(), Some(NOBODY.into()), None).unwrap();
    let receiver = ready(place.command(RECEIVER).uid(NOBODY).spawn().unwrap());
    // Root may connect everywhere. Nothing comes back but the end: it is not served, and the receiver goes on waiting.
    let foreign: OwnedFd = connect(&place.0).unwrap();
    let _ = put(&foreign, b"\0evil\n");
    let _ = put(&foreign, b"\x01");
    let _ = take(&foreign, &mut []);
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
