//! The counts, which wrap around after 256 GiB.

use std::io;

use ring::futex::AtomicU32;
use ring::turns::{Board, Line, Reader, Shared, Writer};

const CELLS: u32 = 16;

/// Both sides in one thread, with counts that begin just before they wrap around to 0. Each message has a word that says
/// who it is, and takes one to eight cells.
#[test]
fn counts_may_wrap_around() -> io::Result<()> {
    let start = u32::MAX - 37;
    let line = |value| Line(AtomicU32::new(value));
    let shared = Shared { emptied: line(start), reader_waits: line(0), writer_waits: line(0) };
    // As the rounds before have left them.
    let round = |index: u32| if (start & !(CELLS - 1)) + index < start { start } else { start - CELLS };
    let bit = |count: u32| if count & CELLS == 0 { 1 << 31 } else { 0 };
    let words: Vec<_> = (0..CELLS).map(|index| AtomicU32::new(bit(round(index)) | 12_345)).collect();
    let board = Board { shared: &shared, words: &words };
    let (mut writer, mut reader) = (Writer::new(CELLS, start), Reader::new(CELLS, start));

    let cells_of = |message: u32| 1 + message * 5 % 8;
    let mut owner = [None; CELLS as usize];
    let (mut put, mut taken, mut full) = (0, 0, 0);
    for step in 0..20_000u32 {
        if step % 5 < 3 {
            let len = cells_of(put);
            match writer.room(board, len)? {
                None => full += 1,
                Some(first) => {
                    for cell in &mut owner[first as usize..][..len as usize] {
                        assert_eq!(*cell, None, "message {put} lies where another one does");
                        *cell = Some(put);
                    }
                    writer.put(board, put);
                    put += 1;
                }
            }
        } else if put > taken {
            let words = (put - taken).min(1 + step % 2);
            for n in 0..words {
                assert_eq!(reader.word(board, n), Some(taken + n));
            }
            assert_eq!(reader.word(board, put - taken), None);
            let len = cells_of(taken);
            let (first, until_end) = reader.cells(len);
            assert!(len <= until_end);
            for cell in &mut owner[first as usize..][..len as usize] {
                assert_eq!(cell.take(), Some(taken));
            }
            reader.take(board, 1, len, len);
            taken += 1;
        } else {
            assert_eq!(reader.word(board, 0), None);
        }
    }
    assert!(taken > 5000 && full > 1000, "{taken} messages, {full} times full");
    Ok(())
}
