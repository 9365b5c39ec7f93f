//! A short message and what goes in front of it, side by side.

/// Room for both. A system call takes one buffer faster than it takes two, even with the copy that it needs to have one.
#[derive(Debug)]
pub(crate) struct Piece([u8; ROOM]);

/// A page and what goes in front of it. To copy more than that takes longer than a second buffer.
const ROOM: usize = 4096 + 16;

impl Piece {
    /// Joins the two, if they are short.
    pub(crate) fn join(&mut self, front: &[u8], message: &[u8]) -> Option<&[u8]> {
        let piece = self.0.get_mut(..front.len() + message.len())?;
        piece[..front.len()].copy_from_slice(front);
        piece[front.len()..].copy_from_slice(message);
        Some(piece)
    }
}

impl Default for Piece {
    fn default() -> Self {
        Piece([0; ROOM])
    }
}

#[cfg(test)]
mod tests {
    use super::{Piece, ROOM};

    #[test]
    fn short_ones_are_joined_and_long_ones_are_not() {
        let mut piece = Piece::default();
        assert_eq!(piece.join(b"12", b"345"), Some(&b"12345"[..]));
        assert_eq!(piece.join(b"1", b""), Some(&b"1"[..]));
        assert_eq!(piece.join(b"12", &[0; ROOM - 2]).map(<[u8]>::len), Some(ROOM));
        assert_eq!(piece.join(b"12", &[0; ROOM - 1]), None);
    }
}
