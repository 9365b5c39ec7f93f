//! What README.md says, tried.

use harness::{Lacking, Lesson, NO_ARGS, Result, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] =
        &[("cat_shows_how_many_bytes_wait", look), ("the_highest_priority_comes_out_first", priorities)];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_posix-mq-sender"),
        env!("CARGO_BIN_EXE_posix-mq-receiver"),
        trials,
    )
}

fn look(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    lesson.trial.sender(["hello"])?.wait()?.expect(0)?;
    lesson.says("`QSIZE` is the number of bytes that wait")?;
    // The file system may not be mounted; then for this command alone.
    let folder = lesson.trial.path("mqueue").display().to_string();
    std::fs::create_dir(&folder)?;
    let mount = "unshare --mount sh -c 'mount -t mqueue none \"$0\" && cat \"$0$1\"'";
    let command = "cat /dev/mqueue/ipc-lab-$(id -u)-posix-mq";
    let printed = lesson.run(command, &[("cat /dev/mqueue", &format!("{mount} {folder} "))])?;
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(0)?;
    if printed.stderr.contains("unshare") || printed.stderr.contains("mount:") {
        return Err(Lacking(format!("only root can mount it: {}", printed.stderr.trim())).into());
    }
    // The end is an empty message.
    ensure!(printed.stdout.starts_with("QSIZE:6 "), "{printed:?}");
    Ok(())
}

fn priorities(lesson: &Lesson) -> Result {
    lesson.says("`posix-mq-receiver --show-priority` in terminal 1, then Ctrl-Z")?;
    let receiver = lesson.trial.receiver(["--show-priority"])?;
    receiver.stop()?;
    let printed = lesson.run("posix-mq-sender --priority 1,9,5 low high middle", &[])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(0)?;
    lesson.says("It prints `high`, `middle`, `low`")?;
    ensure!(receiver.stdout() == b"high\nmiddle\nlow\n", "{:?}", receiver.stdout());
    Ok(())
}
