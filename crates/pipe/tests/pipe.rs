//! What is special about a pipe: the two programs are a family, and the channel has no name.

use std::fs;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::Signal;
use harness::family::{self, long_talk, run};
use harness::pid::{signal, state};
use harness::program::{LONG, ended, said, text};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

const SENDER: &str = env!("CARGO_BIN_EXE_pipe-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_pipe-receiver");

#[test]
fn the_sender_starts_the_receiver_and_passes_its_options_on() {
    family::the_sender_starts_the_receiver_and_passes_its_options_on(SENDER);
}

#[test]
fn the_failure_of_the_receiver_is_the_failure_of_the_sender() {
    family::the_failure_of_the_receiver_is_the_failure_of_the_sender(SENDER);
}

#[test]
fn a_receiver_needs_a_pipe() {
    let run = assert_cmd::Command::new(RECEIVER).assert().code(2);
    assert!(said(&run).contains("pipe-sender, which starts this"));
}

#[test]
fn a_shell_can_make_the_pipe() {
    let line = format!("'{SENDER}' --endpoint - hello | '{RECEIVER}' --endpoint -");
    assert_cmd::Command::new("sh").args(["-c", &line]).timeout(LONG).assert().success().stdout("hello\n");
}

#[test]
fn options_of_a_receiver_that_is_not_ours_to_start_are_refused() {
    family::options_of_a_receiver_that_is_not_ours_to_start_are_refused(SENDER);
}

#[test]
fn the_bytes_on_the_wire_are_those_of_the_lesson() {
    run(SENDER, &["--endpoint", "-", "hello"]).success().stdout(&b"\0\0\0\x06hello\n\xff\xff\xff\xff"[..]);
}

#[test]
fn an_end_of_file_without_the_end_mark_is_a_death() {
    for cut in [&b""[..], b"\0", b"\0\0\0\x06hel", b"\0\0\0\x06hello\n"] {
        let mut receiver = assert_cmd::Command::new(RECEIVER);
        let run = receiver.args(["--endpoint", "-"]).write_stdin(cut).timeout(LONG).assert().code(3);
        let whole = if cut.len() == 10 { "hello\n" } else { "" };
        assert_eq!(text(&run.get_output().stdout), whole);
    }
}

/// O_NONBLOCK stays on an inherited pipe, and waiting must not become a loop that burns the CPU.
#[test]
fn a_nonblocking_pipe_is_waited_for() {
    let (reader, writer): (PipeReader, PipeWriter) = pipe().unwrap();
    for end in [reader.as_fd(), writer.as_fd()] {
        fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    }
    let mut sender = Command::new(SENDER)
        .args(["--endpoint", "-", "--quiet", "--count", "100", "--size", "10000"])
        .stdout(writer)
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(200));
    let stat = fs::read_to_string(format!("/proc/{}/stat", sender.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u32 = fields[11].parse::<u32>().unwrap() + fields[12].parse::<u32>().unwrap();
    assert!(ticks < 10, "{ticks} of 20 ticks spent waiting for a full pipe");
    let receiver = Command::new(RECEIVER).args(["--endpoint", "-", "--quiet"]).stdin(reader).output().unwrap();
    assert_eq!((receiver.status.code(), receiver.stdout.len()), (Some(0), 1_000_000));
    assert!(sender.wait().unwrap().success());
}

#[test]
fn a_signal_to_the_sender_ends_both() {
    for (name, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let (child, receiver) = long_talk(SENDER, &[]);
        signal(child.id(), name);
        let (status, _, stderr) = ended(child);
        assert_eq!(status, Some(code), "{stderr}");
        assert_eq!(state(receiver), None, "{name:?} left the receiver");
    }
}

#[test]
fn a_receiver_that_is_killed_is_told_of() {
    family::a_receiver_that_is_killed_is_told_of(SENDER);
}

#[test]
fn an_orphan_ends_by_itself() {
    family::an_orphan_ends_by_itself(SENDER);
}

#[test]
fn a_stopped_receiver_is_given_up_in_time_and_not_left_behind() {
    let (child, receiver) = long_talk(SENDER, &["--timeout", "0.5"]);
    signal(receiver, Signal::STOP);
    let started = Instant::now();
    let (status, _, stderr) = ended(child);
    assert_eq!(status, Some(4), "{stderr}");
    assert!(stderr.contains("pipe-sender: write: nothing happened for 0.5 s"), "{stderr}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(state(receiver), None);
}

#[test]
fn the_output_obeys_the_mask_of_the_user() {
    use std::os::unix::fs::PermissionsExt;
    let path = format!("{}/mask", env!("CARGO_TARGET_TMPDIR"));
    let _ = fs::remove_file(&path);
    let line = format!("umask 027; exec '{SENDER}' --quiet --output '{path}' hello");
    assert_cmd::Command::new("sh").args(["-c", &line]).timeout(LONG).assert().success();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    fs::remove_file(&path).unwrap();
}

#[test]
fn lines_of_standard_input_are_the_senders_and_not_the_receivers() {
    let mut child = Command::new(SENDER).arg("--quiet").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), "one\ntwo\n");
}
