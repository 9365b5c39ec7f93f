//! How the two ends meet where one of them is late: the other has done all that it does, or is dead, before that one has
//! taken its next step.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use harness::{NO_ARGS, Process, Result, Role, Run, Signal, Trial, ensure, strace};
use nix::fcntl::{FcntlArg, fcntl};

use crate::{DoesNotApply, strangers};

/// How late a call is, in microseconds: long enough for the other end to do all that it does.
const LATE: u32 = 300_000;
/// What a sender does to System V objects and connections once it has found them.
const OPENS: &str = "connect,msgctl,semctl,shmat,shmctl";

/// What makes these system calls of a program late.
fn late(calls: &str) -> Result<[String; 7]> {
    if !strace::works() {
        return Err(DoesNotApply(strace::NONE).into());
    }
    let (trace, inject) = (format!("--trace={calls}"), format!("--inject={calls}:delay_enter={LATE}"));
    // As its grandchild, so that the process that is waited for is the program.
    Ok(["strace", "-D", "--follow-forks", "--quiet=all", "--output=/dev/null", &trace, &inject].map(str::to_owned))
}

/// A receiver that has locked what says that it is ready, and not gone on yet.
fn late_receiver(trial: &Trial) -> Result<Process> {
    let receiver = trial.launch(Role::Receiver).under(late("write,pwrite64")?).spawn()?;
    loop {
        // In this order: it says so after it has locked.
        let says_so = receiver.stderr().contains(": ready");
        if is_ready(&receiver)? {
            return Ok(receiver);
        }
        if says_so {
            return Err(DoesNotApply("it has no lock file").into());
        }
        ensure!(Instant::now() < trial.deadline(), "no lock");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a receiver has locked the first two bytes of a file, of which the second says that it is ready.
fn is_ready(receiver: &Process) -> Result<bool> {
    let pid = receiver.pid().to_string();
    // "1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 1"
    let locks = fs::read_to_string("/proc/locks")?;
    Ok(locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.len() == 8 && words[4] == pid && words[6..] == ["0", "1"]
    }))
}

/// The sender comes at the first moment at which it can, and has sent all and ended before the receiver goes on.
fn sender_comes_and_goes(trial: &Trial) -> Result {
    let receiver = late_receiver(trial)?;
    let sender = trial.sender(["hello"])?;
    completes(Run::of(sender, receiver))
}

fn completes(run: Run) -> Result {
    let came = run.complete()?;
    ensure!(came == b"hello\n", "{:?} came out", String::from_utf8_lossy(&came));
    Ok(())
}

/// The same, but it is killed, of which the receiver must be told.
fn sender_comes_and_dies(trial: &Trial) -> Result {
    let receiver = late_receiver(trial)?;
    come_and_die(trial)?;
    receiver.wait()?.expect(3)
}

fn come_and_die(trial: &Trial) -> Result {
    let sender = trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    await_line(trial, &sender)?;
    sender.signal(Signal::KILL)?;
    sender.wait().map(drop)
}

/// Waits until a sender has come.
fn await_line(trial: &Trial, sender: &Process) -> Result {
    let has_come = || -> Result<bool> {
        let Some(path) = lock_file(sender) else { return Ok(false) };
        Ok(fs::read_to_string(path)?.contains("sender "))
    };
    while !has_come()? {
        ensure!(!sender.has_ended(), "it has not come");
        ensure!(Instant::now() < trial.deadline(), "no sender in the lock file");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// After the sender has gone, the next one looks whether it may come, for longer than any does.
fn sender_goes_and_another_looks(trial: &Trial) -> Result {
    let receiver = late_receiver(trial)?;
    let path = lock_file(&receiver).ok_or("no lock file")?;
    let sender = trial.sender(["hello"])?;
    // If it waits for the receiver, then it is still there.
    while !sender.has_ended() && !receiver.has_ended() {
        ensure!(Instant::now() < trial.deadline(), "neither has ended");
        thread::sleep(Duration::from_millis(1));
    }
    // Where the receiver has ended, too, there is nothing to look at any more.
    let _look = look(&path);
    completes(Run::of(sender, receiver))
}

fn sender_dies_and_another_looks(trial: &Trial) -> Result {
    let receiver = late_receiver(trial)?;
    let path = lock_file(&receiver).ok_or("no lock file")?;
    come_and_die(trial)?;
    let _look = look(&path)?;
    receiver.wait()?.expect(3)
}

/// While a sender opens what its receiver has made, the receiver dies and the next one takes its place.
fn receiver_is_replaced(trial: &Trial) -> Result {
    let first = trial.receiver(NO_ARGS)?;
    if !is_ready(&first)? {
        return Err(DoesNotApply("it has no lock file").into());
    }
    let endless = ["--count", "1000000000", "--size", "8", "--interval", "0.01"];
    let sender = trial.launch(Role::Sender).args(endless).under(late(OPENS)?).spawn()?;
    await_line(trial, &sender)?;
    first.signal(Signal::KILL)?;
    first.wait()?;
    let next = trial.receiver(NO_ARGS)?;
    sender.wait()?.expect(3)?;
    next.signal(Signal::TERM)?;
    // Where a stranger's coming and going shows, it may have ended with that.
    next.wait()?.expect_one_of(&[3, 143])
}

/// Takes the sender's lock, as a sender does that then finds that another one has come.
fn look(path: &Path) -> Result<File> {
    let file = File::options().append(true).open(path)?;
    let (l_type, l_whence) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16);
    fcntl(&file, FcntlArg::F_SETLK(&libc::flock { l_type, l_whence, l_start: 2, l_len: 1, l_pid: 0 }))?;
    Ok(file)
}

/// The lock file that a process has open.
fn lock_file(process: &Process) -> Option<PathBuf> {
    let mut open = fs::read_dir(format!("/proc/{}/fd", process.pid())).ok()?.flatten();
    open.find_map(|fd| fs::read_link(fd.path()).ok().filter(|path| path.extension() == Some("lock".as_ref())))
}

crate::promises! {
    strangers: sender_comes_and_goes, sender_comes_and_dies, sender_goes_and_another_looks, sender_dies_and_another_looks, receiver_is_replaced;
}
