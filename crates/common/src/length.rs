//! How a message's length stands in a stream of bytes: in four bytes, the most significant first. The length 0xffffffff is
//! the end.
//!
//! Where each byte takes long, a length up to 127 is one byte. A longer one is two, the first with its highest bit set. One
//! byte 0xff is the end.

/// The length that is the end.
pub(crate) const END: u32 = u32::MAX;

/// No length on a slow stream is as long.
pub(crate) const SLOW_LIMIT: usize = (SLOW_END as usize - SECOND as usize) << 8;

/// The most bytes that a length has.
const MOST: usize = size_of::<u32>();
/// On a slow stream: the byte that is the end.
const SLOW_END: u8 = 0xff;
/// On a slow stream: the bit that says that the length has a second byte.
const SECOND: u8 = 0x80;

/// A length, and how many of these bytes it has.
#[inline]
pub(crate) fn written<const SLOW: bool>(length: u32) -> ([u8; MOST], usize) {
    let bytes = length.to_be_bytes();
    if !SLOW {
        (bytes, MOST)
    } else if length == END {
        ([SLOW_END, 0, 0, 0], 1)
    } else if length < u32::from(SECOND) {
        ([bytes[3], 0, 0, 0], 1)
    } else {
        ([SECOND | bytes[2], bytes[3], 0, 0], 2)
    }
}

/// The fewest bytes that a length has.
#[inline]
pub(crate) fn least<const SLOW: bool>() -> usize {
    if SLOW { 1 } else { MOST }
}

/// How many bytes the length has that begins with this one.
#[inline]
pub(crate) fn bytes<const SLOW: bool>(first: u8) -> usize {
    match first {
        _ if !SLOW => MOST,
        SLOW_END | 0..SECOND => 1,
        _ => 2,
    }
}

/// The length that these bytes are.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> u32 {
    match *bytes {
        [a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        [first, second] => u32::from(first & !SECOND) << 8 | u32::from(second),
        [only] if only != SLOW_END => u32::from(only),
        _ => END,
    }
}

#[cfg(test)]
mod tests {
    use super::{END, MOST, SLOW_LIMIT, bytes, least, read, written};

    /// What is written of a length, and that the same is read again.
    fn there_and_back<const SLOW: bool>(length: u32) -> Vec<u8> {
        let (written, len) = written::<SLOW>(length);
        assert!(len >= least::<SLOW>());
        assert_eq!(bytes::<SLOW>(written[0]), len, "{length}");
        assert_eq!(read(&written[..len]), length);
        written[..len].to_vec()
    }

    #[test]
    fn four_bytes() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x1234_5678, END - 1, END] {
            assert_eq!(there_and_back::<false>(length), length.to_be_bytes());
        }
        assert_eq!(MOST, 4);
    }

    #[test]
    fn where_each_byte_takes_long_there_are_fewer() {
        for length in 0..SLOW_LIMIT as u32 {
            let bytes = there_and_back::<true>(length);
            assert_eq!(bytes.len(), 1 + usize::from(length > 127));
            assert_ne!(bytes[0], 0xff, "that is the end");
        }
        assert_eq!(there_and_back::<true>(127), [0x7f]);
        assert_eq!(there_and_back::<true>(4097), [0x90, 0x01]);
        assert_eq!(there_and_back::<true>(END), [0xff]);
    }
}
