//! What goes in comes out, wherever in the ring and in a buffer it comes to lie.
#![expect(unsafe_code, reason = "it promises the ring that the memory is there")]

use std::io::{self, IoSlice, Read, Write};

use ring::{Memory, Reader, Writer, size};

const PAGE: usize = 4096;
const CAPACITY: u32 = 128 << 10;

#[repr(align(4096))]
#[derive(Clone)]
struct Page(#[expect(dead_code, reason = "it is reached through a pointer only")] [u8; PAGE]);

/// Memory that two ends in one process share.
#[derive(Clone, Copy)]
struct Pages(*mut u8);

// SAFETY: the pages are leaked, so they stay; there are `size(CAPACITY)` bytes, aligned to a page, and nobody keeps a
// reference into them.
unsafe impl Memory for Pages {
    fn start(&self) -> *mut u8 {
        self.0
    }

    fn size(&self) -> usize {
        size(CAPACITY)
    }
}

#[test]
fn bytes_of_every_length_come_out_as_they_went_in() -> io::Result<()> {
    let pages = vec![Page([0; PAGE]); size(CAPACITY).div_ceil(PAGE)];
    let pages = Pages(Vec::leak(pages).as_mut_ptr().cast());
    let mut reader = Reader::create(pages, CAPACITY);
    let mut writer = Writer::open(pages, CAPACITY)?;

    // Around each limit: of a short copy, of a page, of a piece, of a step. 251 is a prime, so no two pieces are alike.
    let lens = [1, 2047, 2048, 2049, 4095, 4097, 6144, 16 << 10, (16 << 10) + 1, ring::STEP, ring::STEP + 1, 100_000];
    let mut stream = (0..=250u8).cycle();
    let mut buffer = vec![0; CAPACITY as usize + PAGE];
    for (turn, len) in (0..12).flat_map(|_| lens).enumerate() {
        let sent: Vec<u8> = stream.by_ref().take(len).collect();
        let (front, rest) = sent.split_at(len.min(turn % 8));
        let first = writer.write_vectored(&[IoSlice::new(front), IoSlice::new(rest)])?;
        writer.write_all(&sent[first..])?;
        let received = &mut buffer[turn..turn + len];
        reader.read_exact(received)?;
        let wrong = sent.iter().zip(&*received).position(|(sent, received)| sent != received);
        assert_eq!(wrong, None, "turn {turn}, {len} bytes: the first wrong one");
    }
    Ok(())
}
