//! What holds of each pair that meets at a Unix domain socket with a path, whatever the socket carries.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};

use crate::Place;
use crate::pid::wait_for;
use crate::program::{NOBODY, command, ended, example, ready, run, said};

fn ready_at(receiver: &str, place: &Place) -> Child {
    ready(command(receiver, &place.path).spawn().unwrap()).0
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Runs the plain programs of a lesson. Returns what the receiver prints, which the lesson has to show.
pub fn the_plain_pair_does_as_the_lesson_says(technique: &str, lesson: &str) -> String {
    let place = Place::new();
    let plain = |end: &str| {
        let mut command = example(&format!("{technique}-plain-{end}"));
        command.arg(&place.path).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    };
    let mut receiver = plain("receiver").spawn().unwrap();
    // It has no rendezvous: a sender that comes before it fails. And one that has more to say than it listens to may fail too.
    wait_for("the plain receiver", || {
        let sent = plain("sender").stderr(Stdio::null()).status().unwrap().success();
        (sent || receiver.try_wait().unwrap().is_some()).then_some(())
    });
    let printed = String::from_utf8(receiver.wait_with_output().unwrap().stdout).unwrap();
    assert!(printed.lines().all(|line| lesson.contains(line)), "the lesson says otherwise: {printed}");
    printed
}

/// `sun_path` has room for 107 bytes and the zero byte behind them (unix(7)).
pub fn a_path_that_no_socket_can_have_is_refused_at_both_ends(sender: &str, receiver: &str) {
    let long = Place::new().path.with_file_name("x".repeat(120));
    for program in [sender, receiver] {
        let said = said(&run(program, &long, &[]).code(1));
        assert!(said.contains("ENAMETOOLONG") && said.contains("at most 107 bytes"), "{said}");
    }
}

/// A receiver removes what a dead one has left, and nothing else.
pub fn what_is_not_a_socket_of_ours_is_left_alone(receiver: &str) {
    let place = Place::new();
    fs::write(&place.path, "precious").unwrap();
    let said = said(&run(receiver, &place.path, &[]).code(1));
    assert!(said.contains("it is not of our making"), "{said}");
    assert_eq!(fs::read(&place.path).unwrap(), b"precious");
}

/// A killed receiver leaves its name. The next one replaces it.
pub fn a_name_that_leads_nowhere_is_replaced(sender: &str, receiver: &str) {
    let place = Place::new();
    kill(ready_at(receiver, &place));
    assert!(place.path.exists());
    let again = ready_at(receiver, &place);
    run(sender, &place.path, &["again"]).success();
    assert_eq!(ended(again).1, b"again\n");
}

/// Once it has its sender, a receiver does not listen any more. The name is there until the end; nobody stands behind it.
pub fn a_second_connection_is_refused<T>(sender: &str, receiver: &str, connect: impl FnOnce(&Path) -> io::Result<T>) {
    let place = Place::new();
    let mut receiver = ready_at(receiver, &place);
    let mut sender = command(sender, &place.path).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    receiver.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    assert_eq!(connect(&place.path).err().map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
    drop(input);
    assert_eq!((ended(sender).0, ended(receiver).0), (Some(0), Some(0)));
}

/// Not one that fits into the receiver's buffer, nor one that is cut off there; with a byte in front that does not count, too.
/// `told` says what becomes of a receiver to which this is sent.
pub fn no_message_is_longer_than_128_kib(end: &[u8], told: impl Fn(&[&[u8]]) -> (Option<i32>, Vec<u8>, String)) {
    const LONGEST: usize = 128 << 10;
    for front in [&b""[..], b"\x10\x10"] {
        let longest = [front, &vec![0; LONGEST - front.len() / 2]].concat();
        let (code, stdout, stderr) = told(&[&longest, end]);
        assert_eq!((code, stdout.len()), (Some(0), LONGEST), "{stderr}");
        for more in 1..=3 {
            let (code, stdout, stderr) = told(&[&[&longest[..], &vec![0; more]].concat()]);
            assert_eq!((code, stdout.len()), (Some(5), 0));
            let said = format!("message too long: {} bytes", LONGEST + more);
            assert!(stderr.contains(&said), "{said:?} is not in {stderr:?}");
        }
    }
}

/// Who has put his own socket in the place of ours, behind a lock file of ours: nothing is sent to it. Only root can try it.
pub fn another_users_receiver_is_turned_down(sender: &str, receiver: &str, why: &[&str]) {
    let place = Place::new();
    let ours = ready_at(receiver, &place);
    let theirs = Place::of_nobody();
    let foreign = ready(command(receiver, &theirs.path).uid(NOBODY).spawn().unwrap()).0;
    fs::rename(&theirs.path, &place.path).unwrap();
    let said = said(&run(sender, &place.path, &["secret"]).code(1));
    assert!(why.iter().all(|part| said.contains(part)), "{said}");
    kill(foreign);
    kill(ours);
}
