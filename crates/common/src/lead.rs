//! Where messages are taken one by one: not each at once, where a moment later the sender is ahead.

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use crate::Args;

/// A moment that the sender is given before every so many messages.
///
/// A receiver that is faster than its sender finds nothing again and again, and sleeps; and to wake it takes the sender as
/// long as to send many messages. Where there is room for few messages, both ends sleep by turns, and one fills or empties
/// the channel while the other is being woken. A sender that is given a moment gets ahead instead, or has been woken and has
/// sent before there is nothing left.
///
/// How long a moment is best, and whether any is, depends on the machine, and on whether the sender goes on at all or waits
/// for an answer. Nothing tells; so some are tried, and what was fastest is kept for a while.
#[derive(Debug)]
pub struct Lead {
    /// Messages from pause to pause.
    messages: u32,
    /// The pause now.
    pause: Duration,
    /// Messages since the last one.
    since: u32,
    /// Messages until there is another pause.
    left: u64,
    tries: Tries,
    /// When this pause was first given.
    began: Instant,
}

/// Which pause is best?
#[derive(Debug)]
struct Tries {
    /// They are tried from none to this one, in steps of [`STEP`].
    longest: Duration,
    /// The one being tried; none, where one has been chosen.
    tried: Option<Duration>,
    /// How many parts of its try are over, and how long the fastest of them took.
    parts: (u32, Duration),
    /// How long the messages took without a pause.
    without: Duration,
    /// The pause with which they took the least time so far, and that time.
    best: (Duration, Duration),
}

/// From one pause that is tried to the next.
const STEP: Duration = Duration::from_micros(3);
/// Parts of a try. The fastest counts: who loses the core loses it for longer than a part takes.
const PARTS: u32 = 3;
/// Messages in a part.
const PART: u64 = 128;
/// Messages before the next tries.
const KEPT: u64 = 32 << 10;

impl Lead {
    /// Of a receiver that may pause before every so many messages, and no longer than `longest`. One that never sleeps
    /// (`--spin`) never does.
    pub fn new(args: &Args, messages: u32, longest: Duration) -> Lead {
        // The tries begin behind the first message: until that comes there is nothing to be measured.
        let left = if args.spins() { u64::MAX } else { 1 };
        Lead { messages, pause: Duration::ZERO, since: 0, left, tries: Tries::new(longest), began: Instant::now() }
    }

    /// Takes a message by `take`, behind a pause if it is time for one.
    #[inline]
    pub fn before<T>(&mut self, take: impl FnOnce() -> T) -> T {
        if !self.pause.is_zero() {
            self.since += 1;
            if self.since >= self.messages {
                self.since = 0;
                wait(self.pause);
            }
        }
        let taken = take();
        self.left -= 1;
        if self.left == 0 {
            let now = Instant::now();
            (self.pause, self.left) = self.tries.next(now.duration_since(self.began));
            self.began = now;
        }
        taken
    }
}

impl Tries {
    fn new(longest: Duration) -> Tries {
        let nothing = (Duration::ZERO, Duration::ZERO);
        Tries { longest, tried: None, parts: (0, Duration::MAX), without: Duration::ZERO, best: nothing }
    }

    /// The messages since the last call took so long: with which pause are the next taken, and how many?
    #[cold]
    fn next(&mut self, time: Duration) -> (Duration, u64) {
        let Some(pause) = self.tried else { return self.begin(Duration::ZERO) };
        let (parts, fastest) = (self.parts.0 + 1, self.parts.1.min(time));
        self.parts = (parts, fastest);
        if parts < PARTS {
            return (pause, PART);
        }
        if pause.is_zero() {
            self.without = fastest;
        }
        if pause.is_zero() || fastest < self.best.1 {
            self.best = (pause, fastest);
        }
        // Where nobody gets ahead meanwhile, as on one core, a longer pause is a longer loss.
        let loss = fastest * 4 > self.best.1 * 5;
        if pause + STEP <= self.longest && !loss {
            return self.begin(pause + STEP);
        }
        self.tried = None;
        // What gains less than a tenth has perhaps had luck.
        let gain = self.best.1 * 10 <= self.without * 9;
        (if gain { self.best.0 } else { Duration::ZERO }, KEPT)
    }

    fn begin(&mut self, pause: Duration) -> (Duration, u64) {
        (self.tried, self.parts) = (Some(pause), (0, Duration::MAX));
        (pause, PART)
    }
}

