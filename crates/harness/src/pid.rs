//! Processes that are known by their number: a child, a child's child, one that may have ended.

use std::fs;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, kill_process, waitpid};

use crate::Signal;
use crate::program::LONG;

fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid as i32).unwrap()
}

/// Sends it a signal.
pub fn signal(pid: u32, signal: Signal) {
    kill_process(raw(pid), signal).unwrap();
}

/// Stops a child, and waits until it stands still.
pub fn stop(child: &Child) {
    signal(child.id(), Signal::STOP);
    waitpid(Some(raw(child.id())), WaitOptions::UNTRACED).unwrap();
}

/// Lets it go on.
pub fn go_on(child: &Child) {
    signal(child.id(), Signal::CONT);
}

/// The letter of proc_pid_stat(5): S for one that sleeps, Z for one that nobody has waited for; `None` for one that is gone.
pub fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until it has ended, whether or not somebody has waited for it.
pub fn wait_for_the_end_of(pid: u32) {
    wait_for("its end", || matches!(state(pid), None | Some('Z')).then_some(()));
}

/// The pid of the child that a process starts, once it runs the program that it is to run: stopped before, it would
/// stop its parent too, which waits for that in vfork(2).
pub fn child_of(pid: u32) -> u32 {
    let program = |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).ok();
    wait_for("a child", || {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let child = children.split_whitespace().next()?;
        let itself = program(child)? != program(&pid.to_string())?;
        itself.then(|| child.parse().ok())?
    })
}

/// Waits for what there is no event for, such as most of what /proc tells.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < LONG, "{what} did not come");
        thread::sleep(Duration::from_millis(2));
    }
}
