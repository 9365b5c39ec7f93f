//! What `SEM_UNDO` undoes: a process takes the slot, or hands it over, and then is killed or ends well.
//!
//! ```text
//! cargo run -p sysv-sem --example sysv-sem-undo
//! ```
#![expect(unsafe_code, reason = "System V semaphores have no safe wrapper")]
#![expect(clippy::print_stdout, reason = "a table is what this program is for")]

use std::env;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};

use libc::{IPC_NOWAIT, SEM_UNDO, c_int, sembuf};
use sysv_sem::sysv_sem::{FREE, FULL};

fn main() -> io::Result<()> {
    if let [_, set, part] = &env::args().collect::<Vec<_>>()[..] {
        return play(part, Set(set.parse().expect("an identifier")));
    }
    println!("{:<41} {:>4} {:>4}", "", "free", "full");
    killed("taken without SEM_UNDO, then killed", "take")?;
    killed("taken with SEM_UNDO, then killed", "take with undo")?;
    ends("handed over, SEM_UNDO on everything, exit", "hand over with undo")?;
    ends("handed over, and the undo with it, exit", "hand over")
}

/// What the process does that is killed or ends.
fn play(part: &str, set: Set) -> io::Result<()> {
    let undo = if part == "take" { 0 } else { SEM_UNDO };
    set.op(&mut [add(FREE, -1, undo)])?;
    match part {
        "hand over" => set.op(&mut [add(FREE, 1, SEM_UNDO), add(FREE, -1, 0), add(FULL, 1, 0)]),
        "hand over with undo" => set.op(&mut [add(FULL, 1, SEM_UNDO)]),
        _ => {
            println!("taken");
            // Its end does not come: what comes is the kill.
            io::stdin().read_line(&mut String::new()).map(drop)
        }
    }
}

fn killed(what: &str, part: &str) -> io::Result<()> {
    let set = Set::new()?;
    let mut process = set.process(part)?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    if let Some(stdout) = process.stdout.take() {
        BufReader::new(stdout).read_line(&mut String::new())?;
    }
    process.kill()?;
    process.wait()?;
    let [free, full] = set.counts()?;
    let next = match set.op(&mut [add(FREE, -1, IPC_NOWAIT)]) {
        Ok(()) => "the next one gets it at once",
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => "the next one would wait for ever",
        Err(error) => return Err(error),
    };
    println!("{what:<41} {free:>4} {full:>4}   {next}");
    set.remove()
}

fn ends(what: &str, part: &str) -> io::Result<()> {
    let set = Set::new()?;
    set.process(part)?.status()?;
    let [free, full] = set.counts()?;
    let record = if full == 1 { "the record is there" } else { "the record has been taken back" };
    println!("{what:<41} {free:>4} {full:>4}   {record}");
    set.remove()
}

/// Two semaphores without a key: whoever is to use them must be told the identifier.
struct Set(c_int);

impl Set {
    fn new() -> io::Result<Set> {
        // SAFETY: the call takes three numbers and touches no memory.
        let set = Set(check(unsafe { libc::semget(libc::IPC_PRIVATE, 2, 0o600) })?);
        set.op(&mut [add(FREE, 1, 0)])?;
        Ok(set)
    }

    fn process(&self, part: &str) -> io::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command.args([&self.0.to_string(), part]);
        Ok(command)
    }

    fn op(&self, changes: &mut [sembuf]) -> io::Result<()> {
        // SAFETY: the kernel reads so many changes.
        check(unsafe { libc::semop(self.0, changes.as_mut_ptr(), changes.len()) }).map(drop)
    }

    fn counts(&self) -> io::Result<[u16; 2]> {
        let mut counts = [0; 2];
        // SAFETY: GETALL writes as many numbers as there are semaphores.
        check(unsafe { libc::semctl(self.0, 0, libc::GETALL, counts.as_mut_ptr()) })?;
        Ok(counts)
    }

    fn remove(self) -> io::Result<()> {
        // SAFETY: IPC_RMID takes no argument.
        check(unsafe { libc::semctl(self.0, 0, libc::IPC_RMID) }).map(drop)
    }
}

fn add(semaphore: u16, by: i16, flags: c_int) -> sembuf {
    sembuf { sem_num: semaphore, sem_op: by, sem_flg: flags as i16 }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
