//! Looking at processes from outside: /proc.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Result;

/// A process as /proc/PID/stat shows it.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    pub state: char,
}

/// All processes.
fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(look).collect()
}

/// One process, if it is there.
pub fn look(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    Some(Process { pid, state: words.next()?.chars().next()?, parent: words.next()?.parse().ok()? })
}

/// The children of a process, zombies too.
pub fn children(pid: i32) -> Vec<Process> {
    all().into_iter().filter(|process| process.parent == pid).collect()
}

/// How many of a process's children have ended and have not been waited for.
pub fn zombies(pid: i32) -> usize {
    children(pid).iter().filter(|child| child.state == 'Z').count()
}

/// How many descriptors a process has open.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(Path::new("/proc").join(pid.to_string()).join("fd")).map_or(0, Iterator::count)
}

/// Is the process there, and not just a zombie?
pub fn lives(pid: i32) -> bool {
    look(pid).is_some_and(|process| process.state != 'Z')
}

/// Sends a signal.
pub fn signal(pid: i32, signal: Signal) -> Result {
    Ok(kill(Pid::from_raw(pid), signal)?)
}

/// Waits until something holds, for so long at most.
pub fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
