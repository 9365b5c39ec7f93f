//! What the mechanism does by itself.

use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use pipe::pipe::create;

#[test]
fn bytes_come_out_in_the_order_in_which_they_went_in() {
    let (mut reader, mut writer) = create().unwrap();
    let sent: Vec<u8> = (0..1_000_003_u32).map(|at| (at % 251) as u8).collect();
    let expected = sent.clone();
    let write = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    write.join().unwrap();
    assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
}

#[test]
fn no_boundaries_are_kept() {
    let (mut reader, mut writer) = create().unwrap();
    writer.write_all(b"one").unwrap();
    writer.write_all(b"two").unwrap();
    let mut buffer = [0; 16];
    assert_eq!(reader.read(&mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"onetwo");
}

#[test]
fn the_end_of_file_comes_with_the_last_writer() {
    let (mut reader, writer) = create().unwrap();
    drop(writer);
    assert_eq!(reader.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn writing_with_nobody_to_read_is_an_error() {
    let (reader, mut writer) = create().unwrap();
    drop(reader);
    // Another test may be starting a child at this moment, which has a copy of the reading end until it
    // executes its program. Until then the bytes are taken.
    let error = loop {
        match writer.write_all(b"x") {
            Ok(()) => thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_child_gets_the_end_it_is_given_and_no_copy_of_the_other() {
    let (reader, mut writer) = create().unwrap();
    // If cat had inherited the writing end, it would wait for itself and never end.
    let child = Command::new("cat").stdin(reader).stdout(Stdio::piped()).spawn().unwrap();
    writer.write_all(b"through a process").unwrap();
    drop(writer);
    assert_eq!(child.wait_with_output().unwrap().stdout, b"through a process");
}
