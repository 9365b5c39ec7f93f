//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("strace_shows_three_values", values),
        ("a_mebibyte_can_be_measured", measured),
        ("noise_is_ignored", noise),
        ("one_that_is_not_blocked_kills", not_blocked),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_rt-signal-sender"),
        env!("CARGO_BIN_EXE_rt-signal-receiver"),
        trials,
    )
}

fn values(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.says("`strace -f -e trace=pidfd_send_signal rt-signal-sender 'hello world'` shows the three of above")?;
    let printed = lesson.run("strace -f -e trace=pidfd_send_signal rt-signal-sender 'hello world'", &[])?;
    receiver.wait()?.expect(0)?;
    ensure!(printed.stderr.matches("pidfd_send_signal(").count() == 3, "{printed:?}");
    Ok(())
}

fn measured(lesson: &Lesson) -> Result {
    lesson.says("`rt-signal-receiver --output /dev/null --stats`")?;
    let receiver = lesson.trial.receiver(["--output", "/dev/null", "--stats"])?;
    let printed = lesson.run("rt-signal-sender --count 16384 --size 64", &[])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stderr().contains("bytes=1048576 "), "{}", receiver.stderr());
    Ok(())
}

fn noise(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let path = lesson.trial.endpoint().ok_or("no path")?;
    let command = "kill -RTMIN $(cat $XDG_RUNTIME_DIR/ipc-lab/rt-signal)";
    let printed = lesson.run(command, &[("$XDG_RUNTIME_DIR/ipc-lab/rt-signal", path)])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    lesson.says("It is ignored")?;
    lesson.trial.sender(["hello"])?.wait()?.expect(0)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?}", receiver.stdout());
    Ok(())
}

fn not_blocked(lesson: &Lesson) -> Result {
    lesson.says("prints 162: 128 and 34")?;
    let printed = lesson.run("bash -c 'sleep 100 & kill -RTMIN $!; wait $!; echo $?'", &[])?;
    ensure!(printed.stdout == "162\n", "{printed:?}");
    Ok(())
}
