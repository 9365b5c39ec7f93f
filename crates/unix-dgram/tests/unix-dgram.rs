//! What is special about a Unix domain datagram socket: everybody may send to it, and it must choose; and no end of
//! file tells the end.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread;

use harness::pid::{go_on, stop};
use harness::program::{LONG, NOBODY, command, ended, ready, run, said};
use harness::{Place, socket_path};
use nix::unistd::setfsuid;
use unix_dgram::unix_dgram::{connect, put, take};

const SENDER: &str = env!("CARGO_BIN_EXE_unix-dgram-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_unix-dgram-receiver");
const HELLO: &[u8] = b"\x10\x05";
const END: &[u8] = b"\x10\x03";

/// A receiver that is ready.
fn receiver(place: &Place) -> Child {
    ready(command(RECEIVER, &place.path).args(["--timeout", "5"]).spawn().unwrap()).0
}

/// What becomes of a receiver to which a program of one's own sends these datagrams once it is heard.
fn told(place: &Place, datagrams: &[&[u8]]) -> (Option<i32>, Vec<u8>, String) {
    let receiver = receiver(place);
    let socket = connect(&place.path).unwrap();
    send(&socket, HELLO);
    assert_eq!(answer(&socket), HELLO);
    datagrams.iter().for_each(|datagram| send(&socket, datagram));
    ended(receiver)
}

fn send(socket: &UnixDatagram, datagram: &[u8]) {
    put(socket, datagram).unwrap();
}

fn answer(socket: &UnixDatagram) -> Vec<u8> {
    let mut buffer = [0; 16];
    socket.set_read_timeout(Some(LONG)).unwrap();
    let (len, _) = take(socket, &mut buffer).unwrap();
    buffer[..len].to_vec()
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
    let line = program.replace("/tmp/talk/d", &place.path.display().to_string());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]), "{stderr}");
}

/// Strangers of the same user send before and after the sender's hello: one that can be answered, one without an
/// address, one that is gone again. The receiver finds them all in its queue.
#[test]
fn what_strangers_send_is_not_mixed_in() {
    let place = Place::new();
    let receiver = receiver(&place);
    stop(&receiver);
    let stranger = connect(&place.path).unwrap();
    send(&stranger, b"evil\n");
    let nameless = UnixDatagram::unbound().unwrap();
    nameless.send_to(HELLO, &place.path).unwrap();
    let gone = connect(&place.path).unwrap();
    send(&gone, HELLO);
    send(&gone, b"evil\n");
    drop(gone);
    let sender = connect(&place.path).unwrap();
    send(&sender, HELLO);
    send(&stranger, HELLO);
    send(&stranger, b"evil\n");
    send(&stranger, END);
    nameless.send_to(b"evil\n", &place.path).unwrap();
    go_on(&receiver);
    assert_eq!(answer(&sender), HELLO);
    let refused = put(&stranger, b"evil\n").unwrap_err();
    assert_eq!(nix::Error::try_from(refused).unwrap(), nix::Error::EPERM);
    send(&sender, b"good\n");
    send(&sender, END);
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"good\n"[..]), "{stderr}");
}

/// Who says hello first is served.
#[test]
fn who_comes_second_is_told_so() {
    let place = Place::new();
    let receiver = receiver(&place);
    let first = connect(&place.path).unwrap();
    send(&first, HELLO);
    assert_eq!(answer(&first), HELLO);
    let said = said(&run(SENDER, &place.path, &["hello"]).code(1));
    assert!(said.contains("EPERM") && said.contains("the receiver serves another sender"), "{said}");
    send(&first, END);
    assert_eq!(ended(receiver).0, Some(0));
}

#[test]
fn datagrams_of_no_known_kind_are_refused() {
    for datagram in [&b""[..], b"\x10\x04", b"\x10\x03x", HELLO] {
        let (code, stdout, stderr) = told(&Place::new(), &[datagram]);
        assert_eq!((code, stdout.len()), (Some(1), 0), "{datagram:?}");
        assert!(stderr.contains("a datagram of no known kind"), "{stderr}");
    }
}

#[test]
fn a_datagram_that_is_too_long_is_not_taken_for_a_shorter_one() {
    socket_path::no_message_is_longer_than_128_kib(END, |sent| told(&Place::new(), sent));
}

/// No end of file tells that a program has gone which has not locked the lock file: only `--timeout` helps.
#[test]
fn a_sender_without_a_lock_that_goes_is_waited_for() {
    let place = Place::new();
    let receiver = ready(command(RECEIVER, &place.path).args(["--timeout", "0.5"]).spawn().unwrap()).0;
    let socket = connect(&place.path).unwrap();
    send(&socket, HELLO);
    assert_eq!(answer(&socket), HELLO);
    send(&socket, b"hello\n");
    drop(socket);
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(4), &b"hello\n"[..]), "{stderr}");
}

#[test]
fn the_plain_pair_cuts_off_what_does_not_fit() {
    let printed = socket_path::the_plain_pair_does_as_the_lesson_says("unix-dgram", include_str!("../README.md"));
    assert_eq!(printed, "31 bytes, 15 of them cut off\n3 bytes: two\n0 bytes: the end, as agreed\n");
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
#[ignore = "needs root, to be two users"]
fn another_user_is_turned_away() {
    // Who would send to our receiver: the mode keeps him out, though the folder would let him in.
    let place = Place::new();
    let mut receiver = receiver(&place);
    let sender = command(SENDER, &place.path).uid(NOBODY).args(["evil", "--timeout", "1"]).spawn().unwrap();
    assert_ne!(ended(sender).0, Some(0));
    let path = place.path.clone();
    let send_as_nobody = move || {
        setfsuid(NOBODY.into());
        UnixDatagram::unbound().unwrap().send_to(HELLO, path)
    };
    let refused = thread::spawn(send_as_nobody).join().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    receiver.kill().unwrap();
    receiver.wait().unwrap();

    // Who has put his own in its place.
    socket_path::another_users_receiver_is_turned_down(SENDER, RECEIVER, &["connect ", "EEXIST"]);
}
