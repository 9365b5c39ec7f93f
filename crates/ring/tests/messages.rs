//! What goes in comes out, wherever in the ring and in a buffer it comes to lie.
#![expect(unsafe_code, reason = "it promises the ring that the memory is there")]

use std::io;
use std::thread;
use std::time::Duration;

use ring::{LONGEST, Memory, PIECE, Reader, Writer, size};

const PAGE: usize = 4096;
const CELLS: u32 = 2048;

#[repr(align(4096))]
#[derive(Clone)]
struct Page(#[expect(dead_code, reason = "it is reached through a pointer only")] [u8; PAGE]);

/// Memory that two ends in one process share.
#[derive(Clone, Copy)]
struct Pages(*mut u8);

// SAFETY: the pages are leaked, so they stay; there are `size(CELLS)` bytes, aligned to a page, and nobody keeps a
// reference into them.
unsafe impl Memory for Pages {
    fn start(&self) -> *mut u8 {
        self.0
    }

    fn size(&self) -> usize {
        size(CELLS)
    }
}

// SAFETY: what is in the pages is reached as the ring's two ends reach it, which are made for two processes.
unsafe impl Send for Pages {}

fn ring() -> io::Result<(Writer<Pages>, Reader<Pages>)> {
    let pages = vec![Page([0; PAGE]); size(CELLS).div_ceil(PAGE)];
    let pages = Pages(Vec::leak(pages).as_mut_ptr().cast());
    let reader = Reader::create(pages, CELLS);
    Ok((Writer::open(pages, CELLS)?, reader))
}

/// Around each limit: of a cell, of a short copy, of a page, of a piece, of what a reader is woken for.
const LENS: [usize; 24] = [
    0,
    1,
    63,
    64,
    65,
    128,
    1000,
    2047,
    2048,
    2049,
    4095,
    4096,
    4097,
    PIECE - 1,
    PIECE,
    PIECE + 1,
    2 * PIECE - 64,
    2 * PIECE,
    2 * PIECE + 1,
    4 * PIECE - 1,
    4 * PIECE,
    4 * PIECE + 1,
    3,
    100_000,
];

/// 251 is a prime, so no two pieces are alike.
fn message(turn: usize, len: usize) -> Vec<u8> {
    (0..=250u8).cycle().skip(turn % 251).take(len).collect()
}

/// So many at a time, the reader behind by as many.
fn carried(at_a_time: usize) -> io::Result<()> {
    let (mut writer, mut reader) = ring()?;
    let sent: Vec<_> = (0..40).flat_map(|_| LENS).enumerate().map(|(turn, len)| message(turn, len)).collect();
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let mut there = 0;
        while there < at_a_time && there < rest.len() && rest[..=there].iter().map(Vec::len).sum::<usize>() <= 101_000 {
            writer.put_all(&rest[there])?;
            there += 1;
        }
        for expected in &rest[..there] {
            assert!(reader.fill().is_ok() && reader.is_filled());
            assert!(reader.take() == Some(&expected[..]), "{} bytes, {at_a_time} at a time", expected.len());
        }
        rest = &rest[there..];
    }
    writer.end()?;
    for _ in 0..3 {
        reader.fill()?;
        assert_eq!(reader.take(), None);
    }
    Ok(())
}

#[test]
fn messages_of_every_length_come_out_as_they_went_in() -> io::Result<()> {
    [1, 2, 3, 7, 100].into_iter().try_for_each(carried)
}

/// As many as a run holds and more; the longest of them are not short any more.
#[test]
fn many_short_ones_are_taken_in_order() -> io::Result<()> {
    let (mut writer, mut reader) = ring()?;
    for round in 0..200 {
        let lens: Vec<_> = (0..60).map(|n| (n * 37 + round * 11) % 1400).collect();
        lens.iter().enumerate().try_for_each(|(turn, &len)| writer.put_all(&message(turn, len)))?;
        for (turn, &len) in lens.iter().enumerate() {
            reader.fill()?;
            assert_eq!(reader.take(), Some(&message(turn, len)[..]), "round {round}, message {turn}");
        }
    }
    Ok(())
}

/// Each message is larger than the ring or waits for room, and both ends sleep and are woken.
#[test]
fn what_is_larger_than_the_ring_passes_through() -> io::Result<()> {
    let (mut writer, mut reader) = ring()?;
    let lens = || (0..60).map(|n| n * n * 311 % 400_001);
    let writing = thread::spawn(move || {
        lens().enumerate().try_for_each(|(turn, len)| writer.put_all(&message(turn, len)))?;
        writer.end()
    });
    for (turn, len) in lens().enumerate() {
        reader.fill()?;
        assert!(reader.take() == Some(&message(turn, len)[..]), "message {turn}, {len} bytes");
    }
    reader.fill()?;
    assert_eq!(reader.take(), None);
    writing.join().expect("the writer panicked")
}

#[test]
fn an_empty_message_waits_for_room_as_any_other() -> io::Result<()> {
    let (mut writer, mut reader) = ring()?;
    (0..CELLS).try_for_each(|_| writer.put_all(&[7; 64]))?;
    let writing = thread::spawn(move || {
        writer.put_all(&[])?;
        writer.put_all(b"last")
    });
    // So that it finds the ring full.
    thread::sleep(Duration::from_millis(100));
    for _ in 0..CELLS {
        reader.fill()?;
        assert_eq!(reader.take(), Some(&[7; 64][..]));
    }
    for expected in [&b""[..], b"last"] {
        reader.fill()?;
        assert_eq!(reader.take(), Some(expected));
    }
    writing.join().expect("the writer panicked")
}

#[test]
fn longer_than_the_longest_is_refused_before_anything_is_put() -> io::Result<()> {
    let (mut writer, mut reader) = ring()?;
    let error = writer.put_all(&vec![0; LONGEST + 1]).expect_err("put");
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    writer.put_all(b"next")?;
    reader.fill()?;
    assert_eq!(reader.take(), Some(&b"next"[..]));
    Ok(())
}

#[test]
fn an_end_that_spins_says_so_now_and_then() -> io::Result<()> {
    let (mut writer, mut reader) = ring()?;
    writer.spin();
    reader.spin();
    assert_eq!(reader.fill().map_err(|error| error.kind()), Err(io::ErrorKind::Interrupted));
    let all = vec![7; 4 * CELLS as usize * 64];
    let mut put = 0;
    let error = loop {
        match writer.put(&all[put..]) {
            Ok(len) => put += len,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    // Nothing is lost by it: by turns they get through.
    let mut interruptions = 0;
    while !reader.is_filled() {
        interruptions += usize::from(reader.fill().is_err());
        while put < all.len() {
            match writer.put(&all[put..]) {
                Ok(len) => put += len,
                Err(_) => break,
            }
        }
    }
    assert!(reader.take() == Some(&all[..]) && interruptions > 2, "{interruptions}");
    Ok(())
}
