//! What the mechanism does by itself.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::{env, process, thread};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::SndBuf;
use unix_stream::unix_stream::{accept, connect, create, is_own, remove};

/// A path in a folder of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Place {
        let folder = env::temp_dir().join(format!("unix-stream-{}-{test}", process::id()));
        fs::create_dir(&folder).unwrap();
        Place(folder.join("s"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

#[test]
fn bytes_come_out_in_the_order_in_which_they_went_in() {
    let place = Place::new("order");
    let listener = create(&place.0).unwrap();
    let mut writer = connect(&place.0).unwrap();
    let mut reader = accept(&listener).unwrap();
    assert!(is_own(&reader).unwrap() && is_own(&writer).unwrap());
    let sent: Vec<u8> = (0..1_000_003_u32).map(|at| (at % 251) as u8).collect();
    let expected = sent.clone();
    let write = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    write.join().unwrap();
    assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
}

#[test]
fn a_writer_asks_for_more_room_than_the_default() {
    let default = fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
    let place = Place::new("room");
    let _listener = create(&place.0).unwrap();
    let writer = connect(&place.0).unwrap();
    assert!(getsockopt(&writer, SndBuf).unwrap() > default.trim().parse().unwrap());
}

#[test]
fn no_boundaries_are_kept() {
    let place = Place::new("boundaries");
    let listener = create(&place.0).unwrap();
    let mut writer = connect(&place.0).unwrap();
    writer.write_all(b"one").unwrap();
    writer.write_all(b"two").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(accept(&listener).unwrap().read(&mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"onetwo");
}

#[test]
fn writing_with_nobody_to_read_is_an_error() {
    let place = Place::new("nobody");
    let listener = create(&place.0).unwrap();
    let mut writer = connect(&place.0).unwrap();
    drop(accept(&listener).unwrap());
    assert_eq!(writer.write_all(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
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

/// The name outlives its listener, and says nothing about whether there is one.
#[test]
fn a_name_without_a_listener_refuses() {
    let place = Place::new("stale");
    assert_eq!(connect(&place.0).unwrap_err().kind(), ErrorKind::NotFound);
    drop(create(&place.0).unwrap());
    assert_eq!(connect(&place.0).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(create(&place.0).unwrap_err().kind(), ErrorKind::AddrInUse);
    remove(&place.0).unwrap();
    create(&place.0).unwrap();
}

#[test]
fn a_path_has_at_most_107_bytes() {
    let place = Place::new("long");
    let room = 107 - place.0.as_os_str().len();
    let path = |extra: usize| place.0.with_file_name(format!("s{}", "x".repeat(extra)));
    let _listener = create(&path(room)).unwrap();
    connect(&path(room)).unwrap();
    assert_eq!(create(&path(room + 1)).unwrap_err().raw_os_error(), Some(36), "ENAMETOOLONG");
}
