//! What is sent: a message that tells, for about one load per page, whether it came whole and in its turn.
//!
//! ```text
//! 0         8          16            4096     8192      size - 8
//! | number  | checksum | …           | word   | word    …  | word |
//! ```
//!
//! The number's top bit says that it is the last message. The words in the later pages and at the end are made
//! from the number and their place, so that a message that is torn, doubled or put together from two is found.
//! With [`Verify::Full`] every word is made so, and checked.
//!
//! A message below 8 bytes carries as much of the number as there is room for, and one below 16 no checksum.

use std::fmt;

use common::IoBuffer;

/// How much of each message is made anew and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Number, checksum, and one word in each page.
    Page,
    /// Every byte.
    Full,
}

/// Makes messages of one size and checks them.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    size: usize,
    /// Where the first word behind the header lies, and how far it is to the next.
    first: usize,
    stride: usize,
    /// Where the last piece begins: a word, or what there is room for.
    tail: usize,
}

/// What a checked message said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number, from 0.
    pub number: u64,
    /// No other will come.
    pub last: bool,
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// So many bytes came.
    Length(usize),
    /// Another one was due.
    Number {
        /// What it said.
        got: u64,
        /// What it should have said.
        due: u64,
    },
    /// The header does not fit its checksum.
    Checksum,
    /// The word at this place is of another message.
    Content(usize),
}

const WORD: usize = size_of::<u64>();
const HEADER: usize = 2 * WORD;
const PAGE: usize = 4096;

impl Form {
    /// Messages of `size` bytes, at least 1.
    pub fn new(size: usize, verify: Verify) -> Form {
        assert!(size > 0, "a message needs a byte to tell the last one by");
        let body = size.saturating_sub(HEADER);
        match verify {
            Verify::Page => Form { size, first: PAGE, stride: PAGE, tail: size - body.min(WORD) },
            Verify::Full => Form { size, first: HEADER, stride: WORD, tail: size - body % WORD },
        }
    }

    /// Bytes in a message.
    pub fn size(&self) -> usize {
        self.size
    }

    /// A buffer for a message, all of it touched.
    pub fn buffer(&self) -> IoBuffer {
        let mut buffer = IoBuffer::new(self.size);
        buffer.fill(0xa5);
        buffer
    }

    /// Makes message `number` in a buffer of this form's size.
    #[inline]
    pub fn write(&self, buffer: &mut [u8], number: u64, last: bool) {
        let head = self.head(number, last);
        if self.size < HEADER {
            buffer.copy_from_slice(&self.short(head)[..self.size]);
            return;
        }
        put(buffer, 0, head);
        put(buffer, WORD, mix(head, self.size));
        let mut at = self.first;
        while at + WORD <= self.tail {
            put(buffer, at, mix(head, at));
            at += self.stride;
        }
        let word = mix(head, self.tail);
        if self.size - self.tail == WORD {
            put(buffer, self.tail, word);
        } else {
            buffer[self.tail..].copy_from_slice(&word.to_le_bytes()[..self.size - self.tail]);
        }
    }

    /// Checks a message. One that skips some is in order only where the channel may `lose` messages.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn check(&self, message: &[u8], due: u64, may_lose: bool) -> Result<Seen, Fault> {
        if message.len() != self.size {
            return Err(Fault::Length(message.len()));
        }
        let mut bytes = [0; WORD];
        let len = self.size.min(WORD);
        bytes[..len].copy_from_slice(&message[..len]);
        let head = u64::from_le_bytes(bytes);
        let seen = self.seen(head, due, may_lose);
        if seen.number != due && (!may_lose || seen.number < due) {
            return Err(Fault::Number { got: seen.number, due });
        }
        if self.size < HEADER {
            return if *message == self.short(head)[..self.size] { Ok(seen) } else { Err(Fault::Content(WORD)) };
        }
        if get(message, WORD) != mix(head, self.size) {
            return Err(Fault::Checksum);
        }
        let mut at = self.first;
        while at + WORD <= self.tail {
            if get(message, at) != mix(head, at) {
                return Err(Fault::Content(at));
            }
            at += self.stride;
        }
        let word = mix(head, self.tail);
        let intact = if self.size - self.tail == WORD {
            get(message, self.tail) == word
        } else {
            message[self.tail..] == word.to_le_bytes()[..self.size - self.tail]
        };
        if intact { Ok(seen) } else { Err(Fault::Content(self.tail)) }
    }

    /// A message that has no room for a checksum: as much as fits of the number and of a word that is made from it.
    fn short(&self, head: u64) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put(&mut bytes, 0, head);
        put(&mut bytes, WORD, mix(head, WORD));
        bytes
    }

    /// Bits of the number that there is room for, beside the bit that says that it is the last.
    fn bits(&self) -> u32 {
        (self.size.min(WORD) * 8 - 1) as u32
    }

    fn head(&self, number: u64, last: bool) -> u64 {
        let bits = self.bits();
        number & ((1 << bits) - 1) | u64::from(last) << bits
    }

    /// A number that was cut off is the nearest to `due` that looks like it. Where messages may be lost it is rather one to come:
    /// of those that few bits can tell apart, more than half may be lost at once.
    fn seen(&self, head: u64, due: u64, may_lose: bool) -> Seen {
        let bits = self.bits();
        let mask = (1 << bits) - 1;
        let ahead = (head & mask).wrapping_sub(due) & mask;
        let behind = ahead > mask - if may_lose { mask / 16 } else { mask / 2 };
        let number = if behind { due.wrapping_sub((mask + 1) - ahead) } else { due.wrapping_add(ahead) };
        // What lies behind number 0 wraps around, and is nobody's number.
        Seen { number: if behind && number > due { 0 } else { number }, last: head >> bits & 1 == 1 }
    }
}

