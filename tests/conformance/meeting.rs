//! How the two ends meet where the receiver is late: the sender has come, and done all that it does, before the
//! receiver has taken its next step.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Process, Result, Role, Run, Signal, Trial, ensure, strace};

use crate::{DoesNotApply, strangers};

/// How late each write of the receiver's is, in microseconds.
const LATE: u32 = 300_000;

/// A receiver that has locked what says that it is ready, and not gone on yet.
fn late_receiver(trial: &Trial) -> Result<Process> {
    if !strace::works() {
        return Err(DoesNotApply("strace is not installed or may not trace here").into());
    }
    let writes = format!("--inject=write,pwrite64:delay_enter={LATE}");
    // As its grandchild, so that the process that is waited for is the program.
    let strace =
        ["strace", "-D", "--follow-forks", "--quiet=all", "--output=/dev/null", "--trace=write,pwrite64", &writes];
    let receiver = trial.launch(Role::Receiver).under(strace).spawn()?;
    while !is_ready(&receiver)? {
        if receiver.stderr().contains(": ready") {
            return Err(DoesNotApply("it has no lock file").into());
        }
        ensure!(Instant::now() < trial.deadline(), "no lock");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(receiver)
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

fn sender_comes_and_goes(trial: &Trial) -> Result {
    let receiver = late_receiver(trial)?;
    let came = Run::of(trial.sender(["hello"])?, receiver).complete()?;
    ensure!(came == b"hello\n", "{:?} came out", String::from_utf8_lossy(&came));
    Ok(())
}

fn sender_comes_and_dies(trial: &Trial) -> Result {
    let receiver = late_receiver(trial)?;
    let sender = trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    while !lock_file(&sender).is_some_and(|text| text.contains("sender ")) {
        ensure!(Instant::now() < trial.deadline(), "no sender in the lock file");
        thread::sleep(Duration::from_millis(1));
    }
    sender.signal(Signal::KILL)?;
    receiver.wait()?.expect(3)
}

/// What is written in the lock file that a process has open.
fn lock_file(process: &Process) -> Option<String> {
    let open = fs::read_dir(format!("/proc/{}/fd", process.pid())).ok()?.flatten();
    let is_lock =
        |fd: &fs::DirEntry| fs::read_link(fd.path()).is_ok_and(|path| path.to_string_lossy().ends_with(".lock"));
    fs::read_to_string(open.into_iter().find(is_lock)?.path()).ok()
}

crate::promises! {
    strangers: sender_comes_and_goes, sender_comes_and_dies;
}
