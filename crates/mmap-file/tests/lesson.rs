//! What README.md says, tried.
#![expect(unsafe_code, reason = "mappings are made by hand")]

use std::fs::{self, File};
use std::num::NonZero;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::{env, io};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use harness::{Lesson, NO_ARGS, Process, Result, Role, Signal, ensure, lesson};

fn main() {
    if let [_, part, path] = &env::args().collect::<Vec<_>>()[..]
        && part == "touch"
    {
        store(path, MapFlags::MAP_SHARED, 4096).expect("a mapping");
        return;
    }
    let trials: &[(&str, lesson::Run)] = &[
        ("xxd_shows_what_was_stored_before_the_crash", crash),
        ("with_sync_each_message_is_an_msync", syncs),
        ("cp_reads_what_the_two_share", copy),
        ("what_is_stored_privately_stays_private", private),
        ("what_lies_behind_the_end_is_sigbus", behind_the_end),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_mmap-file-sender"),
        env!("CARGO_BIN_EXE_mmap-file-receiver"),
        trials,
    )
}

fn ring<'l>(lesson: &'l Lesson) -> Result<&'l str> {
    Ok(lesson.trial.endpoint().ok_or("no path")?)
}

/// Both ends, with a line under way from one to the other: typed, and printed.
fn connected(lesson: &Lesson) -> Result<[Process; 2]> {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let sender = lesson.trial.launch(Role::Sender).stdin_open("remember me\n").spawn()?;
    receiver.wait_for_stdout(12)?;
    Ok([sender, receiver])
}

fn crash(lesson: &Lesson) -> Result {
    let ring = ring(lesson)?;
    for process in connected(lesson)? {
        process.signal(Signal::KILL)?;
        process.wait()?.expect(137)?;
    }
    lesson.prints("xxd -s 266240 -l 64 /tmp/my-ring", &[("/tmp/my-ring", ring)])?;
    lesson.prints("od -An -tx4 -j4096 -N8 /tmp/my-ring", &[("/tmp/my-ring", ring)])?;
    lesson.says("The next receiver on this path removes the file")?;
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    ensure!(fs::read(ring)?[4096..].iter().all(|&byte| byte == 0), "the old bytes are there");
    lesson.trial.sender(["again"])?.wait()?.expect(0)?;
    receiver.wait()?.expect(0)
}

fn syncs(lesson: &Lesson) -> Result {
    let command = "strace -f -e trace=msync mmap-file-sender --sync --count 10";
    for (command, replace, calls) in [(command, &[][..], 11), (command, &[(" --sync", "")], 0)] {
        lesson.says("makes eleven calls: ten messages and the end. Without `--sync` it makes none")?;
        let receiver = lesson.trial.receiver(NO_ARGS)?;
        let printed = lesson.run(command, replace)?;
        receiver.wait()?.expect(0)?;
        ensure!(receiver.stdout().len() == 640, "{} bytes came out", receiver.stdout().len());
        ensure!(printed.stderr.matches("msync(").count() == calls, "{printed:?}");
    }
    Ok(())
}

fn copy(lesson: &Lesson) -> Result {
    let copy = lesson.trial.path("elsewhere").display().to_string();
    let [sender, receiver] = connected(lesson)?;
    let printed = lesson.run("cp /tmp/my-ring elsewhere", &[("/tmp/my-ring", ring(lesson)?), ("elsewhere", &copy)])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    ensure!(fs::read(copy)?[266_240..266_252] == *b"remember me\n", "other bytes");
    sender.signal(Signal::KILL)?;
    receiver.wait()?.expect(3)
}

/// Maps two pages of a file and stores a byte at `at`.
fn store(path: &str, flags: MapFlags, at: usize) -> io::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let len = NonZero::new(8192).ok_or(io::ErrorKind::InvalidInput)?;
    let both = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
    let start = unsafe { mmap(None, len, both, flags, &file, 0) }?;
    // SAFETY: `at` is within the mapping, to which nobody has a reference.
    unsafe { start.cast::<u8>().as_ptr().wrapping_add(at).write_volatile(b'x') };
    // SAFETY: so many bytes have been mapped there.
    Ok(unsafe { munmap(start, len.get()) }?)
}

fn private(lesson: &Lesson) -> Result {
    let path = lesson.trial.file("private", &[0; 4096])?;
    lesson.says("each process writes into copies of its own that nobody else ever sees")?;
    store(&path, MapFlags::MAP_PRIVATE, 0)?;
    ensure!(fs::read(&path)?[0] == 0, "somebody else sees it");
    store(&path, MapFlags::MAP_SHARED, 0)?;
    ensure!(fs::read(&path)?[0] == b'x', "nobody else sees it");
    Ok(())
}

fn behind_the_end(lesson: &Lesson) -> Result {
    let path = lesson.trial.file("short", &[0; 4096])?;
    lesson.says("In the rest of its last page a store succeeds and is lost; beyond that page it is `SIGBUS`")?;
    let status = Command::new(env::current_exe()?).args(["touch", &path]).status()?;
    ensure!(status.signal() == Some(Signal::BUS.as_raw()), "{status}");
    ensure!(fs::metadata(&path)?.len() == 4096, "the file has become longer");
    Ok(())
}