fn wait(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{KEPT, Lead, PART, PARTS, Tries};
    use crate::frame::tests::STREAM;
    use crate::{Args, Role};

    const fn micros(pause: u64) -> Duration {
        Duration::from_micros(pause)
    }

    /// Tries until a pause is kept, where with each of them a message takes so many nanoseconds: which have been tried
    /// and which is kept?
    fn kept(tries: &mut Tries, mut message: impl FnMut(Duration) -> u64) -> (Vec<Duration>, Duration) {
        let mut tried = Vec::new();
        let (mut pause, mut messages) = tries.next(Duration::from_secs(1));
        while messages == PART {
            tried.push(pause);
            (pause, messages) = tries.next(Duration::from_nanos(PART * message(pause)));
        }
        assert_eq!(messages, KEPT);
        assert!(tried.chunks(PARTS as usize).all(|parts| parts.len() == PARTS as usize && parts[0] == parts[2]));
        tried.dedup();
        (tried, pause)
    }

    /// A queue whose sender needs 8 µs to be awake: with less it is slower, and with more, too.
    fn queue(pause: Duration) -> u64 {
        2000 + 100 * pause.abs_diff(micros(8)).as_micros() as u64
    }

    #[test]
    fn the_fastest_is_kept() {
        let all = [0, 3, 6, 9, 12].map(micros);
        assert_eq!(kept(&mut Tries::new(micros(12)), queue), (all.to_vec(), micros(9)));
        assert_eq!(
            kept(&mut Tries::new(micros(3)), queue),
            (all[..2].to_vec(), micros(3)),
            "the longest that is allowed"
        );
    }

    #[test]
    fn little_is_no_reason() {
        let gains = |percent: u64| {
            kept(&mut Tries::new(micros(12)), move |pause| 1000 - pause.as_micros() as u64 * percent * 10 / 12).1
        };
        assert_eq!(gains(9), Duration::ZERO);
        assert_eq!(gains(11), micros(12));
        assert_eq!(gains(0), Duration::ZERO);
    }

    #[test]
    fn where_a_pause_is_a_loss_no_longer_one_is_tried() {
        let one_core = |pause: Duration| 800 + pause.as_nanos() as u64 / 5;
        let all = [0, 3].map(micros);
        assert_eq!(kept(&mut Tries::new(micros(12)), one_core), (all.to_vec(), Duration::ZERO));
    }

    /// Each third part takes milliseconds longer.
    #[test]
    fn who_has_lost_the_core_meanwhile_has_not_shown_anything() {
        for message in [queue, |_| 1000] {
            for lost in 0..3 {
                let mut part = lost;
                let interrupted = |pause| {
                    part += 1;
                    message(pause) + if part % 3 == 0 { 30_000 } else { 0 }
                };
                let alone = kept(&mut Tries::new(micros(12)), message);
                assert_eq!(kept(&mut Tries::new(micros(12)), interrupted), alone);
            }
        }
    }

    #[test]
    fn what_has_changed_is_found_out() {
        let mut tries = Tries::new(micros(12));
        assert_eq!(kept(&mut tries, queue).1, micros(9));
        assert_eq!(kept(&mut tries, |_| 40_000).1, Duration::ZERO, "the sender waits for answers now");
        assert_eq!(kept(&mut tries, queue).1, micros(9));
    }

    fn lead(messages: u32, pause: Duration) -> Lead {
        Lead { messages, pause, since: 0, left: KEPT, tries: Tries::new(micros(12)), began: Instant::now() }
    }

    #[test]
    fn the_pause_is_before_every_so_many_messages() {
        let pause = Duration::from_millis(5);
        let mut lead = lead(3, pause);
        let mut paused = Vec::new();
        for _ in 0..7 {
            let began = Instant::now();
            lead.before(|| paused.push(began.elapsed() >= pause));
        }
        // One that has lost the core for so long counts as well, so no more is said of the others.
        assert!(paused[2] && paused[5], "{paused:?}");
        assert_eq!(lead.since, 1);
    }

    #[test]
    fn the_tries_begin_behind_the_first_message() {
        let mut lead = Lead { left: 1, ..lead(3, Duration::ZERO) };
        let mut tried = Vec::new();
        for _ in 0..1 + PARTS as u64 * PART {
            lead.before(|| ());
            tried.push(lead.tries.tried);
        }
        assert_eq!(tried[0], Some(Duration::ZERO));
        assert_eq!(tried[(PARTS as u64 * PART) as usize - 1], Some(Duration::ZERO));
        assert_ne!(tried[(PARTS as u64 * PART) as usize], Some(Duration::ZERO));
    }

    #[test]
    fn who_never_sleeps_is_not_to_wait() {
        let mut args = Args::new(&STREAM, Role::Receiver);
        args.set_extra("spin", "");
        let mut lead = Lead::new(&args, 1, micros(12));
        for _ in 0..30 * PART {
            lead.before(|| ());
        }
        assert_eq!(lead.left, u64::MAX - 30 * PART);
        assert_eq!(Lead::new(&Args::new(&STREAM, Role::Receiver), 1, micros(12)).left, 1);
    }
}
