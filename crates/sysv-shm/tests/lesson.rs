//! What README.md says, tried; and what becomes of a ring in which the other end lies.
#![expect(unsafe_code, reason = "the segment is attached without the mechanism, to write nonsense into it")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use harness::{Lesson, NO_ARGS, Process, Result, Role, Signal, ensure, lesson};

/// Where the count of emptied cells is, and the words, and what one sleeps on: README.md of shm shows them.
const EMPTIED: usize = 128;
const READER_WAITS: usize = 256;
const WRITER_WAITS: usize = 384;
const WORDS: usize = 4096;
const CELLS: u32 = 65_536;

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("ipcs_looks_three_times_and_then_there_is_nothing", look),
        ("a_receiver_killed_before_a_sender_came_is_replaced", early),
        ("the_key_is_free_again_while_two_talk", two_pairs),
        ("ipc_creat_alone_opens_what_is_there", not_exclusive),
        ("ipcs_tells_the_limits", limits),
        ("a_segment_of_another_size_is_refused", wrong_size),
        ("a_segment_that_is_no_ring_is_refused", no_ring),
        ("an_impossible_word_is_refused", lying_sender),
        ("an_impossible_count_of_cells_emptied_is_refused", lying_receiver),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_sysv-shm-sender"),
        env!("CARGO_BIN_EXE_sysv-shm-receiver"),
        trials,
    )
}

fn key(lesson: &Lesson) -> Result<i32> {
    let key = lesson.trial.endpoint().and_then(|endpoint| endpoint.strip_prefix("0x")).ok_or("no key")?;
    Ok(u32::from_str_radix(key, 16)?.cast_signed())
}

fn check(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A segment's number, or that of a new one with `size` bytes.
fn segment(key: i32, size: Option<usize>) -> io::Result<i32> {
    let flags = if size.is_some() { libc::IPC_CREAT | libc::IPC_EXCL | 0o600 } else { 0 };
    // SAFETY: the call takes three numbers.
    check(unsafe { libc::shmget(key, size.unwrap_or(0), flags) })
}

fn remove(id: i32) -> io::Result<()> {
    // SAFETY: IPC_RMID does not use the pointer.
    check(unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) }).map(drop)
}

/// The line of `ipcs -m` about a segment, without its owner: key, permissions, bytes, nattch, status.
fn listed(lesson: &Lesson, id: i32) -> Result<Option<String>> {
    let printed = lesson.run("ipcs -m", &[])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    let mut lines = printed.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.get(1) == Some(&id.to_string().as_str()));
    Ok(line.map(|words| [&words[..1], &words[3..]].concat().join(" ")))
}

fn look(lesson: &Lesson) -> Result {
    let key = key(lesson)?;
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let id = segment(key, None)?;
    lesson.says("lists the segment with its key and `nattch` 1")?;
    ensure!(listed(lesson, id)? == Some(format!("{key:#010x} 600 4460544 1")), "{:?}", listed(lesson, id)?);
    let sender = lesson.trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    lesson.says("`nattch` is 2, the status `dest`, and the key 0")?;
    ensure!(listed(lesson, id)? == Some("0x00000000 600 4460544 2 dest".into()), "{:?}", listed(lesson, id)?);
    for process in [&sender, &receiver] {
        process.signal(Signal::KILL)?;
        process.wait()?.expect(137)?;
    }
    lesson.says("look a third time: nothing is there")?;
    ensure!(listed(lesson, id)?.is_none(), "{:?}", listed(lesson, id)?);
    next(lesson)
}

/// The next receiver takes over what a dead one has left: its lock at least.
fn next(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.trial.sender(["again"])?.wait()?.expect(0)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"again\n", "{:?}", receiver.stdout());
    Ok(())
}

fn early(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let id = segment(key(lesson)?, None)?;
    receiver.signal(Signal::KILL)?;
    receiver.wait()?.expect(137)?;
    lesson.says("Now the segment stays, with `nattch` 0")?;
    let left = listed(lesson, id)?.ok_or("the segment is gone")?;
    ensure!(left.ends_with(" 4460544 0"), "{left}");
    lesson.says("removes the segment and makes its own")?;
    next(lesson)?;
    ensure!(listed(lesson, id)?.is_none(), "the old segment is still there");

    // The pitfalls' ipcrm(1).
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let id = segment(key(lesson)?, None)?;
    receiver.signal(Signal::KILL)?;
    receiver.wait()?.expect(137)?;
    let printed = lesson.run("ipcrm -m ID", &[("ID", &id.to_string())])?;
    ensure!(printed.code == Some(0) && listed(lesson, id)?.is_none(), "{printed:?}");
    next(lesson)
}

fn two_pairs(lesson: &Lesson) -> Result {
    let key = key(lesson)?;
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let sender = lesson.trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    lesson.says("After `IPC_RMID` the key is free at once")?;
    remove(segment(key, Some(4096))?)?;
    sender.signal(Signal::KILL)?;
    receiver.wait()?.expect(3)
}

