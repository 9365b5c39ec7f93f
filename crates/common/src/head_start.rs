//! When to read on: not at once, where a moment later there is more.
//!
//! A reader that takes each message as soon as it is there finds the channel empty each time, and so does the writer:
//! both pay for what the kernel does between empty and not empty, and they meet at its lock or, in shared memory, at
//! the same cache line. Some microseconds later there are several messages, for one read(2). But where the writer waits
//! for an answer nothing comes meanwhile; so a pause that brought nothing is made shorter, and the full one is tried only
//! now and then, and ever more seldom while that brings nothing either.
//!
//! A writer that has no core of its own gets this one, sched_yield(2), and goes on until the channel is full or its time is
//! over. Else the first message would wake the reader, and the second would have to wait for the core again.

use std::hint::spin_loop;
use std::thread::yield_now;

/// The moment that a writer is given before each read(2).
#[derive(Debug)]
pub(crate) struct HeadStart {
    /// What is waited for at the most, in turns of spin_loop().
    full: u32,
    /// So many bytes are worth a read(2), and then the reader is behind anyway.
    plenty: usize,
    /// Is the core offered to others first? Who does not read through the kernel does not go there for that.
    yields: bool,
    pauses: u32,
    /// Bytes that the last read(2) brought.
    bytes: usize,
    /// Messages that have been taken out of them.
    messages: u32,
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
    pub(crate) const KERNEL: HeadStart = HeadStart::new(100, 4096, true);
    /// Through a file: its reader and its writer are in each other's way, and for a reader that sleeps each write makes an
    /// event (inotify(7)).
    pub(crate) const FILE: HeadStart = HeadStart::new(400, 16 << 10, true);
    /// Through memory that both have mapped, where a writer gets further in a microsecond.
    pub(crate) const MEMORY: HeadStart = HeadStart::new(200, 16 << 10, false);

    const fn new(full: u32, plenty: usize, yields: bool) -> HeadStart {
        HeadStart { full, plenty, yields, pauses: 0, bytes: 0, messages: 0, reads: 0, every: OFTENEST }
    }

    /// Before a read(2).
    #[inline]
    pub(crate) fn give(&mut self) {
        let due = self.due();
        if due > 0 && self.yields {
            // Where nobody waits for this core it returns at once.
            yield_now();
        }
        for _ in 0..due {
            spin_loop();
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
    }

    fn due(&mut self) -> u32 {
        if self.bytes >= self.plenty {
            return 0;
        }
        self.reads += 1;
        if self.messages > 1 {
            (self.pauses, self.reads, self.every) = (self.full, 0, OFTENEST);
        } else if self.reads == self.every {
            (self.pauses, self.reads, self.every) = (self.full, 0, (self.every * 2).min(RAREST));
        } else {
            self.pauses /= 2;
        }
        self.pauses
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
            all += start.due();
            start.read(bytes);
            (0..messages).for_each(|_| start.message());
        }
        all
    }

    #[test]
    fn who_waits_for_an_answer_is_not_kept_waiting() {
        let mut start = HeadStart::KERNEL;
        pauses(&mut start, 3, 340, 5);
        assert!(start.due() == FULL, "several at once are worth it");
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
}
