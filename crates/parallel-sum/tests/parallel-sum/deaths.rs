//! Workers that are killed, a parent that is killed or told to end; and nobody is left.

use std::io::Read;
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::Technique;
use libtest_mimic::Completion;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::process::{
    Ended, FOREVER, Guard, LONG, command, command_of, nothing_left, nothing_named, remove_folders, stat, workers,
};
use crate::{Result, ensure};

/// Four workers that add for ever. One is killed.
pub fn killed(technique: &Technique) -> Result<Completion> {
    let words = [&FOREVER[..], &["--workers", "4", "--via", technique.name]].concat();
    let running = Guard(Some(command(&words).spawn()?));
    let pids = match workers(running.child(), 4) {
        Ok(pids) => pids,
        Err(failed) => match running.end() {
            Ok(Ended { code: Some(77), stderr, .. }) => {
                return Ok(Completion::ignored_with(stderr.trim_end().to_owned()));
            }
            _ => return Err(failed),
        },
    };
    kill(pids[2], Signal::SIGKILL)?;
    let Ended { code, stdout, stderr } = running.end()?;
    if code == Some(77) {
        return Ok(Completion::ignored_with(stderr.trim_end().to_owned()));
    }
    ensure!(code == Some(3) && stdout.is_empty(), "{code:?}\n{stdout}{stderr}");
    let line = format!("parallel-sum: worker 3 (process {}) was ended by SIGKILL: there is no total\n", pids[2]);
    ensure!(stderr == line, "{stderr}");
    Ok(Completion::Completed)
}

/// The first worker is stopped, the others have added and wait for their turns. One of them is killed.
pub fn dies_waiting() -> Result {
    for via in ["fifo", "posix-mq", "signal", "tcp"] {
        let words = ["--from", "1", "--to", "3000000000", "--workers", "3", "--via", via];
        let running = Guard(Some(command(&words).spawn()?));
        let pids = workers(running.child(), 3)?;
        kill(pids[0], Signal::SIGSTOP)?;
        let begin = Instant::now();
        // Asleep: it has a thread by then, which looks after its waits.
        while fs::read_dir(format!("/proc/{}/task", pids[1]))?.count() < 2 && !stat(pids[1]).starts_with('S') {
            ensure!(begin.elapsed() < 3 * LONG, "worker 2 is not done");
            thread::sleep(Duration::from_millis(2));
        }
        kill(pids[1], Signal::SIGKILL)?;
        let Ended { code, stdout, stderr } = running.end()?;
        ensure!(code == Some(3) && stdout.is_empty(), "{via}: {code:?}\n{stdout}{stderr}");
        let line = format!("parallel-sum: worker 2 (process {}) was ended by SIGKILL: there is no total\n", pids[1]);
        ensure!(stderr == line, "{via}: {stderr}");
    }
    Ok(())
}

/// Neither the workers of one technique, nor what stands between in a table.
pub fn orphans() -> Result {
    for via in ["pipe", "fifo", "none"] {
        let words = [&FOREVER[..], &["--workers", "4", "--via", via]].concat();
        let mut running = Guard(Some(command(&words).spawn()?));
        let pids = workers(running.child(), 4)?;
        kill(Pid::from_raw(running.child().id() as i32), Signal::SIGKILL)?;
        // They have become our children, and we learn how they ended.
        let begin = Instant::now();
        for pid in pids {
            let how = loop {
                match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    // They are still their parent's.
                    Err(Errno::ECHILD) => {}
                    Ok(WaitStatus::StillAlive) => {}
                    other => break other?,
                }
                ensure!(begin.elapsed() < LONG, "worker {pid} lives on");
                thread::sleep(Duration::from_millis(2));
            };
            // The last one may find out by itself, before it has asked the kernel to be told.
            let expected = [WaitStatus::Signaled(pid, Signal::SIGKILL, false), WaitStatus::Exited(pid, 3)];
            ensure!(expected.contains(&how), "{how:?}");
        }
        let child = running.0.take().ok_or("taken")?;
        let id = child.id();
        child.wait_with_output()?;
        remove_folders(id)?;
        nothing_left(id)?;
    }
    Ok(())
}

/// A shell's `&` starts programs with SIGINT ignored, and these tests may have been started like that.
const LISTENS: [&str; 2] = ["env", "--default-signal=INT,TERM,HUP"];

const ENDING: [(Signal, i32); 3] = [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)];

/// A Ctrl-C reaches all processes of the terminal; kill(1) reaches one.
pub fn interrupted() -> Result {
    for via in ["pipe", "posix-mq", "tcp", "none"] {
        for (signal, code) in ENDING {
            let words = [&FOREVER[..], &["--workers", "4", "--via", via]].concat();
            let running = Guard(Some(command_of(&LISTENS, &words).spawn()?));
            let parent = Pid::from_raw(running.child().id() as i32);
            workers(running.child(), 4)?;
            interrupt(running, parent, signal, code)?;
        }
    }
    Ok(())
}

/// The table has processes between the one that was started and the workers. The first of them adds alone, the
/// others are the parents of the workers of one technique each.
pub fn interrupted_table() -> Result {
    for (to, line) in [(FOREVER[1], "n(n+1)/2 says"), ("300000000", "the kernel holds"), ("300000000", "right")] {
        for (signal, code) in ENDING {
            let mut child = command_of(&LISTENS, &["--to", to, "--workers", "3", "--via", "all"]).spawn()?;
            let mut stdout = child.stdout.take().ok_or("no output")?;
            let running = Guard(Some(child));
            let mut said = Vec::new();
            while !String::from_utf8_lossy(&said).contains(line) {
                let mut byte = [0];
                stdout.read_exact(&mut byte)?;
                said.extend(byte);
            }
            let middle = workers(running.child(), 1)?[0];
            interrupt(running, middle, signal, code)?;
        }
    }
    Ok(())
}

/// Ends a program whose workers are `middle`'s children, and looks for what is left of it.
fn interrupt(running: Guard, middle: Pid, signal: Signal, code: i32) -> Result {
    let parent = Pid::from_raw(running.child().id() as i32);
    let sent = if signal == Signal::SIGINT { killpg(parent, signal) } else { kill(parent, signal) };
    sent?;
    let Ended { code: ended, stderr, .. } = running.end()?;
    ensure!(ended == Some(code) && stderr == format!("parallel-sum: ended by {signal}\n"), "{ended:?} {stderr}");
    nothing_named(middle.as_raw() as u32)
}
