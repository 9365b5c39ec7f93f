//! How long to look again before sleeping.
//!
//! Where both sides have a core of their own, the other one's next step is near and a look costs less than a sleep.
//! Where they share one, looking only keeps the other from running. Nobody tells which it is, so it is learnt.

use std::time::Duration;

/// One side's.
#[derive(Debug, PartialEq)]
pub enum Patience {
    /// The longest after a look that was rewarded, half as long after each one in vain.
    Learning(Duration),
    /// Not at all, but for one wait of `every`: the other side may have got a core meanwhile.
    Lost {
        /// Since the last look.
        waits: u32,
        /// Until the next one.
        every: u32,
    },
    /// Until somebody else calls.
    Endless,
}

impl Default for Patience {
    /// Of a side that knows nothing yet.
    fn default() -> Patience {
        Patience::Learning(LONGEST)
    }
}

impl Patience {
    /// How long this wait may look before it sleeps.
    pub fn time(&mut self) -> Duration {
        match self {
            Patience::Learning(time) => *time,
            Patience::Lost { waits, every } => {
                *waits += 1;
                if *waits < *every {
                    return Duration::ZERO;
                }
                // Should it be in vain again, the next one is further away: it costs as much as many sleeps.
                (*waits, *every) = (0, (*every * 2).min(RAREST));
                LONGEST
            }
            Patience::Endless => ENDLESS,
        }
    }

    /// The other side has acted in time.
    pub fn rewarded(&mut self) {
        if *self != Patience::Endless {
            *self = Patience::default();
        }
    }

    /// The time is over: is this side to sleep now?
    pub fn sleeps(&mut self) -> bool {
        match self {
            Patience::Learning(time) if *time > SHORTEST => *time /= 2,
            Patience::Learning(_) => *self = Patience::Lost { waits: 0, every: OFTENEST },
            Patience::Lost { .. } => {}
            Patience::Endless => return false,
        }
        true
    }
}

/// More than it takes to wake a process that sleeps on another core. Were it less, two sides that both sleep would never
/// find out that they need not: the one that looks would give up before the one that it has woken can answer.
pub const LONGEST: Duration = Duration::from_micros(50);
/// Half of it would not be worth a look at the clock.
const SHORTEST: Duration = Duration::from_micros(2);
/// Waits to a look when patience has just been lost.
const OFTENEST: u32 = 16;
/// And after many a look in vain.
pub const RAREST: u32 = 4096;
/// Long enough to cost nothing, short enough for whoever wants to end it.
const ENDLESS: Duration = Duration::from_millis(2);