fn not_exclusive(lesson: &Lesson) -> Result {
    let key = key(lesson)?;
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let id = segment(key, None)?;
    lesson.says("With `IPC_CREAT` alone one gets whatever segment has the key")?;
    // SAFETY: the call takes three numbers.
    let found = check(unsafe { libc::shmget(key, 266_240, libc::IPC_CREAT | 0o600) })?;
    ensure!(found == id, "another segment");
    lesson.says("`IPC_EXCL` says `EEXIST`")?;
    let error = segment(key, Some(266_240)).err().and_then(|error| error.raw_os_error());
    ensure!(error == Some(libc::EEXIST), "{error:?}");
    receiver.signal(Signal::TERM)?;
    receiver.wait()?.expect(143)?;
    lesson.says("`shmat` reports an error as the pointer -1")?;
    // SAFETY: nothing has this number any more, so nothing is mapped.
    let nowhere = unsafe { libc::shmat(id, ptr::null(), 0) };
    ensure!(nowhere as isize == -1, "{nowhere:?}");
    Ok(())
}

fn limits(lesson: &Lesson) -> Result {
    lesson.says("`shmmni` segments, `shmall` pages in all, `shmmax` bytes in one")?;
    let printed = lesson.run("ipcs -l", &[])?;
    for limit in ["max number of segments", "max total shared memory", "max seg size"] {
        ensure!(printed.stdout.contains(limit), "no {limit}: {printed:?}");
    }
    Ok(())
}

/// The segment as bytes that anybody may have written.
struct Raw(*mut u8);

impl Raw {
    fn attach(id: i32) -> io::Result<Raw> {
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let start = unsafe { libc::shmat(id, ptr::null(), 0) };
        if start as isize == -1 { Err(io::Error::last_os_error()) } else { Ok(Raw(start.cast())) }
    }

    fn word(&self, at: usize) -> &AtomicU32 {
        // SAFETY: the segment begins with a page, is aligned as one, and stays attached as long as `self` lives.
        unsafe { &*self.0.wrapping_add(at).cast() }
    }

    /// Stores a number and wakes whoever sleeps until it changes.
    fn lie(&self, at: usize, number: u32, waits: usize) -> io::Result<()> {
        self.word(at).store(number, Ordering::SeqCst);
        let sleeper = self.word(waits);
        sleeper.store(0, Ordering::SeqCst);
        // SAFETY: the word is valid, and FUTEX_WAKE only takes its address.
        check(unsafe { libc::syscall(libc::SYS_futex, sleeper, libc::FUTEX_WAKE, 1) } as i32).map(drop)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: `attach` got this address from shmat.
        unsafe { libc::shmdt(self.0.cast()) };
    }
}

fn says_nonsense(process: &Process) -> Result {
    process.wait()?.expect(1)?;
    let said = process.stderr();
    ensure!(said.contains("the other side has written nonsense into the ring"), "{said}");
    Ok(())
}

/// Replaces the receiver's segment by one of `size` bytes that are all `byte`, and returns what a sender says of it.
fn sender_at(lesson: &Lesson, size: usize, byte: u8) -> Result<Process> {
    let key = key(lesson)?;
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    remove(segment(key, None)?)?;
    let id = segment(key, Some(size))?;
    let raw = Raw::attach(id)?;
    // SAFETY: so many bytes are attached there.
    unsafe { raw.0.write_bytes(byte, size) };
    let sender = lesson.trial.sender(["hello"])?;
    let ended = sender.wait();
    remove(id)?;
    ended?.expect(1)?;
    receiver.wait()?.expect(3)?;
    Ok(sender)
}

fn wrong_size(lesson: &Lesson) -> Result {
    for size in [1, 4096, 4_460_543, 4_460_545, 1 << 20] {
        let said = sender_at(lesson, size, 0)?.stderr();
        ensure!(said.contains("not 4460544 bytes of memory"), "{size}: {said}");
    }
    Ok(())
}

fn no_ring(lesson: &Lesson) -> Result {
    let said = sender_at(lesson, 4_460_544, 0xff)?.stderr();
    ensure!(said.contains("not a ring of this version"), "{said}");
    Ok(())
}

fn lying_sender(lesson: &Lesson) -> Result {
    // In the first round: a message longer than any, and the number before the one that says that it was the last.
    for length in [(16 << 20) + 1, (1 << 31) - 2] {
        let receiver = lesson.trial.receiver(NO_ARGS)?;
        let id = segment(key(lesson)?, None)?;
        Raw::attach(id)?.lie(WORDS, 1 << 31 | length, READER_WAITS)?;
        says_nonsense(&receiver)?;
        ensure!(receiver.stdout().is_empty(), "{length}: something came out");
    }
    Ok(())
}

fn lying_receiver(lesson: &Lesson) -> Result {
    for count in [CELLS + 1, 1 << 31, u32::MAX] {
        let receiver = lesson.trial.receiver(NO_ARGS)?;
        receiver.stop()?;
        let raw = Raw::attach(segment(key(lesson)?, None)?)?;
        let sender = lesson.trial.sender(["--count", "100000", "--size", "60"])?;
        let last = WORDS + (CELLS as usize - 1) * 4;
        lesson.until("the ring is full", || Ok(raw.word(last).load(Ordering::SeqCst) == 1 << 31 | 60))?;
        raw.lie(EMPTIED, count, WRITER_WAITS)?;
        says_nonsense(&sender)?;
        receiver.signal(Signal::CONT)?;
        receiver.wait()?.expect(3)?;
    }
    Ok(())
}
