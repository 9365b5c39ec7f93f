//! What the machine can do: the figures beside which all others are read.
#![expect(unsafe_code, reason = "a system call without a wrapper; memory that two processes share")]

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::IoBuffer;
use nix::sys::signal::Signal;

use crate::control::Shared;
use crate::message::{Form, Verify};
use crate::processes::{self, Failure};
use crate::results::{Hardware, Limit, Place, Row, Status};
use crate::twins::futex;

/// Copied from memory: more than fits into any cache.
const AREA: usize = 64 << 20;
/// At a time.
const CHUNK: usize = 1 << 20;
const GIVE_UP: Duration = Duration::from_secs(20);

/// The figures that the rows are read beside, still without values.
pub fn rows(rows: &[Row]) -> Vec<Hardware> {
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let row = |what, size| Hardware { what, size, nanos: Vec::new(), reason: None };
    let mut rows: Vec<_> = [Limit::CacheLine, Limit::TimedLine, Limit::Futex, Limit::SystemCall, Limit::Clock]
        .into_iter()
        .map(|what| row(what, None))
        .collect();
    rows.extend(sizes.iter().map(|&size| row(Limit::CopyCache, Some(size))));
    rows.push(row(Limit::CopyMemory, Some(CHUNK)));
    rows.extend(sizes.iter().map(|&size| row(Limit::Verify, Some(size))));
    rows
}

/// Measures each once more, in about this time for each.
///
/// # Errors
/// The signal that ended the run.
pub fn round(rows: &mut [Hardware], time: Duration, verify: Verify) -> Result<(), Signal> {
    for row in rows {
        let (what, size) = (row.what, row.size.unwrap_or(0));
        let found = match what {
            Limit::CacheLine | Limit::TimedLine | Limit::Futex => ping_pong(time, what),
            _ => alone(move || match what {
                Limit::SystemCall => each(time, nothing),
                Limit::Clock => each(time, || {
                    black_box(Instant::now());
                }),
                Limit::CopyCache => copy(time, size, size),
                Limit::CopyMemory => copy(time, CHUNK, AREA),
                _ => check(time, size, verify),
            }),
        };
        match found {
            Ok(nanos) => row.nanos.push(nanos),
            Err(Failure::Signal(signal)) => return Err(signal),
            Err(Failure::Row(Status::Failed(why) | Status::Unsupported(why) | Status::Skipped(why))) => {
                row.reason = Some(why);
            }
            Err(Failure::Row(Status::Measured)) => {}
        }
    }
    Ok(())
}

/// In a process of its own, on the first of the two cores.
fn alone(work: impl FnOnce() -> f64) -> Result<f64, Failure> {
    let cores = processes::cores(Place::Apart).or_else(|_| processes::cores(Place::Together))?;
    processes::run(cores, GIVE_UP, || Ok(work()), || Ok(())).map(|(nanos, ())| nanos)
}

/// Nanoseconds for each call of `work`, in batches that grow until one takes long enough.
fn each(time: Duration, mut work: impl FnMut()) -> f64 {
    let mut count = 16_u64;
    loop {
        let start = Instant::now();
        for _ in 0..count {
            work();
        }
        let took = start.elapsed();
        if took >= time / 2 {
            return took.as_nanos() as f64 / count as f64;
        }
        count *= 2;
    }
}

/// getppid(2): the kernel looks up one number. The C library does not keep it, as it once did with getpid.
fn nothing() {
    // SAFETY: the call takes nothing and touches no memory.
    black_box(unsafe { libc::syscall(libc::SYS_getppid) });
}

/// Copies `size` bytes at a time out of an area of `area` bytes into another.
fn copy(time: Duration, size: usize, area: usize) -> f64 {
    let (mut from, mut to) = (IoBuffer::new(area), IoBuffer::new(area));
    from.fill(1);
    to.fill(2);
    let mut at = 0;
    each(time, || {
        to[at..at + size].copy_from_slice(black_box(&from[at..at + size]));
        black_box(&mut to);
        at = if at + 2 * size <= area { at + size } else { 0 };
    })
}

/// Makes a message and checks it.
fn check(time: Duration, size: usize, verify: Verify) -> f64 {
    let form = Form::new(size, verify);
    let mut buffer = form.buffer();
    let mut number = 0;
    each(time, || {
        form.write(black_box(&mut buffer), number, false);
        let _ = black_box(form.check(black_box(&buffer), number, false));
        number += 1;
    })
}

/// Two processes on two cores tell each other numbers in one word; nanoseconds for a number and its answer.
fn ping_pong(time: Duration, what: Limit) -> Result<f64, Failure> {
    const END: u32 = u32::MAX;
    let (sleeps, timed) = (what == Limit::Futex, what == Limit::TimedLine);
    let until = if sleeps { sleep_until } else { spin_until };
    let cores = processes::cores(Place::Apart)?;
    let shared = Shared::new(4096).map_err(Failure::failed)?;
    // SAFETY: the mapping is longer, aligned, zeroed and lives longer than both processes' use of it; an atomic may be
    // shared with another process that uses it as one.
    let word = unsafe { &*shared.as_ptr().cast::<AtomicU32>() };
    let tell = |number| {
        word.store(number, Ordering::SeqCst);
        if sleeps {
            futex::wake(word);
        }
    };
    let ask = || {
        let (mut number, mut spent) = (0, Duration::ZERO);
        let nanos = each(time, || {
            let start = timed.then(Instant::now);
            tell(number + 1);
            until(word, number + 2);
            number += 2;
            spent += start.map_or(Duration::ZERO, |start| start.elapsed());
        });
        tell(END);
        // Not what lies between one trip and the next.
        Ok(if timed { 2.0 * spent.as_nanos() as f64 / f64::from(number) } else { nanos })
    };
    let answer = || {
        let mut number = 0;
        loop {
            until(word, number + 1);
            if word.load(Ordering::SeqCst) == END {
                return Ok(());
            }
            tell(number + 2);
            number += 2;
        }
    };
    processes::run(cores, GIVE_UP, ask, answer).map(|(nanos, ())| nanos)
}

fn spin_until(word: &AtomicU32, number: u32) {
    while word.load(Ordering::Acquire) < number {
        spin_loop();
    }
}

fn sleep_until(word: &AtomicU32, number: u32) {
    loop {
        match word.load(Ordering::SeqCst) {
            now if now >= number => return,
            now => futex::wait(word, now),
        }
    }
}
