//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, Role, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] =
        &[("xxd_shows_the_header_and_who_sleeps", look), ("fewer_calls_than_messages", calls)];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_shm-sender"),
        env!("CARGO_BIN_EXE_shm-receiver"),
        trials,
    )
}

fn look(lesson: &Lesson) -> Result {
    const COMMAND: &str = "xxd -l 600 /dev/shm/ipc-lab-$(id -u)-shm";
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.says("| 256 | 4 bytes | 1 while the reader sleeps |")?;
    let one = if cfg!(target_endian = "little") { "0100 0000 " } else { "0000 0001 " };
    lesson.until("the receiver sleeps", || {
        let printed = lesson.run(COMMAND, &[])?;
        ensure!(printed.code == Some(0), "{printed:?}");
        Ok(printed.stdout.lines().any(|line| line.starts_with(&format!("00000100: {one}"))))
    })?;
    let printed = lesson.run(COMMAND, &[])?;
    let name = if cfg!(target_endian = "little") { "gnir-cpi" } else { "ipc-ring" };
    ensure!(printed.stdout.lines().next().is_some_and(|line| line.contains(name)), "{printed:?}");
    lesson.says("look at offsets 4096 and 266240")?;
    let sender = lesson.trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    let printed = lesson.run(COMMAND, &[("-l 600", "-s 4096 -l 4")])?;
    let word = if cfg!(target_endian = "little") { ": 0600 0080 " } else { ": 8000 0006 " };
    ensure!(printed.stdout.contains(word), "{printed:?}");
    let printed = lesson.run(COMMAND, &[("-l 600", "-s 266240 -l 6")])?;
    ensure!(printed.stdout.contains(": 6865 6c6c 6f0a "), "{printed:?}");
    sender.signal(Signal::KILL)?;
    receiver.wait()?.expect(3)
}

fn calls(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(["--output", "/dev/null"])?;
    let printed = lesson.run("strace -f -c shm-sender --count 100000", &[])?;
    receiver.wait()?.expect(0)?;
    lesson.says("far fewer than messages")?;
    let calls = printed.calls("total")?;
    ensure!(calls < 50_000, "{calls} calls for 100,000 messages");
    Ok(())
}
