//! What README.md says, tried.
#![expect(unsafe_code, reason = "a set that nobody has initialised is made by hand")]

use std::fs;

use harness::{Lesson, NO_ARGS, Result, Role, Signal, ensure, lesson};
use sysv_sem::segment::Segment;

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("ipcs_lists_the_set_and_who_waits", look),
        ("ipcs_says_that_nobody_has_called_semop", not_set),
        ("the_kills_are_trials", kills),
        ("ipcrm_ends_the_sender", removed),
        ("both_killed_leave_the_semaphores_and_no_memory", both_killed),
        ("each_message_is_two_calls_at_each_end", calls),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_sysv-sem-sender"),
        env!("CARGO_BIN_EXE_sysv-sem-receiver"),
        trials,
    )
}

fn key(lesson: &Lesson) -> Result<i32> {
    let key = lesson.trial.endpoint().and_then(|endpoint| endpoint.strip_prefix("0x")).ok_or("no key")?;
    Ok(u32::from_str_radix(key, 16)?.cast_signed())
}

/// The number of a set of semaphores, as /proc/sysvipc/sem shows it.
fn id(lesson: &Lesson) -> Result<String> {
    let key = key(lesson)?.to_string();
    let table = fs::read_to_string("/proc/sysvipc/sem")?;
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    Ok(lines.find(|words| words[0] == key).ok_or("no semaphores")?[1].to_owned())
}

fn semctl(id: &str, semaphore: i32, command: i32) -> Result<i32> {
    // SAFETY: the commands used here take no argument.
    Ok(unsafe { libc::semctl(id.parse()?, semaphore, command) })
}

fn look(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let id = id(lesson)?;
    lesson.until("the receiver waits", || Ok(semctl(&id, 1, libc::GETNCNT)? == 1))?;
    let printed = lesson.run("ipcs -s", &[])?;
    let listed = printed.stdout.lines().any(|line| line.contains(&id) && line.contains(" 600 "));
    ensure!(listed, "{printed:?}");
    lesson.prints("ipcs -s -i ID", &[("ID", &id)])?;
    receiver.signal(Signal::TERM)?;
    receiver.wait()?.expect(143)
}

fn not_set(lesson: &Lesson) -> Result {
    // SAFETY: the call takes three numbers.
    let id = unsafe { libc::semget(key(lesson)?, 2, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    ensure!(id != -1, "semget: {}", std::io::Error::last_os_error());
    // SAFETY: SETVAL takes a number.
    ensure!(unsafe { libc::semctl(id, 0, libc::SETVAL, 1) } == 0, "SETVAL: {}", std::io::Error::last_os_error());
    lesson.says("(`ipcs -s -i ID` says `Not set`.)")?;
    let printed = lesson.run("ipcs -s -i ID", &[("ID", &id.to_string())]);
    semctl(&id.to_string(), 0, libc::IPC_RMID)?;
    let printed = printed?;
    ensure!(printed.stdout.lines().any(|line| line.trim_end() == "otime = Not set"), "{printed:?}");
    Ok(())
}

/// They take some seconds, so here they are listed only.
fn kills(lesson: &Lesson) -> Result {
    let command = "cargo test -p sysv-sem --test sysv-sem -- instruction";
    // For one package alone cargo would compile much of what it needs anew, with fewer features.
    let printed = lesson.run(command, &[("-p sysv-sem", "--workspace"), ("instruction", "instruction --list")])?;
    let trials: Vec<_> = printed.stdout.lines().filter(|line| line.contains("at_any_instruction")).collect();
    ensure!(trials.len() == 2, "{printed:?}");
    Ok(())
}

fn removed(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    let id = id(lesson)?;
    lesson.says("start `sysv-sem-sender --count 10`: it waits with its second message")?;
    let sender = lesson.trial.sender(["--count", "10"])?;
    lesson.until("the sender waits for the slot", || Ok(semctl(&id, 0, libc::GETNCNT)? == 1))?;
    ensure!(semctl(&id, 1, libc::GETVAL)? == 1, "no message lies there");
    let printed = lesson.run("ipcrm -s ID", &[("ID", &id)])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    lesson.says("fails with `EIDRM`, and it ends with exit code 3")?;
    sender.wait()?.expect(3)?;
    ensure!(sender.stderr().contains("EIDRM"), "{}", sender.stderr());
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(1)
}

fn both_killed(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let sender = lesson.trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    for process in [&sender, &receiver] {
        process.signal(Signal::KILL)?;
        process.wait()?.expect(137)?;
    }
    lesson.says("`ipcs -m` shows no segment")?;
    ensure!(Segment::find(key(lesson)?).is_err(), "the segment is still there");
    let left = id(lesson)?;
    let printed = lesson.run("ipcs -s", &[])?;
    ensure!(printed.stdout.lines().any(|line| line.contains(&left)), "{printed:?}");
    let made = format!(" {} ", receiver.pid());
    let segments = fs::read_to_string("/proc/sysvipc/shm")?;
    ensure!(!segments.lines().any(|line| line.contains(&made)), "{segments}");
    lesson.says("The next receiver finds that their owner is dead, and replaces them")?;
    let next = lesson.trial.receiver(NO_ARGS)?;
    ensure!(id(lesson)? != left, "the old ones are used again");
    next.signal(Signal::TERM)?;
    next.wait()?.expect(143)
}

fn calls(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.says("each message is two `semop` at each end")?;
    let printed = lesson.run("strace -f -c -e trace=semtimedop sysv-sem-sender --count 100", &[])?;
    receiver.wait()?.expect(0)?;
    let calls = printed.calls("semtimedop")?;
    ensure!(calls == 202, "{calls} calls for 100 messages and the end");
    Ok(())
}
