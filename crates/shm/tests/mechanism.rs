//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "a hostile peer writes where it should not")]

use std::{io, process, ptr, thread};

use ::shm::shm::{self, CELLS, LONGEST, Reader};
use ring::PIECE;
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
fn messages_come_out_as_they_went_in_and_then_the_end() -> io::Result<()> {
    let (own, mut reader) = Own::new("messages")?;
    // Four times as much as the ring holds, and one message that is longer than it.
    let lens = || (0..400).map(|n: usize| n * n * 41 % 90_001).chain([5 << 20, LONGEST, 0, 1]);
    let message = |len| (0..len).map(|n| (n % 251) as u8).collect::<Vec<_>>();
    let name = own.0.clone();
    let writing = thread::spawn(move || {
        let mut writer = shm::open(&name)?;
        lens().try_for_each(|len| writer.put_all(&message(len)))?;
        writer.end()
    });
    for len in lens() {
        reader.fill()?;
        assert!(reader.take() == Some(&message(len)[..]), "{len} bytes");
    }
    reader.fill()?;
    assert_eq!(reader.take(), None);
    writing.join().expect("the writer panicked")
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

    let right_size = size(SIZE);
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

/// A page for the header; then the words, four bytes for each cell; then the cells.
const SIZE: usize = 4096 + CELLS as usize * (4 + 64);
/// The count of emptied cells stands at 128, after magic, version and how many cells there are; the words from 4096 on.
const EMPTIED: usize = 128 / 4;
const WORDS: usize = 4096 / 4;
/// What differs from round to round.
const ROUND: u32 = 1 << 31;

/// Whatever word it finds it takes so many bytes, or refuses it and goes on when there is another one.
#[test]
fn a_reader_survives_any_word_that_a_hostile_writer_can_write() -> io::Result<()> {
    const END: u32 = ROUND - 1;
    let (own, mut reader) = Own::new("hostile-writer")?;
    reader.spin();
    let memory = ShmemConf::new().os_id(&own.0).open().expect("shared memory");
    let mut words = 0;
    let mut word = |next: bool, value: u32| {
        words += u32::from(next);
        let round = if words & CELLS == 0 { ROUND } else { 0 };
        scribble(&memory, WORDS + (words % CELLS) as usize, round | value);
    };
    let (mut short, mut long, mut refused) = (0, 0, 0);
    let mut next = false;
    let mild = hostile_values().take(300).map(|value| value % (3 * PIECE as u32));
    for value in hostile_values().map(|value| value & !ROUND).filter(|&value| value != END).chain(mild) {
        word(next, value);
        next = value as usize <= LONGEST;
        if !next {
            assert_eq!(reader.fill().map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData), "{value}");
            refused += 1;
            continue;
        }
        let rest = (1..).map(|piece| value.saturating_sub(piece * PIECE as u32)).take_while(|&rest| rest > 0);
        for (at, rest) in rest.enumerate() {
            if at == 0 {
                // The first piece has come. Nothing else may follow than its rest.
                assert_eq!(reader.fill().map_err(|error| error.kind()), Err(io::ErrorKind::Interrupted), "{value}");
                word(true, rest ^ 1);
                assert_eq!(reader.fill().map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData), "{value}");
                word(false, rest);
                long += 1;
            } else {
                word(true, rest);
            }
        }
        reader.fill()?;
        assert_eq!(reader.take().map(<[u8]>::len), Some(value as usize));
        short += usize::from(value as usize <= PIECE);
    }
    assert!(short > 50 && long > 50 && refused > 100, "{short} short, {long} long, {refused} refused");
    word(true, END);
    reader.fill()?;
    assert_eq!(reader.take(), None);
    Ok(())
}

#[test]
fn a_writer_survives_any_count_that_a_hostile_reader_can_write() -> io::Result<()> {
    let (own, reader) = Own::new("hostile-reader")?;
    let memory = ShmemConf::new().os_id(&own.0).open().expect("shared memory");
    let mut writer = shm::open(&own.0)?;
    writer.spin();
    let bytes = vec![7; 100_000];
    let (mut put, mut full, mut refused) = (0, 0, 0);
    for value in hostile_values().chain((0..600).map(|n| n * 500)) {
        scribble(&memory, EMPTIED, value);
        match writer.put(&bytes) {
            Ok(len) => put += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => full += 1,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                refused += 1;
            }
        }
    }
    assert!(put > 1 << 23 && full > 0 && refused > 100, "{put} bytes, {full} times full, {refused} refused");
    drop(reader);
    Ok(())
}

/// Edges of every kind, and a multiplicative sequence that visits much in between.
fn hostile_values() -> impl Iterator<Item = u32> {
    let edges =
        [0, 1, CELLS - 1, CELLS, CELLS + 1, LONGEST as u32, LONGEST as u32 + 1, 1 << 31, u32::MAX - 1, u32::MAX];
    let between = (1..5000u32).map(|n| n.wrapping_mul(2_654_435_761));
    edges.into_iter().chain(between)
}
