//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "a hostile peer writes where it should not")]

use std::io::{self, IoSlice, Read, Write};
use std::{process, ptr, thread};

use ::shm::shm::{self, CAPACITY, Reader};
use shared_memory::{Shmem, ShmemConf};

/// A ring of its own for each test, removed even if the test fails.
struct Own(String);

impl Own {
    fn new(test: &str) -> io::Result<(Own, Reader)> {
        let name = format!("/shm-mechanism-{}-{test}", process::id());
        let reader = shm::create(&name)?;
        Ok((Own(name), reader))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = shm::remove(&self.0);
    }
}

#[test]
fn bytes_come_out_as_they_went_in_whatever_the_pieces() -> io::Result<()> {
    let (own, mut reader) = Own::new("bytes")?;
    let sent: Vec<u8> = (0..CAPACITY * 9 + 7).map(|n| (n % 251) as u8).collect();
    let (expected, name) = (sent.clone(), own.0.clone());
    let writing = thread::spawn(move || {
        let mut writer = shm::open(&name)?;
        let mut pieces = (1..).map(|n: usize| n * n % 70_001);
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(pieces.next().unwrap_or(1)));
            let slices = [IoSlice::new(head), IoSlice::new(&tail[..tail.len().min(13)])];
            let len = writer.write_vectored(&slices)?;
            rest = &rest[len..];
        }
        io::Result::Ok(())
    });
    let mut arrived = vec![0; expected.len()];
    let mut len = 0;
    while len < arrived.len() {
        let end = arrived.len().min(len + 1 + len % 90_000);
        len += reader.read(&mut arrived[len..end])?;
    }
    writing.join().expect("the writer panicked")?;
    assert!(arrived == expected);
    Ok(())
}

#[test]
fn what_is_half_made_or_something_else_is_not_opened() -> io::Result<()> {
    let name = format!("/shm-mechanism-{}-half", process::id());
    let kind = |name: &str| shm::open(name).map(drop).map_err(|error| error.kind());
    assert_eq!(kind(&name), Err(io::ErrorKind::NotFound));
    let size = |len| ShmemConf::new().os_id(&name).size(len).create().expect("shared memory");

    let other = size(100);
    assert_eq!(kind(&name), Err(io::ErrorKind::InvalidData));
    drop(other);

    let right_size = size(4096 + CAPACITY as usize);
    assert_eq!(kind(&name), Err(io::ErrorKind::WouldBlock), "no magic number yet");
    // SAFETY: the mapping is valid and page-aligned, and nobody else uses it.
    unsafe { right_size.as_ptr().cast::<u64>().write(42) };
    assert_eq!(kind(&name), Err(io::ErrorKind::InvalidData), "another magic number");
    Ok(())
}

/// Writes into the header as a hostile process could: `words` are counted in four bytes from the beginning.
fn scribble(memory: &Shmem, word: usize, value: u32) {
    let word = memory.as_ptr().cast::<u32>().wrapping_add(word);
    // SAFETY: the header lies within the mapping; the write is volatile because others use the word.
    unsafe { ptr::write_volatile(word, value) };
}

/// The counts stand at 128 and 256: after magic, version and capacity, each on lines of its own.
const WRITTEN: usize = 128 / 4;
const READ: usize = 256 / 4;

#[test]
fn a_reader_survives_any_count_that_a_hostile_writer_can_write() -> io::Result<()> {
    let (own, mut reader) = Own::new("hostile-writer")?;
    let memory = ShmemConf::new().os_id(&own.0).open().expect("shared memory");
    let mut buffer = vec![0; 100_000];
    let mut own_count = 0u32;
    let mut refused = 0;
    for value in hostile_values() {
        if value == own_count {
            continue; // Nothing there: it would wait.
        }
        scribble(&memory, WRITTEN, value);
        match reader.read(&mut buffer) {
            Ok(len) => own_count = own_count.wrapping_add(len as u32),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
    Ok(())
}

#[test]
fn a_writer_survives_any_count_that_a_hostile_reader_can_write() -> io::Result<()> {
    let (own, reader) = Own::new("hostile-reader")?;
    let memory = ShmemConf::new().os_id(&own.0).open().expect("shared memory");
    let mut writer = shm::open(&own.0)?;
    let bytes = vec![7; 100_000];
    let mut own_count = 0u32;
    let mut refused = 0;
    for value in hostile_values() {
        if own_count.wrapping_sub(value) == CAPACITY {
            continue; // Full: it would wait.
        }
        scribble(&memory, READ, value);
        match writer.write(&bytes) {
            Ok(len) => own_count = own_count.wrapping_add(len as u32),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
    drop(reader);
    Ok(())
}

/// Edges of every kind, and a multiplicative sequence that visits much in between.
fn hostile_values() -> impl Iterator<Item = u32> {
    let edges = [1, CAPACITY - 1, CAPACITY, CAPACITY + 1, 1 << 31, u32::MAX - 1, u32::MAX];
    let between = (1..5000u32).map(|n| n.wrapping_mul(2_654_435_761));
    edges.into_iter().chain(between)
}
