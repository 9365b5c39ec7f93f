//! Memory for the several messages that one recvmmsg(2) takes, and when to take several.

use std::{array, io, mem};

use crate::{IoBuffer, Pause};

/// Messages that have been taken together and are handed out one by one.
///
/// Where messages wait, one system call for several costs less than one for each, and the two ends meet less often at the
/// kernel's lock. Where they come one by one, as in a conversation, to look for a second one is in vain. So after a try that
/// brought one only, one is taken at a time for a while, twice as long after each such try.
///
/// Before a try there is a short pause: a sender that has no core of its own gets this one, and goes on until there is no room
/// or its time is over. Else it would have the core for each few messages, and this side be woken for them.
#[derive(Debug)]
pub struct Batch {
    /// The buffers, one behind the other, each in the middle of a page.
    memory: IoBuffer,
    /// Bytes in each.
    len: usize,
    /// The length with which each was sent; the buffer may hold its first bytes only.
    lengths: [usize; Batch::MOST],
    taken: usize,
    /// How many of these have been handed out.
    handed: usize,
    pause: Pause,
    /// Calls that take one message, between two tries.
    between: u32,
    /// How many of them are still to come.
    ones: u32,
}

/// Longer ones are taken one at a time: to copy each into the same memory, which the cache holds, is worth more than a
/// system call.
const LONG: usize = 16 << 10;
/// Calls that take one message, between two tries at the most.
const MOST_ONES: u32 = 1023;
/// Turns of spin_loop() in a pause.
const TURNS: u32 = 20;
const PAGE: usize = 4096;

impl Batch {
    /// How many messages there is room for. Four times as many brought little.
    pub const MOST: usize = 16;

    /// Room for messages of `len` bytes. Pages of it that nobody touches take no memory.
    pub fn new(len: usize) -> Batch {
        let memory = IoBuffer::new(Batch::MOST * len.next_multiple_of(PAGE));
        let pause = Pause::new();
        Batch { memory, len, lengths: [0; Batch::MOST], taken: 0, handed: 0, pause, between: 0, ones: 0 }
    }