#[inline]
fn put(buffer: &mut [u8], at: usize, word: u64) {
    buffer[at..at + WORD].copy_from_slice(&word.to_le_bytes());
}

#[inline]
fn get(buffer: &[u8], at: usize) -> u64 {
    let mut bytes = [0; WORD];
    bytes.copy_from_slice(&buffer[at..at + WORD]);
    u64::from_le_bytes(bytes)
}

/// A word that is hard to get by accident from another number or another place.
#[inline]
fn mix(head: u64, place: usize) -> u64 {
    let word = (head ^ (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word ^ word >> 32
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Length(len) => write!(f, "a message of {len} bytes came"),
            Fault::Number { got, due } => write!(f, "message {got} came where {due} was due"),
            Fault::Checksum => write!(f, "a message does not fit its checksum"),
            Fault::Content(at) => write!(f, "byte {at} of a message is another message's"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [usize; 12] = [1, 2, 7, 8, 9, 15, 16, 17, 24, 4096, 4103, 65536];

    #[test]
    fn what_was_made_passes() {
        for verify in [Verify::Page, Verify::Full] {
            for size in SIZES {
                let form = Form::new(size, verify);
                let mut buffer = form.buffer();
                for number in (0..300).chain([1 << 40]) {
                    for last in [false, true] {
                        form.write(&mut buffer, number, last);
                        assert_eq!(form.check(&buffer, number, false), Ok(Seen { number, last }), "{size} {number}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_number_out_of_turn_is_found() {
        for size in SIZES {
            let form = Form::new(size, Verify::Page);
            let mut buffer = form.buffer();
            for (got, due) in [(0, 1), (2, 1), (6, 5), (4, 5)] {
                form.write(&mut buffer, got, false);
                assert_eq!(form.check(&buffer, due, false), Err(Fault::Number { got, due }), "{size}");
                assert_eq!(form.check(&buffer, due, true).is_ok(), got > due, "a loss is no fault where there may be");
            }
        }
    }

    #[test]
    fn many_may_be_lost_at_once() {
        let form = Form::new(1, Verify::Page);
        let mut buffer = form.buffer();
        form.write(&mut buffer, 337, false);
        assert_eq!(form.check(&buffer, 256, true), Ok(Seen { number: 337, last: false }));
        assert_eq!(form.check(&buffer, 256, false), Err(Fault::Number { got: 209, due: 256 }));
    }

    #[test]
    fn a_torn_message_is_found() {
        let form = Form::new(3 * PAGE + 100, Verify::Page);
        let (mut old, mut new) = (form.buffer(), form.buffer());
        form.write(&mut old, 7, false);
        form.write(&mut new, 8, false);
        // Up to here of the new one, the rest of the one before.
        for at in [16, 4096, 5000, 8192, 3 * PAGE, 3 * PAGE + 92] {
            let torn = [&new[..at], &old[at..]].concat();
            assert!(matches!(form.check(&torn, 8, false), Err(Fault::Content(_))), "torn at {at}");
        }
        assert_eq!(form.check(&new[..new.len() - 1], 8, false), Err(Fault::Length(new.len() - 1)));
        new[9] ^= 1;
        assert_eq!(form.check(&new, 8, false), Err(Fault::Checksum));
    }

    #[test]
    fn full_looks_at_every_byte() {
        for size in [9, 12, 15, 16, 17, 24, 64, 1000, 4103] {
            let form = Form::new(size, Verify::Full);
            let mut buffer = form.buffer();
            form.write(&mut buffer, 3, false);
            for at in 0..size {
                buffer[at] ^= 0x10;
                assert!(form.check(&buffer, 3, false).is_err(), "byte {at} of {size}");
                buffer[at] ^= 0x10;
            }
        }
    }
}
