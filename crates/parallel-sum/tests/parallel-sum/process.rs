//! Starting the program, and looking for what is left of it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use crate::{Result, ensure};

pub const LONG: Duration = Duration::from_secs(20);
/// Nobody lives to see the end of this sum.
pub const FOREVER: [&str; 2] = ["--to", "18446744073709551615"];

pub static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

pub fn program() -> &'static Path {
    PROGRAM.get().expect("main has set it")
}

/// The program, run by another one that runs others, or by none.
pub fn command_of(runner: &[&str], words: &[&str]) -> Command {
    let mut command = match runner {
        [] => Command::new(program()),
        [name, options @ ..] => {
            let mut command = Command::new(name);
            command.args(options).arg(program());
            command
        }
    };
    // In a process group of its own, so that whoever is left of it can be found.
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

pub fn command(words: &[&str]) -> Command {
    command_of(&[], words)
}

/// How it ended, what it said, and that nothing is left of it.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(command: Command) -> Result<Ended> {
    let mut command = command;
    end_of(command.spawn()?)
}

pub fn end_of(child: Child) -> Result<Ended> {
    let id = child.id();
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    nothing_left(id)?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) })
}

/// Neither a process, running or a zombie, nor an object with a name.
pub fn nothing_left(id: u32) -> Result {
    let group = Pid::from_raw(id as i32);
    // An orphan has become our child. Whoever was not reaped by its parent shows here.
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    ensure!(waitid(Id::PGid(group), look) == Err(Errno::ECHILD), "a process of group {group} was left behind");
    ensure!(killpg(group, None) == Err(Errno::ESRCH), "process group {group} still has members");
    nothing_named(id)
}

pub fn nothing_named(id: u32) -> Result {
    for dir in ["/dev/shm", "/dev/mqueue", "/tmp"] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!(!(name.contains("ipc-lab") && name.contains(&format!("-{id}-"))), "{dir}/{name} was left behind");
        }
    }
    Ok(())
}

/// The workers of a running program, in the order in which they were forked.
pub fn workers(child: &Child, count: usize) -> Result<Vec<Pid>> {
    let id = child.id();
    let begin = Instant::now();
    loop {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let pids: Vec<Pid> =
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect();
        if pids.len() == count {
            return Ok(pids);
        }
        ensure!(begin.elapsed() < LONG, "{} of {count} workers came", pids.len());
        thread::yield_now();
    }
}

pub fn stat(pid: Pid) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map_or(String::new(), |(_, rest)| rest.to_owned())
}

/// Kills a program that does not end by itself: a trial that fails must not leave it behind.
pub struct Guard(pub Option<Child>);

impl Guard {
    pub fn child(&self) -> &Child {
        self.0.as_ref().expect("it is taken at the end only")
    }

    /// Its end, under a deadline.
    pub fn end(mut self) -> Result<Ended> {
        let id = Pid::from_raw(self.child().id() as i32);
        let begin = Instant::now();
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(id), look)?.pid().is_none() {
            ensure!(begin.elapsed() < LONG, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
        end_of(self.0.take().ok_or("taken")?)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let group = Pid::from_raw(child.id() as i32);
            // It may have names to remove.
            let _ = kill(group, Signal::SIGTERM);
            thread::sleep(Duration::from_millis(500));
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.wait();
            while waitpid(Pid::from_raw(-group.as_raw()), None).is_ok() {}
            let _ = remove_folders(child.id());
        }
    }
}

/// Who is killed with -9 cannot remove a folder. (scripts/leftovers.sh does.)
pub fn remove_folders(id: u32) -> io::Result<()> {
    for entry in fs::read_dir("/tmp")?.flatten() {
        if entry.file_name().to_string_lossy().contains(&format!("-run-{id}-")) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
