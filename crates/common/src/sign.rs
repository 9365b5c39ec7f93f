//! Messages and signs, over a mechanism that keeps the boundaries of what is sent.
//!
//! A message travels as it is. What is no message is a sign: the byte [`DLE`] and one that says which. So a message that
//! begins with that byte itself, or is empty, gets one more of them in front, which is taken off again: character stuffing,
//! as in the protocol BISYNC. The other way, one byte in front of every message, makes each a copy longer.

use crate::{Error, Result};

/// Data link escape, of ASCII's control characters.
pub const DLE: u8 = 0x10;

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A message.
    Message(&'a [u8]),
    /// The sign of this byte.
    Sign(u8),
    /// Nothing at all, or what nobody has agreed on.
    Nonsense,
}

/// What goes in front of a message: nothing, as a rule.
pub fn front(message: &[u8]) -> &'static [u8] {
    match message.first() {
        None | Some(&DLE) => &[DLE],
        Some(_) => &[],
    }
}

/// What has been received into `buffer`. `len` bytes were sent, of which the buffer may hold the first ones only: it must
/// have room for one byte more than the longest message, `max` bytes, has.
///
/// # Errors
/// [`Error::TooLong`] for a longer one, whether or not it has been cut off.
pub fn received(buffer: &[u8], len: usize, max: usize) -> Result<Heard<'_>> {
    let missing = len.saturating_sub(buffer.len());
    match read(&buffer[..len - missing]) {
        Heard::Message(message) if message.len() + missing > max => Err(Error::too_long(message.len() + missing, max)),
        heard => Ok(heard),
    }
}

fn read(bytes: &[u8]) -> Heard<'_> {
    match bytes {
        [] => Heard::Nonsense,
        [DLE] => Heard::Message(&[]),
        [DLE, message @ ..] if message[0] == DLE => Heard::Message(message),
        [DLE, sign] => Heard::Sign(*sign),
        [DLE, ..] => Heard::Nonsense,
        message => Heard::Message(message),
    }
}

#[cfg(test)]
mod tests {
    use super::{DLE, Heard, front, read};

    #[test]
    fn every_message_comes_back_and_is_no_sign() {
        let bytes = [0, 1, DLE, 0xff];
        let mut messages = vec![vec![]];
        for len in 0..4 {
            let longer: Vec<_> = messages.iter().filter(|message| message.len() == len).cloned().collect();
            messages.extend(longer.iter().flat_map(|message| bytes.map(|byte| [&message[..], &[byte]].concat())));
        }
        assert_eq!(messages.len(), 1 + 4 + 16 + 64 + 256);
        for message in messages {
            let sent = [front(&message), &message].concat();
            assert_eq!(read(&sent), Heard::Message(&message), "{sent:?}");
        }
    }

    #[test]
    fn signs_are_no_messages() {
        for sign in (0..=255).filter(|&sign| sign != DLE) {
            assert_eq!(read(&[DLE, sign]), Heard::Sign(sign));
            assert_eq!(read(&[DLE, sign, 0]), Heard::Nonsense);
        }
        assert_eq!(read(&[]), Heard::Nonsense);
    }
}
