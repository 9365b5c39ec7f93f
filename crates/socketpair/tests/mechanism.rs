//! What the mechanism does by itself.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::{fs, thread};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::SndBuf;
use socketpair::socketpair::{Socket, create};

fn bytes(seed: u32) -> Vec<u8> {
    (0..3_000_003_u32).map(|at| ((at ^ seed) % 251) as u8).collect()
}

/// Reads until the end of file, and demands that it is what `bytes(seed)` makes.
fn expect(mut socket: &Socket, seed: u32) {
    let mut received = Vec::new();
    socket.read_to_end(&mut received).unwrap();
    assert!(received == bytes(seed), "{} other bytes came", received.len());
}

fn send(mut socket: &Socket, seed: u32) {
    socket.write_all(&bytes(seed)).unwrap();
    socket.finish_writing().unwrap();
}

#[test]
fn both_directions_carry_at_once_through_one_descriptor_each() {
    let (here, there) = create().unwrap();
    // Each direction carries more than its buffer holds, so neither end can write first and read later.
    thread::scope(|scope| {
        scope.spawn(|| send(&here, 1));
        scope.spawn(|| send(&there, 2));
        scope.spawn(|| expect(&here, 2));
        expect(&there, 1);
    });
}

#[test]
fn both_ask_for_more_room_than_the_default() {
    let default = fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
    let default: usize = default.trim().parse().unwrap();
    let (here, there) = create().unwrap();
    for socket in [OwnedFd::from(here), OwnedFd::from(there)] {
        assert!(getsockopt(&socket, SndBuf).unwrap() > default);
    }
}

#[test]
fn no_boundaries_are_kept() {
    let (mut here, mut there) = create().unwrap();
    here.write_all(b"one").unwrap();
    here.write_all(b"two").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(there.read(&mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"onetwo");
}

#[test]
fn an_end_that_has_finished_writing_can_still_read() {
    let (mut here, mut there) = create().unwrap();
    here.write_all(b"question").unwrap();
    here.finish_writing().unwrap();
    let mut question = String::new();
    there.read_to_string(&mut question).unwrap();
    there.write_all(b"answer").unwrap();
    drop(there);
    let mut answer = String::new();
    here.read_to_string(&mut answer).unwrap();
    assert_eq!((&*question, &*answer), ("question", "answer"));
}

#[test]
fn writing_with_nobody_to_read_is_an_error() {
    let (mut here, there) = create().unwrap();
    drop(there);
    assert_eq!(until_it_fails(&mut here), ErrorKind::BrokenPipe);
}

/// Another test may be starting a child at this moment, which has a copy of everything until it executes its
/// program. Until then the bytes are taken.
fn until_it_fails(socket: &mut Socket) -> ErrorKind {
    loop {
        match socket.write_all(b"x") {
            Ok(()) => thread::yield_now(),
            Err(error) => return error.kind(),
        }
    }
}

#[test]
fn closing_what_is_unread_resets_the_other_end_after_its_data() {
    let (mut here, mut there) = create().unwrap();
    here.write_all(b"never read").unwrap();
    there.write_all(b"last words").unwrap();
    drop(there);
    until_it_fails(&mut here);
    let mut buffer = [0; 16];
    assert_eq!(here.read(&mut buffer).unwrap(), 10, "nothing that was written is lost");
    assert_eq!(here.read(&mut buffer).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(here.read(&mut buffer).unwrap(), 0, "the error is told once");
}

#[test]
fn a_pipe_has_one_direction() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut writer = Socket::from(OwnedFd::from(writer));
    let mut reader = Socket::from(OwnedFd::from(reader));
    writer.write_all(b"x").unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 1);
    assert!(!reader.has_two_directions().unwrap());
    assert!(reader.write_all(b"y").is_err());
    assert!(create().unwrap().0.has_two_directions().unwrap());
}

#[test]
fn one_socket_is_a_childs_input_and_output() {
    let (mut ours, theirs) = create().unwrap();
    let theirs = OwnedFd::from(theirs);
    // If it had inherited ours as well, it would wait for itself and never end.
    let mut child = Command::new("sort").stdin(theirs.try_clone().unwrap()).stdout(theirs).spawn().unwrap();
    ours.write_all(b"two\none\n").unwrap();
    ours.finish_writing().unwrap();
    let mut answer = String::new();
    ours.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "one\ntwo\n");
    assert!(child.wait().unwrap().success());
}

/// Unlike a pipe, it has no entrance in the file system.
#[test]
fn a_socket_cannot_be_opened_again() {
    let (ours, theirs) = create().unwrap();
    let mut cat = Command::new("cat");
    let output =
        cat.arg("/dev/stdin").env("LC_ALL", "C").stdin(OwnedFd::from(theirs)).stderr(Stdio::piped()).output().unwrap();
    drop(ours);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("No such device or address"), "{said}");
}
