//! Kills the owner of a mutex, three times, and shows what the next one is told who wants to lock it.
//!
//! ```text
//! cargo run -p robust-mutex --example robust-mutex-owner-dies
//! ```
#![expect(unsafe_code, reason = "a mutex is found in shared memory by its address")]
#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, thread};

use nix::errno::Errno;
use robust_mutex::mutex::{Mutex, Robustness};
use shared_memory::{Shmem, ShmemConf};

/// Nobody would wait for so long behind a living owner.
const LONG: Duration = Duration::from_secs(1);

fn main() -> io::Result<()> {
    if let Some(name) = env::args().nth(1) {
        return own(&name);
    }
    let memory = || ShmemConf::new().size(size_of::<Mutex>()).create().map_err(io::Error::other);

    let robust = memory()?;
    kill_the_owner(&robust, Robustness::Robust)?;
    println!("robust mutex     {}", lock(&robust, true));
    println!("  once more      {}", lock(&robust, true));

    let neglected = memory()?;
    kill_the_owner(&neglected, Robustness::Robust)?;
    println!("not made good    {}", lock(&neglected, false));
    println!("  once more      {}", lock(&neglected, false));

    let ordinary = memory()?;
    kill_the_owner(&ordinary, Robustness::Stalled)?;
    println!("ordinary mutex   {}", lock(&ordinary, true));
    Ok(())
}

fn mutex(memory: &Shmem) -> &Mutex {
    // SAFETY: the mapping is as long as `memory` lives, and its pages are aligned for anything. All access goes through
    // the pthread functions.
    unsafe { &*memory.as_ptr().cast::<Mutex>() }
}

/// Another process locks the mutex and is killed.
fn kill_the_owner(memory: &Shmem, robustness: Robustness) -> io::Result<()> {
    // SAFETY: nobody else knows of the memory yet.
    unsafe { mutex(memory).init(robustness) }?;
    let mut command = Command::new(env::current_exe()?);
    let mut owner = command.arg(memory.get_os_id()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    if let Some(stdout) = owner.stdout.take() {
        BufReader::new(stdout).read_line(&mut said)?;
    }
    assert_eq!(said, "locked\n");
    owner.kill()?;
    owner.wait().map(drop)
}

/// The part of the other process.
fn own(name: &str) -> io::Result<()> {
    let memory = ShmemConf::new().os_id(name).open().map_err(io::Error::other)?;
    let _guard = mutex(&memory).lock(None)?;
    println!("locked");
    loop {
        thread::park();
    }
}

/// What lock says.
fn lock(memory: &Shmem, make_consistent: bool) -> String {
    match mutex(memory).lock(Some(LONG)) {
        Ok(guard) if guard.owner_died && make_consistent => match guard.make_consistent() {
            Ok(()) => "EOWNERDEAD, made consistent".to_owned(),
            Err(error) => error.to_string(),
        },
        Ok(guard) if guard.owner_died => "EOWNERDEAD, and unlocked as if nothing were the matter".to_owned(),
        Ok(_) => "locked".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => format!("still held after {LONG:?}, by nobody"),
        Err(error) => Errno::try_from(error).map_or_else(|error| error.to_string(), |errno| format!("{errno:?}")),
    }
}
