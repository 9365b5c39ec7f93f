//! When to read on: not at once, where a moment later there is more.
//!
//! A reader that takes each message as soon as it is there finds the channel empty each time, and so does the writer:
//! both pay for what the kernel does between empty and not empty, and they meet at its lock. Some microseconds later there
//! are several messages, for one read(2). But where the writer waits for an answer nothing comes meanwhile; so a pause that
//! brought nothing is made shorter, and the full one is tried only now and then, and ever more seldom while that brings
//! nothing either.
//!
//! After a long message, which takes microseconds itself, the reader is either behind, and reads on at once, or it has
//! taken all there is. Then it would sleep and have to be woken: a pause is worth it where after the last one there was more than
//! one message to take.
//!
//! A writer of short messages that has no core of its own gets this one (`pause.rs`), and goes on until the channel is full or
//! its time is over. Else the first message would wake the reader, and the second would have to wait for the core again.

use crate::pause::{self, Pause};

/// The moment that a writer is given before each read(2).
#[derive(Debug)]
pub(crate) struct HeadStart {
    /// What is waited for at the most, in turns of spin_loop().
    full: u32,
    /// So many bytes are worth a read(2), and then the reader is behind anyway.
    plenty: usize,
    /// How many times as long it is behind a long message; 0 where these are as others.
    long: u32,
    pause: Pause,
    /// Once there was one of these: were there several messages behind the last?
    several: Option<bool>,
    pauses: u32,
    /// Bytes that the last read(2) brought.
    bytes: usize,
    /// Messages that have been taken out of them.
    messages: u32,
    /// Messages since the last pause behind a long one.
    run: u32,
    /// Since one had the full pause before it to see what that brings.
    reads: u32,
    /// Until the next one has.
    every: u32,
}

/// Reads to a try, when the last pause was worth it.
const OFTENEST: u32 = 1024;
/// And after many a try in vain.
const RAREST: u32 = 32 << 10;

impl HeadStart {
    /// Through the kernel: a microsecond or two. It moves a page in less.
    pub(crate) const KERNEL: HeadStart = HeadStart::new(140, 4096, 3);
    /// Through a file: its reader and its writer are in each other's way, and for a reader that sleeps each write makes an
    /// event (inotify(7)).
    pub(crate) const FILE: HeadStart = HeadStart::new(400, 16 << 10, 0);

    const fn new(full: u32, plenty: usize, long: u32) -> HeadStart {
        HeadStart {
            full,
            plenty,
            long,
            pause: Pause::new(),
            several: None,
            pauses: 0,
            bytes: 0,
            messages: 0,
            run: 0,
            reads: 0,
            every: OFTENEST,
        }
    }

    /// Before a read(2). `behind_long`: the last message was long, and all that was there has been taken with it.
    #[inline]
    pub(crate) fn give(&mut self, behind_long: bool) {
        let behind_long = behind_long && self.long > 0;
        match self.due(behind_long) {
            0 => {}
            due if behind_long => pause::time_alone(due),
            due => {
                if let Some(several) = self.several.replace(false) {
                    self.pause.brought(several);
                }
                self.pause.give(due);
            }
        }
    }

    /// After it.
    #[inline]
    pub(crate) fn read(&mut self, bytes: usize) {
        (self.bytes, self.messages) = (bytes, 0);
    }

    /// For each message that it has brought.
    #[inline]
    pub(crate) fn message(&mut self) {
        self.messages += 1;
        self.run = self.run.saturating_add(1);
    }

    fn due(&mut self, behind_long: bool) -> u32 {
        let (worth, times) = if behind_long {
            (std::mem::take(&mut self.run) > 1, self.long)
        } else {
            let plenty = self.bytes >= self.plenty;
            self.several = self.several.map(|several| several || plenty || self.messages > 1);
            if plenty {
                return 0;
            }
            (self.messages > 1, 1)
        };
        self.reads += 1;
        if worth {
            (self.pauses, self.reads, self.every) = (self.full, 0, OFTENEST);
        } else if self.reads == self.every {
            (self.pauses, self.reads, self.every) = (self.full, 0, (self.every * 2).min(RAREST));
        } else {
            self.pauses /= 2;
        }
        times * self.pauses
    }
}

#[cfg(test)]
mod tests {
    use super::{HeadStart, RAREST};

    const FULL: u32 = HeadStart::KERNEL.full;
    const PLENTY: usize = HeadStart::KERNEL.plenty;

    /// What `reads` reads wait for, each of which brings so much.
    fn pauses(start: &mut HeadStart, reads: u32, bytes: usize, messages: u32) -> u32 {
        let mut all = 0;
        for _ in 0..reads {
            all += start.due(false);
            start.read(bytes);
            (0..messages).for_each(|_| start.message());
        }
        all
    }

