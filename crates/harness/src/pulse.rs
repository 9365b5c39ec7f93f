//! How much time the machine takes away: a busy or stalled one is no fault of a program that is late on it.

use std::collections::VecDeque;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A beat: sleep so long, then make a file, as every program here does; a nameless one, which nobody can leave behind.
const BEAT: Duration = Duration::from_millis(10);
/// Beats that are remembered, more than a minute of them.
const BEATS: usize = 8192;

/// When each beat ended, and by how much it was late.
static LATE: Mutex<VecDeque<(Instant, Duration)>> = Mutex::new(VecDeque::new());

/// Begins to measure, once.
pub(crate) fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| drop(thread::spawn(beat)));
}

fn beat() {
    loop {
        let begin = Instant::now();
        thread::sleep(BEAT);
        drop(tempfile::tempfile());
        let late = begin.elapsed().saturating_sub(BEAT);
        let mut beats = LATE.lock().unwrap_or_else(PoisonError::into_inner);
        if beats.len() == BEATS {
            beats.pop_front();
        }
        beats.push_back((Instant::now(), late));
    }
}

/// The time that the machine has taken since then from a thread that needed next to none.
pub fn lost_since(since: Instant) -> Duration {
    let beats = LATE.lock().unwrap_or_else(PoisonError::into_inner);
    let last = beats.back().map_or(since, |(end, _)| *end);
    // A beat that is overdue counts as well.
    let overdue = last.elapsed().saturating_sub(BEAT).min(since.elapsed());
    beats.iter().rev().take_while(|(end, _)| *end > since).map(|(_, late)| *late).sum::<Duration>() + overdue
}
