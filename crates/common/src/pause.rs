//! How to give the other side a moment.

use std::hint::spin_loop;
use std::thread::yield_now;

/// A moment for a writer to go on in, before the next look at what it has written.
///
/// A writer with a core of its own needs time only. One that waits for this core needs the core, sched_yield(2); but so may
/// somebody else, and who has the core keeps it for milliseconds. So time alone is given where that is followed by
/// several messages, which it is not where the writer waits for this core; the core where it is not, and, once in a
/// while, time alone again.
#[derive(Debug)]
pub struct Pause {
    yields: bool,
    /// Since time alone was given.
    yielded: u32,
}

/// Pauses with the core given away, to one without.
const TRIED: u32 = 4;

impl Default for Pause {
    fn default() -> Pause {
        Pause::new()
    }
}

impl Pause {
    /// Of a side that knows nothing yet.
    pub const fn new() -> Pause {
        Pause { yields: false, yielded: 0 }
    }

    /// Gives so many turns of spin_loop(), with the core or without.
    #[inline]
    pub fn give(&self, turns: u32) {
        if self.yields() {
            // Where nobody waits for this core it returns at once.
            yield_now();
        }
        time_alone(turns);
    }

    /// Does a pause give the core away now?
    pub(crate) fn yields(&self) -> bool {
        self.yields
    }

    /// After each pause: have there been several messages behind it?
    #[inline]
    pub fn brought(&mut self, several: bool) {
        if !self.yields {
            self.yields = !several;
        } else {
            self.yielded += 1;
            if !several || self.yielded == TRIED {
                *self = Pause::new();
            }
        }
    }
}

/// Gives so many turns of spin_loop(), and keeps the core.
#[inline]
pub(crate) fn time_alone(turns: u32) {
    for _ in 0..turns {
        spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::{Pause, TRIED};

    /// Whether each of so many pauses gives the core away, where `several` says what comes behind it.
    fn yields(pause: &mut Pause, pauses: u32, several: impl Fn(bool) -> bool) -> Vec<bool> {
        let one = |_| {
            let yields = pause.yields;
            pause.brought(several(yields));
            yields
        };
        (0..pauses).map(one).collect()
    }

    fn count(yields: &[bool]) -> u32 {
        yields.iter().map(|yields| u32::from(*yields)).sum()
    }

    #[test]
    fn a_writer_with_a_core_of_its_own_gets_time_only() {
        let mut pause = Pause::new();
        assert_eq!(count(&yields(&mut pause, 1000, |_| true)), 0);
        // It was kept from going on for once, and somebody else wants this core.
        pause.brought(false);
        assert_eq!(count(&yields(&mut pause, 1000, |_| true)), TRIED, "it is found out again");
    }

    #[test]
    fn a_writer_that_waits_for_this_core_gets_it() {
        let mut pause = Pause::new();
        let given = yields(&mut pause, 1000, |yields| yields);
        assert_eq!(count(&given), 1000 * TRIED / (TRIED + 1), "{given:?}");
    }

    #[test]
    fn where_neither_brings_anything_they_take_turns() {
        let mut pause = Pause::new();
        assert_eq!(yields(&mut pause, 6, |_| false), [false, true, false, true, false, true]);
    }
}
