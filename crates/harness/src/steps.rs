//! Kills a program after each single instruction.
//!
//! A kill at a random moment meets a window of some nanoseconds once in thousands of tries. This leaves no moment out: the
//! program marks the beginning and the end of what is of interest by `raise(SIGSTOP)`, and in between it is run
//! instruction by instruction, as a debugger does it (ptrace(2), `PTRACE_SINGLESTEP`).
#![expect(unsafe_code, reason = "what happens between fork and exec is unsafe")]

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::Result;

/// Starts `command`, lets it run to its first `raise(SIGSTOP)`, then executes `steps` instructions and kills it with
/// SIGKILL. Returns false where it came to its second `raise(SIGSTOP)` before that; then it was killed there.
///
/// # Errors
/// Where the program cannot be started or ends by itself, and where this machine does not permit ptrace(2).
pub fn kill_after(mut command: Command, steps: usize) -> Result<bool> {
    // SAFETY: the closure makes one system call and nothing else.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let mut child = command.spawn()?;
    let killed = run(&child, steps);
    child.kill()?;
    child.wait()?;
    killed
}

fn run(child: &Child, steps: usize) -> Result<bool> {
    let pid = Pid::from_raw(child.id() as i32);
    // The first stop is at the end of execve(2), with SIGTRAP.
    while stop_of(pid)? != Signal::SIGSTOP {
        ptrace::cont(pid, None)?;
    }
    for _ in 0..steps {
        ptrace::step(pid, None)?;
        if stop_of(pid)? == Signal::SIGSTOP {
            return Ok(false);
        }
    }
    Ok(true)
}

fn stop_of(pid: Pid) -> Result<Signal> {
    match waitpid(pid, None)? {
        WaitStatus::Stopped(_, signal) => Ok(signal),
        other => Err(format!("the program did not stop: {other:?}").into()),
    }
}
