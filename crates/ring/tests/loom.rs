//! All interleavings of the ring's two sides: no cell is touched by both, no byte is lost or reordered, and
//! nobody sleeps for ever. The same file, with one ordering weakened, must fail, or this would show nothing.
//!
//! loom (after the CDSChecker paper: Norris and Demsky, OOPSLA 2013) runs the model under every execution
//! that the C11 memory model allows, up to a bound of three preemptions.
#![expect(unsafe_code, reason = "loom's cells hand out raw pointers")]

/// The ring over loom's atomics, with `$release` for publishing a word or a count and `$fence` between saying
/// "I wait" and looking once more.
macro_rules! ring_with {
    ($model:ident, $release:expr, $fence:expr) => {
        #[path = "../src"]
        mod $model {
            pub mod futex {
                use std::io;
                use std::time::Duration;

                use loom::sync::atomic::AtomicU32 as Word;
                pub use loom::sync::atomic::{Ordering, fence as real_fence};
                use loom::sync::{Condvar, Mutex};

                /// A word and the kernel's queue of those who sleep on it.
                pub struct AtomicU32 {
                    word: Word,
                    sleepers: Mutex<()>,
                    woken: Condvar,
                }

                impl AtomicU32 {
                    pub fn new(value: u32) -> Self {
                        AtomicU32 { word: Word::new(value), sleepers: Mutex::new(()), woken: Condvar::new() }
                    }
                    pub fn load(&self, ordering: Ordering) -> u32 {
                        self.word.load(ordering)
                    }
                    pub fn store(&self, value: u32, ordering: Ordering) {
                        self.word.store(value, if ordering == Ordering::Release { $release } else { ordering });
                    }
                }

                pub fn fence(ordering: Ordering) {
                    if $fence {
                        real_fence(ordering);
                    }
                }

                /// Looking again more often only adds executions.
                pub fn spin(_: Duration, mut look: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
                    look()
                }

                pub fn wait(word: &AtomicU32, expected: u32) -> io::Result<()> {
                    let sleepers = word.sleepers.lock().unwrap();
                    if word.word.load(Ordering::Relaxed) == expected {
                        drop(word.woken.wait(sleepers).unwrap());
                    }
                    Ok(())
                }

                pub fn wake(word: &AtomicU32) {
                    let _sleepers = word.sleepers.lock().unwrap();
                    word.woken.notify_all();
                }
            }

            #[path = "patience.rs"]
            #[expect(clippy::duplicate_mod, reason = "it has no atomics")]
            pub mod patience;

            #[path = "turns.rs"]
            #[expect(clippy::duplicate_mod, reason = "the same turns over different atomics")]
            #[expect(dead_code, reason = "what never sleeps cannot miss a wake-up")]
            pub mod turns;

            /// Three messages of a cell each through a ring of two: full once, empty at least once, and into the next round.
            pub fn carry() {
                use loom::cell::UnsafeCell;
                use loom::sync::Arc;
                use turns::{Board, Line, Reader, Shared, Writer};

                const CELLS: u32 = 2;
                const MESSAGES: u32 = 3;

                let word = || futex::AtomicU32::new(0);
                let shared = Shared { emptied: Line(word()), reader_waits: Line(word()), writer_waits: Line(word()) };
                let ring = Arc::new((shared, [word(), word()], [UnsafeCell::new(0), UnsafeCell::new(0)]));

                let writer = {
                    let ring = Arc::clone(&ring);
                    loom::thread::spawn(move || {
                        let board = Board { shared: &ring.0, words: &ring.1 };
                        let mut end = Writer::new(CELLS, 0);
                        for message in 1..=MESSAGES {
                            let first = loop {
                                match end.room(board, 1).unwrap() {
                                    Some(first) => break first,
                                    None => end.wait(board).unwrap(),
                                }
                            };
                            // SAFETY: loom itself checks that nobody else touches the cell.
                            ring.2[first as usize].with_mut(|cell| unsafe { *cell = message });
                            end.put(board, message);
                            // The last two are put together.
                            if message != MESSAGES - 1 || end.room(board, 1).unwrap().is_none() {
                                end.wake(board);
                            }
                        }
                    })
                };
                let board = Board { shared: &ring.0, words: &ring.1 };
                let mut end = Reader::new(CELLS, 0);
                for message in 1..=MESSAGES {
                    let word = loop {
                        match end.word(board, 0) {
                            Some(word) => break word,
                            None => end.wait(board).unwrap(),
                        }
                    };
                    assert_eq!(word, message);
                    let (first, _) = end.cells(1);
                    // SAFETY: as above.
                    let read = ring.2[first as usize].with(|cell| unsafe { *cell });
                    assert_eq!(read, message);
                    end.take(board, 1, 1, 1);
                }
                writer.join().unwrap();
            }
        }
    };
}

ring_with!(as_written, Ordering::Release, true);
ring_with!(without_release, Ordering::Relaxed, true);
ring_with!(without_fence, Ordering::Release, false);

fn check(model: fn()) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Runs the model in a process of its own, because loom cannot always unwind, and expects it to complain.
fn check_fails(test: &str, model: fn(), complaint: &str) {
    const ALONE: &str = "LOOM_MODEL_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return check(model);
    }
    let this = std::env::current_exe().unwrap();
    let output = std::process::Command::new(this).args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "the weakened ring passed");
    assert!(text.contains(complaint), "no {complaint:?} in:\n{text}");
}

#[test]
fn no_interleaving_loses_a_byte_or_a_wake_up() {
    check(as_written::carry);
}

#[test]
fn without_release_a_cell_is_read_before_it_is_written() {
    let test = "without_release_a_cell_is_read_before_it_is_written";
    check_fails(test, without_release::carry, "Causality violation");
}

#[test]
fn without_the_fence_a_wake_up_is_lost() {
    check_fails("without_the_fence_a_wake_up_is_lost", without_fence::carry, "deadlock");
}