    /// Have all been handed out?
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.handed == self.taken
    }

    /// Takes messages, in the place of those that have been handed out: by `one`, or, where that promises more, by
    /// `several`. `one` returns a message's length; `several` notes them and returns how many there are.
    ///
    /// # Errors
    /// What the two say; then there is none.
    #[inline]
    pub fn fill(
        &mut self,
        one: impl FnOnce(&mut [u8]) -> io::Result<usize>,
        several: impl FnOnce([&mut [u8]; Batch::MOST], &mut [usize; Batch::MOST]) -> io::Result<usize>,
    ) -> io::Result<()> {
        if self.ones > 0 || self.lengths[0] > LONG {
            self.fill_one(one)?;
            self.ones = self.ones.saturating_sub(1);
            return Ok(());
        }
        // Behind as many as there was room for, there are more.
        let paused = self.taken < Batch::MOST;
        if paused {
            self.pause.give(TURNS);
        }
        (self.taken, self.handed) = (0, 0);
        let (len, stride) = (self.len, self.stride());
        let mut rest = &mut self.memory[..];
        let buffers = array::from_fn(|_| {
            let (buffer, behind) = mem::take(&mut rest).split_at_mut(stride);
            rest = behind;
            &mut buffer[..len]
        });
        self.taken = several(buffers, &mut self.lengths)?;
        let several = self.taken > 1;
        if paused {
            self.pause.brought(several);
        }
        self.between = if several { 0 } else { (2 * self.between + 1).min(MOST_ONES) };
        self.ones = self.between;
        Ok(())
    }

    /// As [`fill`](Self::fill), of one message.
    ///
    /// # Errors
    /// What `one` says; then there is none.
    #[inline]
    pub fn fill_one(&mut self, one: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        (self.taken, self.handed) = (0, 0);
        self.lengths[0] = one(&mut self.memory[..self.len])?;
        self.taken = 1;
        Ok(())
    }

    /// Hands out the next message: the bytes that there was room for and others behind them, and with how many it was sent.
    ///
    /// # Panics
    /// Where there is none.
    #[inline]
    pub fn hand_out(&mut self) -> (&[u8], usize) {
        assert!(!self.is_empty(), "it has been filled");
        let at = self.handed;
        self.handed += 1;
        (&self.memory[at * self.stride()..][..self.len], self.lengths[at])
    }

    /// Bytes from the beginning of a buffer to that of the next.
    fn stride(&self) -> usize {
        self.len.next_multiple_of(PAGE)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{Batch, LONG, MOST_ONES};

    /// A batch that is filled where so many messages of `len` bytes wait, all of which are then handed out. How many
    /// were taken, and whether by the call for several?
    fn fill(batch: &mut Batch, waiting: usize, len: usize) -> (usize, bool) {
        let mut by_several = false;
        let put = |buffer: &mut [u8], at: usize| buffer[0] = at as u8;
        let filled = batch.fill(
            |buffer| {
                put(buffer, 0);
                Ok(len)
            },
            |buffers, lengths| {
                by_several = true;
                let taken = waiting.min(Batch::MOST);
                for at in 0..taken {
                    put(buffers[at], at);
                    lengths[at] = len;
                }
                Ok(taken)
            },
        );
        filled.unwrap();
        let mut taken = 0;
        while !batch.is_empty() {
            let (buffer, length) = batch.hand_out();
            assert_eq!((buffer[0], length), (taken as u8, len), "in order");
            taken += 1;
        }
        (taken, by_several)
    }

    #[test]
    fn where_messages_wait_they_are_taken_together() {
        let mut batch = Batch::new(1);
        for waiting in [2, 5, Batch::MOST, 100, 2] {
            assert_eq!(fill(&mut batch, waiting, 64), (waiting.min(Batch::MOST), true));
        }
    }

    #[test]
    fn where_they_come_one_by_one_several_are_seldom_tried_for() {
        let mut batch = Batch::new(1);
        let tries = |batch: &mut Batch, calls| (0..calls).filter(|_| fill(batch, 1, 64).1).count();
        assert_eq!(tries(&mut batch, 10_000), 10 + 8, "after 1, 3, 7, … 1023 calls, and then again and again");
        let first = (0..2 * MOST_ONES).position(|_| fill(&mut batch, 9, 64).1);
        assert!(first.is_some(), "who sends on is found out");
        assert_eq!(fill(&mut batch, 9, 64), (9, true));
        assert_eq!(tries(&mut batch, 100), 6, "and again it is not given up at once");
    }

    #[test]
    fn a_sender_that_waits_for_this_core_gets_it() {
        let mut batch = Batch::new(1);
        let mut waiting = || {
            let waiting = if batch.pause.yields() { 9 } else { 1 };
            fill(&mut batch, waiting, 64).0
        };
        let taken: usize = (0..1000).map(|_| waiting()).sum();
        assert!(taken > 5000, "{taken}");
        let mut batch = Batch::new(1);
        (0..1000).for_each(|_| assert_eq!(fill(&mut batch, 9, 64).0, 9));
        assert!(!batch.pause.yields(), "who has a core of its own needs time only");
    }

    #[test]
    fn long_ones_are_taken_one_at_a_time() {
        let mut batch = Batch::new(1);
        assert_eq!(fill(&mut batch, 9, LONG + 1), (9, true));
        assert_eq!(fill(&mut batch, 9, LONG + 1), (1, false));
        assert_eq!(fill(&mut batch, 9, 64), (1, false), "it was not known to be short");
        assert_eq!(fill(&mut batch, 9, 64), (9, true));
    }

    #[test]
    fn after_an_error_there_is_none() {
        let mut batch = Batch::new(1);
        fill(&mut batch, 3, 64);
        let error = || io::Error::from(io::ErrorKind::Interrupted);
        assert!(batch.fill(|_| Err(error()), |_, _| Err(error())).is_err());
        assert!(batch.is_empty());
        assert_eq!(fill(&mut batch, 3, 64), (3, true));
    }
}