    /// As many pauses behind long messages, of which there are so many from one to the next.
    fn pauses_behind_long(start: &mut HeadStart, pauses: u32, messages: u32) -> u32 {
        let mut all = 0;
        for _ in 0..pauses {
            all += start.due(true);
            for _ in 0..messages {
                start.read(PLENTY);
                assert_eq!(start.due(false), 0, "within and between messages that are there");
                start.read(PLENTY);
                start.message();
            }
        }
        all
    }

    #[test]
    fn who_waits_for_an_answer_is_not_kept_waiting() {
        let mut start = HeadStart::KERNEL;
        pauses(&mut start, 3, 340, 5);
        assert!(start.due(false) == FULL, "several at once are worth it");
        let reads = 2 * RAREST;
        assert!(pauses(&mut start, reads, 68, 1) <= 2 * 7 * FULL, "one by one they are not, and it is tried 6 times");
        assert!(pauses(&mut start, reads, 68, 1) <= 2 * 2 * FULL, "and then twice in as many reads");
    }

    #[test]
    fn who_sends_on_is_found_out() {
        let mut start = HeadStart::KERNEL;
        pauses(&mut start, RAREST, 68, 1);
        assert!(pauses(&mut start, RAREST, 68, 1) > FULL, "it is still tried");
        assert!(pauses(&mut start, 100, 340, 5) >= 99 * FULL);
    }

    #[test]
    fn who_is_ahead_is_not_waited_for() {
        let mut start = HeadStart::KERNEL;
        pauses(&mut start, 1, PLENTY, 60);
        assert_eq!(pauses(&mut start, 100, PLENTY, 60), 0);
    }

    #[test]
    fn so_it_is_with_long_messages() {
        const LONG: u32 = HeadStart::KERNEL.long * FULL;
        let mut start = HeadStart::KERNEL;
        assert_eq!(pauses_behind_long(&mut start, 100, 2), 99 * LONG, "the first one could not know");
        assert!(pauses_behind_long(&mut start, 2 * RAREST, 1) <= 2 * 7 * LONG, "one by one it is not worth it");
        assert!(pauses_behind_long(&mut start, 2 * RAREST, 1) > LONG, "and still tried");
        assert!(pauses_behind_long(&mut start, 100, 2) >= 99 * LONG);
    }

    /// Lets the writer go on, and then there are so many messages to read where it is given time alone, and with the core.
    fn one_core_or_two(start: &mut HeadStart, reads: u32, alone: u32, with_core: u32) -> u32 {
        let mut given_away = 0;
        for _ in 0..reads {
            start.give(false);
            given_away += u32::from(start.pause.yields());
            let messages = if start.pause.yields() { with_core } else { alone };
            start.read(68 * messages as usize);
            (0..messages).for_each(|_| start.message());
        }
        given_away
    }

    #[test]
    fn the_core_is_given_away_where_time_alone_brings_nothing() {
        let mut start = HeadStart::KERNEL;
        one_core_or_two(&mut start, 3, 5, 5);
        assert_eq!(one_core_or_two(&mut start, 1000, 5, 50), 0, "somebody else may want it");
        // Once it is found out: of each five reads four.
        one_core_or_two(&mut start, 4 * RAREST, 1, 50);
        assert!(one_core_or_two(&mut start, 1000, 1, 50) >= 700);
        assert!(one_core_or_two(&mut start, 1000, 5, 50) <= 4, "and the writer has a core of its own again");
    }

    #[test]
    fn time_alone_that_brought_plenty_was_enough() {
        let mut start = HeadStart::KERNEL;
        one_core_or_two(&mut start, 3, 5, 5);
        for bytes in [PLENTY, 68, 68] {
            start.give(false);
            start.read(bytes);
            start.message();
        }
        assert!(!start.pause.yields());
        start.give(false);
        assert!(start.pause.yields(), "that one message came was not");
    }

    #[test]
    fn behind_a_long_message_the_core_is_kept() {
        let mut start = HeadStart::KERNEL;
        for _ in 0..100 {
            start.give(true);
            start.read(PLENTY);
            start.message();
        }
        assert!(!start.pause.yields());
    }

    /// Nothing sets the count back while no message is long.
    #[test]
    fn short_messages_without_end_are_no_error() {
        let mut start = HeadStart { run: u32::MAX, ..HeadStart::KERNEL };
        start.read(64);
        start.message();
        assert_eq!(start.due(true), HeadStart::KERNEL.long * FULL);
    }
}
