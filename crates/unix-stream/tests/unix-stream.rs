//! What is special about a Unix domain stream socket: its path, and that the kernel tells who is at the other end.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::pid::stop;
use harness::program::{NOBODY, command, ended, ready, run, said};
use harness::{Place, socket_path};

const SENDER: &str = env!("CARGO_BIN_EXE_unix-stream-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_unix-stream-receiver");

/// A receiver that listens.
fn receiver(place: &Place) -> Child {
    ready(command(RECEIVER, &place.path).spawn().unwrap()).0
}

#[test]
fn any_program_can_be_the_sender() {
    let place = Place::new();
    let receiver = receiver(&place);
    let mut stream = UnixStream::connect(&place.path).unwrap();
    stream.write_all(b"\0\0\0\x06hello\n\0\0\0\0\xff\xff\xff\xff").unwrap();
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]));
    assert!(stderr.contains("received 2 messages, 6 bytes"), "{stderr}");
    assert!(!place.path.exists());
}

#[test]
fn only_the_owner_may_connect_whatever_the_mask() {
    let place = Place::new();
    let line = format!("umask 0; exec '{RECEIVER}' --endpoint '{}'", place.path.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut receiver = ready(shell.spawn().unwrap()).0;
    let mode = fs::metadata(&place.path).unwrap().permissions().mode();
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_path_that_no_socket_can_have_is_refused_at_both_ends() {
    socket_path::a_path_that_no_socket_can_have_is_refused_at_both_ends(SENDER, RECEIVER);
}

#[test]
fn what_is_not_a_socket_of_ours_is_left_alone() {
    socket_path::what_is_not_a_socket_of_ours_is_left_alone(RECEIVER);
}

#[test]
fn a_name_that_leads_nowhere_is_replaced() {
    socket_path::a_name_that_leads_nowhere_is_replaced(SENDER, RECEIVER);
}

#[test]
fn a_second_connection_is_refused() {
    socket_path::a_second_connection_is_refused(SENDER, RECEIVER, |path| UnixStream::connect(path));
}

/// Nobody takes the connection: the queue has room for one, and the second waits in connect(2).
#[test]
fn waiting_in_a_full_queue_ends_in_time() {
    let place = Place::new();
    let mut receiver = receiver(&place);
    stop(&receiver);
    let waiting = UnixStream::connect(&place.path).unwrap();
    let started = Instant::now();
    let said = said(&run(SENDER, &place.path, &["--timeout", "0.3", "hello"]).code(4));
    assert!(said.contains("connect ") && started.elapsed() < Duration::from_secs(1), "{said}");
    drop(waiting);
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

#[test]
#[ignore = "needs root, to be two users"]
fn another_user_is_turned_away() {
    let place = Place::of_nobody();
    let (receiver, _) = ready(command(RECEIVER, &place.path).uid(NOBODY).spawn().unwrap());
    let mut foreign = UnixStream::connect(&place.path).unwrap();
    // Nothing comes back but the end: it is not served, and the receiver goes on waiting.
    let _ = foreign.write_all(b"\0\0\0\x05evil\n\xff\xff\xff\xff");
    let _ = foreign.shutdown(Shutdown::Write);
    let _ = foreign.read_to_end(&mut Vec::new());
    let sender = command(SENDER, &place.path).uid(NOBODY).arg("good").spawn().unwrap();
    assert_eq!(ended(sender).0, Some(0));
    assert_eq!(ended(receiver).1, b"good\n");

    // The other way round.
    let why = ["another user's process listens there"];
    socket_path::another_users_receiver_is_turned_down(SENDER, RECEIVER, &why);
}
