//! What is special about a Unix domain seqpacket socket: whole records, an end that reads like an empty one, and that
//! the kernel tells who is at the other end.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use harness::program::{NOBODY, command, ended, ready};
use harness::{Place, socket_path};
use unix_seqpacket::unix_seqpacket::{connect, put, take};

const SENDER: &str = env!("CARGO_BIN_EXE_unix-seqpacket-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_unix-seqpacket-receiver");

const END: &[u8] = b"\x10\x03";

/// A receiver that listens.
fn receiver(place: &Place) -> Child {
    ready(command(RECEIVER, &place.path).spawn().unwrap()).0
}

/// What becomes of a receiver to which a program of one's own sends these records and then closes.
fn told(place: &Place, records: &[&[u8]]) -> (Option<i32>, Vec<u8>, String) {
    let receiver = receiver(place);
    let socket = connect(&place.path).unwrap();
    records.iter().for_each(|record| put(&socket, record).unwrap());
    drop(socket);
    ended(receiver)
}

#[test]
fn any_program_can_be_the_sender() {
    let place = Place::new();
    let (code, stdout, stderr) = told(&place, &[b"hello\n", b"\x10", b"\x10\x10\x03", END]);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n\x10\x03"[..]));
    assert!(stderr.contains("received 3 messages, 8 bytes"), "{stderr}");
    assert!(!place.path.exists());
}

/// The command of the lesson.
#[test]
#[ignore = "needs python3"]
fn python_can_be_the_sender() {
    let place = Place::new();
    let receiver = receiver(&place);
    let program = include_str!("../README.md").lines().find(|line| line.starts_with("python3 -c ")).unwrap();
    let line = program.replace("/tmp/talk/s", &place.path.display().to_string());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]), "{stderr}");
}

/// A connection that ends is not the end, and an empty record is neither an end nor a message.
#[test]
fn without_the_last_record_nothing_is_finished() {
    let one: &[u8] = b"one\n";
    for records in [&[][..], &[one], &[one, b""], &[b""]] {
        let (code, _, stderr) = told(&Place::new(), records);
        assert_eq!(code, Some(3), "{records:?}: {stderr}");
        assert!(stderr.contains("the sender ended without finishing"), "{stderr}");
    }
}

#[test]
fn records_of_no_known_kind_are_refused() {
    for record in [&b"\x10\x04"[..], b"\x10\x03x"] {
        let (code, stdout, stderr) = told(&Place::new(), &[record]);
        assert_eq!((code, stdout.len()), (Some(1), 0), "{record:?}");
        assert!(stderr.contains("a record of no known kind"), "{stderr}");
    }
}

#[test]
fn a_record_that_is_too_long_is_not_taken_for_a_shorter_one() {
    socket_path::no_message_is_longer_than_128_kib(END, |sent| told(&Place::new(), sent));
}

/// The plain pair: the second record, which is empty, ends it, and the third one is never seen.
#[test]
fn who_stops_at_0_misses_what_comes_after_an_empty_record() {
    let printed = socket_path::the_plain_pair_does_as_the_lesson_says("unix-seqpacket", include_str!("../README.md"));
    assert_eq!(printed, "31 bytes, 15 of them cut off\n0 bytes: the end, or an empty record?\n");
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
    socket_path::a_second_connection_is_refused(SENDER, RECEIVER, connect);
}

#[test]
#[ignore = "needs root, to be two users"]
fn another_user_is_turned_away() {
    let place = Place::of_nobody();
    let (receiver, _) = ready(command(RECEIVER, &place.path).uid(NOBODY).spawn().unwrap());
    // Root may connect everywhere. Nothing comes back but the end: it is not served, and the receiver goes on waiting.
    let foreign: OwnedFd = connect(&place.path).unwrap();
    let _ = put(&foreign, b"\0evil\n");
    let _ = put(&foreign, b"\x01");
    let _ = take(&foreign, &mut []);
    let sender = command(SENDER, &place.path).uid(NOBODY).arg("good").spawn().unwrap();
    assert_eq!(ended(sender).0, Some(0));
    assert_eq!(ended(receiver).1, b"good\n");

    // The other way round.
    let why = ["another user's process listens there"];
    socket_path::another_users_receiver_is_turned_down(SENDER, RECEIVER, &why);
}
