//! What the mechanism does by itself.

use std::io::{self, ErrorKind, IoSlice};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{env, fs, process, thread};

use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{MultiHeaders, getsockopt};
use unix_dgram::unix_dgram::{connect, create, put, put_parts, remove, take, take_only_from, take_several};

/// A path in a folder of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Place {
        let folder = env::temp_dir().join(format!("unix-dgram-{}-{test}", process::id()));
        fs::create_dir(&folder).unwrap();
        Place(folder.join("s"))
    }

    /// A sending and a receiving end.
    fn both(&self) -> (UnixDatagram, UnixDatagram) {
        let receiver = create(&self.0).unwrap();
        (connect(&self.0).unwrap(), receiver)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn put_bytes(socket: &UnixDatagram, bytes: &[u8]) -> io::Result<()> {
    put(socket, bytes)
}

fn taken(socket: &UnixDatagram) -> Vec<u8> {
    let mut buffer = [0; 5000];
    let (len, _) = take(socket, &mut buffer).unwrap();
    buffer[..len].to_vec()
}

fn number(path: &str) -> usize {
    fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

fn errno(result: io::Result<()>) -> nix::Error {
    nix::Error::try_from(result.unwrap_err()).unwrap()
}

#[test]
fn datagrams_come_out_as_they_went_in() {
    let place = Place::new("order");
    let (sender, receiver) = place.both();
    let datagrams: Vec<Vec<u8>> = (0..2000).map(|at| vec![at as u8; at * 7 % 5000]).collect();
    let expected = datagrams.clone();
    // Many more than the queue holds: the sender waits, and nothing is lost.
    let send = thread::spawn(move || datagrams.iter().for_each(|datagram| put_bytes(&sender, datagram).unwrap()));
    for (at, datagram) in expected.iter().enumerate() {
        assert_eq!(&taken(&receiver), datagram, "datagram {at}");
    }
    send.join().unwrap();
}

#[test]
fn parts_make_one_datagram_and_none_an_empty_one() {
    let place = Place::new("parts");
    let (sender, receiver) = place.both();
    put_parts(&sender, &[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")]).unwrap();
    put(&sender, b"").unwrap();
    put_bytes(&sender, b"three").unwrap();
    assert_eq!([taken(&receiver), taken(&receiver), taken(&receiver)], [&b"onetwo"[..], b"", b"three"]);
}

#[test]
fn what_does_not_fit_is_gone_and_the_length_tells() {
    let place = Place::new("truncated");
    let (sender, receiver) = place.both();
    put_bytes(&sender, b"0123456789").unwrap();
    put_bytes(&sender, b"next").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(take(&receiver, &mut buffer).unwrap().0, 10);
    assert_eq!(&buffer, b"0123");
    assert_eq!(take(&receiver, &mut buffer).unwrap().0, 4);
    assert_eq!(&buffer, b"next", "the rest of the first did not wait");
}

/// What one call takes where there is room for five datagrams of up to four bytes: the lengths, and what is in the buffers.
fn several(socket: &UnixDatagram) -> io::Result<(Vec<usize>, [[u8; 4]; 5])> {
    let (mut buffers, mut lengths) = ([[b'-'; 4]; 5], [0; 5]);
    let rooms = buffers.each_mut().map(|buffer| &mut buffer[..]);
    let taken = take_several(socket, &mut MultiHeaders::preallocate(5, None), rooms, &mut lengths)?;
    Ok((lengths[..taken].to_vec(), buffers))
}

#[test]
fn several_are_taken_at_once_and_each_has_its_length() {
    let place = Place::new("several");
    let (sender, receiver) = place.both();
    for datagram in ["one", "", "0123456789", "4", "five", "six", "7"] {
        put_bytes(&sender, datagram.as_bytes()).unwrap();
    }
    let taken = several(&receiver).unwrap();
    assert_eq!(taken, (vec![3, 0, 10, 1, 4], [*b"one-", *b"----", *b"0123", *b"4---", *b"five"]));
    // Two are left, and the call does not wait for three more.
    let (tell, told) = channel();
    let take = thread::spawn(move || {
        tell.send(several(&receiver).unwrap()).unwrap();
        receiver
    });
    let taken = told.recv_timeout(Duration::from_secs(20)).expect("it waits for as many as there is room for");
    assert_eq!(taken, (vec![3, 1], [*b"six-", *b"7---", *b"----", *b"----", *b"----"]));
    let receiver = take.join().unwrap();
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(several(&receiver).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// How many datagrams of one byte go in before the sender would have to wait.
fn room(sender: &UnixDatagram) -> usize {
    sender.set_nonblocking(true).unwrap();
    let room = (0..100_000).find(|_| put_bytes(sender, b"x").is_err()).unwrap();
    assert_eq!(put_bytes(sender, b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    room
}

/// A receiver that hears everybody has a short queue. One that hears one sender alone has what that one's buffer has.
#[test]
fn a_full_queue_makes_the_sender_wait() {
    let place = Place::new("full");
    let (sender, receiver) = place.both();
    assert_eq!(room(&sender), number("/proc/sys/net/unix/max_dgram_qlen") + 1);
    assert_eq!(taken(&receiver), b"x");
    put_bytes(&sender, b"one taken, one more goes in").unwrap();
    assert_eq!(put_bytes(&sender, b"x").unwrap_err().kind(), ErrorKind::WouldBlock);

    fs::remove_file(&place.0).unwrap();
    let (sender, receiver) = place.both();
    put_bytes(&sender, b"").unwrap();
    let (_, address) = take(&receiver, &mut []).unwrap();
    take_only_from(&receiver, &address.unwrap()).unwrap();
    let room = room(&sender);
    assert!(room > 100, "{room}");
}

#[test]
fn one_receiver_hears_many_and_can_choose_one() {
    let place = Place::new("many");
    let (sender, receiver) = place.both();
    let other = connect(&place.0).unwrap();
    put_bytes(&sender, b"mine").unwrap();
    put_bytes(&other, b"theirs").unwrap();
    let mut buffer = [0; 16];
    let (_, address) = take(&receiver, &mut buffer).unwrap();
    take_only_from(&receiver, &address.unwrap()).unwrap();
    // What was in the queue is there all the same, with another address.
    let (len, from) = take(&receiver, &mut buffer).unwrap();
    assert!(&buffer[..len] == b"theirs" && from != address);
    assert_eq!(errno(put_bytes(&other, b"more")), nix::Error::EPERM);
    assert_eq!(errno(connect(&place.0).map(drop)), nix::Error::EPERM);
    put_bytes(&sender, b"still").unwrap();
    assert_eq!(taken(&receiver), b"still");
    // An answer, which nobody else could have sent.
    put_bytes(&receiver, b"answer").unwrap();
    assert_eq!(taken(&sender), b"answer");
    assert!(other.send_to_addr(b"false answer", &sender.local_addr().unwrap()).is_err());
}

#[test]
fn who_has_no_address_is_nobody() {
    let place = Place::new("nobody");
    let (sender, receiver) = place.both();
    UnixDatagram::unbound().unwrap().send_to(b"x", &place.0).unwrap();
    assert_eq!(take(&receiver, &mut [0]).unwrap(), (1, None));
    put_bytes(&sender, b"x").unwrap();
    let (_, address) = take(&receiver, &mut [0]).unwrap();
    assert_eq!(address.unwrap().as_abstract(), sender.local_addr().unwrap().as_abstract_name());
}

/// A receiver is not told of a sender's end. A sender is told of its receiver's when it sends.
#[test]
fn only_the_sender_learns_of_the_end() {
    let place = Place::new("end");
    let (sender, receiver) = place.both();
    put_bytes(&sender, b"last words").unwrap();
    drop(sender);
    assert_eq!(taken(&receiver), b"last words");
    receiver.set_nonblocking(true).unwrap();
    assert_eq!(take(&receiver, &mut []).unwrap_err().kind(), ErrorKind::WouldBlock, "no 0, no error: nothing");

    let sender = connect(&place.0).unwrap();
    drop(receiver);
    assert_eq!(put_bytes(&sender, b"x").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(put_bytes(&sender, b"x").unwrap_err().kind(), ErrorKind::NotConnected);
}

/// As long as the room that the socket has, less what the kernel keeps for itself.
#[test]
fn the_longest_datagram() {
    let place = Place::new("longest");
    let (sender, receiver) = place.both();
    let longest = getsockopt(&sender, SndBuf).unwrap() - 32;
    assert!(longest > number("/proc/sys/net/core/wmem_default"), "it has asked for more than the default");
    put_bytes(&sender, &vec![7; longest]).unwrap();
    assert_eq!(take(&receiver, &mut []).unwrap().0, longest);
    assert_eq!(errno(put_bytes(&sender, &vec![7; longest + 1])), nix::Error::EMSGSIZE);
}

#[test]
fn only_the_owner_may_send() {
    let place = Place::new("mode");
    let _receiver = create(&place.0).unwrap();
    assert_eq!(fs::metadata(&place.0).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_name_that_is_taken_is_never_made_ones_own() {
    let place = Place::new("taken");
    fs::write(&place.0, "precious").unwrap();
    assert_eq!(create(&place.0).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(connect(&place.0).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(remove(&place.0).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&place.0).unwrap(), b"precious");
}

/// The name outlives its socket, and says nothing about whether there is one, or of which type.
#[test]
fn a_name_without_a_socket_refuses() {
    let place = Place::new("stale");
    assert_eq!(connect(&place.0).unwrap_err().kind(), ErrorKind::NotFound);
    let receiver = create(&place.0).unwrap();
    assert_eq!(errno(UnixStream::connect(&place.0).map(drop)), nix::Error::EPROTOTYPE);
    drop(receiver);
    assert_eq!(connect(&place.0).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(create(&place.0).unwrap_err().kind(), ErrorKind::AddrInUse);
    remove(&place.0).unwrap();
    create(&place.0).unwrap();
}
