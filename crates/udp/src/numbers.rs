//! What stands in front of each datagram, and what the numbers tell: which messages are missing.

/// Bytes before a message: its kind, one byte; its number, eight bytes, the most significant first.
pub const HEADER: usize = 9;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message and its number.
    Message = 0,
    /// The end; the number is the one that the next message would have had.
    End = 1,
    /// A sender's request to be heard; the number is the one that its first message will have.
    Hello = 2,
    /// A receiver's answer to a hello, with its number.
    Welcome = 3,
    /// A receiver's answer to the end: how many messages have arrived.
    Report = 4,
}

/// What stands in front.
pub fn header(kind: Kind, number: u64) -> [u8; HEADER] {
    let mut header = [kind as u8; HEADER];
    header[1..].copy_from_slice(&number.to_be_bytes());
    header
}

/// Kind and number of a datagram; the message comes after [`HEADER`] bytes. `None` for what is none of ours.
pub fn parse(datagram: &[u8]) -> Option<(Kind, u64)> {
    let (header, message) = datagram.split_first_chunk::<HEADER>()?;
    let [kind, number @ ..] = *header;
    let kind = match kind {
        0 => Kind::Message,
        1 => Kind::End,
        2 => Kind::Hello,
        3 => Kind::Welcome,
        4 => Kind::Report,
        _ => return None,
    };
    (kind == Kind::Message || message.is_empty()).then_some((kind, u64::from_be_bytes(number)))
}

/// A number so far ahead of the last one is no number of this conversation. Nobody loses so many in a row.
const WINDOW: u64 = 1 << 32;

/// Which of a sender's messages have come.
#[derive(Clone, Copy, Debug)]
pub struct Tally {
    first: u64,
    next: u64,
    arrived: u64,
    late: u64,
}

impl Tally {
    /// For a sender whose first message has this number.
    pub fn new(first: u64) -> Tally {
        Tally { first, next: first, arrived: 0, late: 0 }
    }

    /// Is a message with this number to be delivered? Not if it, or one after it, has been.
    pub fn take(&mut self, number: u64) -> bool {
        // Numbers go on from 2^64 - 1 to 0, so that a conversation can begin with any.
        if number.wrapping_sub(self.next) >= WINDOW {
            self.late += 1;
            return false;
        }
        self.next = number.wrapping_add(1);
        self.arrived += 1;
        true
    }

    /// How many messages there were, if `end` can be the number behind the last one.
    pub fn sent(&self, end: u64) -> Option<u64> {
        (end.wrapping_sub(self.next) < WINDOW).then(|| end.wrapping_sub(self.first))
    }

    /// The number of the first message.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// One more than the highest number so far.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// How many messages have been delivered.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// How many came twice, or too late for their place.
    pub fn late(&self) -> u64 {
        self.late
    }
}
