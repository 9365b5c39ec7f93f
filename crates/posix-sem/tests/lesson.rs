//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, Role, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] =
        &[("od_shows_the_count_and_xxd_the_memory", look), ("a_message_costs_about_one_futex", calls)];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_posix-sem-sender"),
        env!("CARGO_BIN_EXE_posix-sem-receiver"),
        trials,
    )
}

fn look(lesson: &Lesson) -> Result {
    let name = lesson.trial.endpoint().ok_or("no name")?.trim_start_matches('/');
    let place = [("ipc-lab-UID-posix-sem", name)];
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.says("shows the count in the first number")?;
    let printed = lesson.run("od -An -tu4 -N8 /dev/shm/sem.ipc-lab-UID-posix-sem-free", &place)?;
    ensure!(printed.stdout.split_whitespace().next() == Some("32"), "{printed:?}");
    let sender = lesson.trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    let printed = lesson.run("xxd /dev/shm/ipc-lab-UID-posix-sem | head -2", &place)?;
    ensure!(printed.stdout.contains("hello."), "{printed:?}");
    sender.signal(Signal::KILL)?;
    receiver.wait()?.expect(3)
}

fn calls(lesson: &Lesson) -> Result {
    const COUNT: u64 = 10_000;
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.says("The sender calls `futex` at most about once for each message")?;
    let printed = lesson.run("strace -f -c -e trace=futex posix-sem-sender --count 10000 --size 64", &[])?;
    receiver.wait()?.expect(0)?;
    let calls = printed.calls("futex")?;
    ensure!(calls <= COUNT + COUNT / 5, "{calls} calls for {COUNT} messages");
    Ok(())
}
