//! What the mechanism does by itself.

use std::io::{ErrorKind, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{env, fs, process, thread};

use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{MultiHeaders, getsockopt};
use unix_seqpacket::unix_seqpacket::{accept, connect, create, is_own, put, put_parts, remove, take, take_several};

/// A path in a folder of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Place {
        let folder = env::temp_dir().join(format!("unix-seqpacket-{}-{test}", process::id()));
        fs::create_dir(&folder).unwrap();
        Place(folder.join("s"))
    }

    /// A writing and a reading end.
    fn connected(&self) -> (OwnedFd, OwnedFd) {
        let listener = create(&self.0).unwrap();
        let writer = connect(&self.0).unwrap();
        (writer, accept(&listener).unwrap())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

fn put_bytes(socket: &OwnedFd, bytes: &[u8]) -> std::io::Result<()> {
    put(socket, bytes)
}

#[test]
fn records_come_out_as_they_went_in() {
    let place = Place::new("records");
    let (writer, reader) = place.connected();
    assert!(is_own(&reader).unwrap() && is_own(&writer).unwrap());
    let records: Vec<Vec<u8>> = (0..2000).map(|at| vec![at as u8; at * 7 % 5000]).collect();
    let expected = records.clone();
    let write = thread::spawn(move || records.iter().for_each(|record| put_bytes(&writer, record).unwrap()));
    let mut buffer = [0; 5000];
    for (at, record) in expected.iter().enumerate() {
        let len = take(&reader, &mut buffer).unwrap();
        assert_eq!(&buffer[..len], record, "record {at}");
    }
    write.join().unwrap();
}

#[test]
fn parts_make_one_record() {
    let place = Place::new("parts");
    let (writer, reader) = place.connected();
    put_parts(&writer, &[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")]).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(take(&reader, &mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"onetwo");
}

/// Three records and the end: the second record and the end look the same.
#[test]
fn an_empty_record_reads_like_the_end() {
    let place = Place::new("empty");
    let (writer, reader) = place.connected();
    for record in ["one", "", "three"] {
        put_bytes(&writer, record.as_bytes()).unwrap();
    }
    drop(writer);
    let mut buffer = [0; 16];
    let lengths: Vec<usize> = (0..5).map(|_| take(&reader, &mut buffer).unwrap()).collect();
    assert_eq!(lengths, [3, 0, 5, 0, 0]);
}

#[test]
fn what_does_not_fit_is_gone_and_the_length_tells() {
    let place = Place::new("truncated");
    let (writer, reader) = place.connected();
    put_bytes(&writer, b"0123456789").unwrap();
    put_bytes(&writer, b"next").unwrap();
    let mut buffer = [0; 4];
    assert_eq!(take(&reader, &mut buffer).unwrap(), 10);
    assert_eq!(&buffer, b"0123");
    assert_eq!(take(&reader, &mut buffer).unwrap(), 4);
    assert_eq!(&buffer, b"next", "the rest of the first did not wait");
}

/// What one call takes where there is room for five records of up to four bytes: the lengths, and what is in the buffers.
fn several(socket: &OwnedFd) -> (Vec<usize>, [[u8; 4]; 5]) {
    let (mut buffers, mut lengths) = ([[b'-'; 4]; 5], [0; 5]);
    let rooms = buffers.each_mut().map(|buffer| &mut buffer[..]);
    let taken = take_several(socket, &mut MultiHeaders::preallocate(5, None), rooms, &mut lengths).unwrap();
    (lengths[..taken].to_vec(), buffers)
}

#[test]
fn several_are_taken_at_once_and_each_has_its_length() {
    let place = Place::new("several");
    let (writer, reader) = place.connected();
    for record in ["one", "", "0123456789", "4", "five", "six", "7"] {
        put_bytes(&writer, record.as_bytes()).unwrap();
    }
    assert_eq!(several(&reader), (vec![3, 0, 10, 1, 4], [*b"one-", *b"----", *b"0123", *b"4---", *b"five"]));
    // Two are left, and the call does not wait for three more.
    let (tell, told) = channel();
    let take = thread::spawn(move || {
        tell.send(several(&reader)).unwrap();
        reader
    });
    let taken = told.recv_timeout(Duration::from_secs(20)).expect("it waits for as many as there is room for");
    assert_eq!(taken, (vec![3, 1], [*b"six-", *b"7---", *b"----", *b"----", *b"----"]));
    put_bytes(&writer, b"last").unwrap();
    drop(writer);
    assert_eq!(several(&take.join().unwrap()).0, [4, 0, 0, 0, 0], "a record, and the end again and again");
}

/// As long as the room that the socket has, less what the kernel keeps for itself.
#[test]
fn the_longest_record() {
    let place = Place::new("longest");
    let (writer, reader) = place.connected();
    let default: usize = fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap().trim().parse().unwrap();
    let longest = getsockopt(&writer, SndBuf).unwrap() - 32;
    assert!(longest > default, "it has asked for more than the default");
    put_bytes(&writer, &vec![7; longest]).unwrap();
    assert_eq!(take(&reader, &mut []).unwrap(), longest);
    let error = put_bytes(&writer, &vec![7; longest + 1]).unwrap_err();
    assert_eq!(nix::Error::try_from(error).unwrap(), nix::Error::EMSGSIZE);
}

#[test]
fn putting_with_nobody_to_take_is_an_error() {
    let place = Place::new("nobody");
    let (writer, reader) = place.connected();
    drop(reader);
    assert_eq!(put_bytes(&writer, b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);

    // With a record unread, the first error is another one.
    fs::remove_file(&place.0).unwrap();
    let (writer, reader) = place.connected();
    put_bytes(&writer, b"unread").unwrap();
    drop(reader);
    assert_eq!(put_bytes(&writer, b"x").unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(put_bytes(&writer, b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn only_the_owner_may_connect() {
    let place = Place::new("mode");
    let _listener = create(&place.0).unwrap();
    assert_eq!(fs::metadata(&place.0).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_name_that_is_taken_is_never_made_ones_own() {
    let place = Place::new("taken");
    fs::write(&place.0, "precious").unwrap();
    assert_eq!(create(&place.0).unwrap_err().kind(), ErrorKind::AddrInUse);
    assert_eq!(remove(&place.0).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&place.0).unwrap(), b"precious");
}

/// The name outlives its listener, and says nothing about whether there is one, or of which type.
#[test]
fn a_name_without_a_listener_refuses() {
    let place = Place::new("stale");
    assert_eq!(connect(&place.0).unwrap_err().kind(), ErrorKind::NotFound);
    let listener = create(&place.0).unwrap();
    let stream = UnixStream::connect(&place.0).unwrap_err();
    assert_eq!(nix::Error::try_from(stream).unwrap(), nix::Error::EPROTOTYPE);
    drop(listener);
    assert_eq!(connect(&place.0).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(create(&place.0).unwrap_err().kind(), ErrorKind::AddrInUse);
    remove(&place.0).unwrap();
    create(&place.0).unwrap();
}
