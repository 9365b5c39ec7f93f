//! The counts, which wrap around after 4 GiB.

use std::io;

use ring::futex::AtomicU32;
use ring::turns::{End, Line, Shared, Side};

/// Both sides in one thread, with counts that begin just before they wrap around to 0.
#[test]
fn counts_may_wrap_around() -> io::Result<()> {
    let start = u32::MAX - 37;
    let line = |value| Line(AtomicU32::new(value));
    let shared = Shared { written: line(start), read: line(start), reader_waits: line(0), writer_waits: line(0) };
    let mut writer = End::new(Side::Writer, 16, start);
    let mut reader = End::new(Side::Reader, 16, start);
    let (mut full, mut total) = (0, 0);
    for step in 0..10_000u32 {
        // What an end remembers may be less than what there is, never more.
        if step % 3 != 0 {
            let room = writer.owned(&shared, 1)?;
            assert!(room <= 16 - full);
            assert_eq!(writer.cell(), start.wrapping_add(total) % 16);
            let len = room.min(step % 17);
            writer.pass_on(&shared, len);
            (full, total) = (full + len, total + len);
        } else {
            let there = reader.owned(&shared, 1)?;
            assert!(there <= full);
            let len = there.min(step % 13);
            reader.pass_on(&shared, len);
            full -= len;
        }
    }
    assert!(total > 1000, "the counts have wrapped around");
    Ok(())
}
