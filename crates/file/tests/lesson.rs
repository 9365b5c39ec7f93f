//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, Role, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("xxd_shows_everything_that_was_sent", look),
        ("a_shell_can_be_the_sender", shell),
        ("the_lateness_is_told", late),
        ("two_writers_without_o_append_lose_lines", both),
        ("a_stopped_receiver_stops_nobody", grows),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_file-sender"),
        env!("CARGO_BIN_EXE_file-receiver"),
        trials,
    )
}

fn path<'l>(lesson: &'l Lesson) -> Result<&'l str> {
    Ok(lesson.trial.endpoint().ok_or("no path")?)
}

fn look(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let sender = lesson.trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    let place = [("$XDG_RUNTIME_DIR/ipc-lab/file", path(lesson)?)];
    let printed = lesson.run("xxd $XDG_RUNTIME_DIR/ipc-lab/file", &place)?;
    ensure!(printed.stdout == "00000000: 0000 0006 6865 6c6c 6f0a                 ....hello.\n", "{printed:?}");
    sender.signal(Signal::KILL)?;
    receiver.wait()?.expect(3)
}

fn shell(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let command = r"printf '\0\0\0\6hello\n\377\377\377\377' >> /tmp/talk/f";
    let printed = lesson.run(command, &[("/tmp/talk/f", path(lesson)?)])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?}", receiver.stdout());
    Ok(())
}

fn late(lesson: &Lesson) -> Result {
    lesson.says("file-receiver --output /dev/null --stats --poll 100 # then without --poll, with 10, 1 and 0")?;
    for poll in [&["--poll", "100"][..], &[], &["--poll", "10"], &["--poll", "1"], &["--poll", "0"]] {
        let receiver = lesson.trial.receiver([&["--output", "/dev/null", "--stats"][..], poll].concat())?;
        let printed = lesson.run("file-sender --count 40 --size 64 --stamp --interval 0.03", &[])?;
        ensure!(printed.code == Some(0), "{printed:?}");
        receiver.wait()?.expect(0)?;
        let told = receiver.stderr();
        for figure in ["messages=40 ", "wakeups=", "cpu_ms=", "delay_us_median=", "delay_us_worst="] {
            ensure!(told.contains(figure), "{poll:?}: no {figure}: {told}");
        }
    }
    Ok(())
}

fn both(lesson: &Lesson) -> Result {
    let block = lesson.block("1<> both")?;
    let folder = lesson.trial.meeting_dir().display().to_string();
    let lines = |redirection| -> Result<usize> {
        let place = [("/tmp/talk", folder.as_str()), ("1<> both", redirection)];
        let printed = lesson.run(&block, &place)?;
        let count = printed.stdout.split_whitespace().next().unwrap_or_default().parse();
        count.map_err(|_| format!("{printed:?}").into())
    };
    lesson.says("With `>> both` it is 2,000 every time")?;
    let appended = lines(">> both");
    // Whether the two meet is chance; that they never do, ten times, is not to be expected.
    let lost = (0..10).map(|_| lines("1<> both")).find(|lines| !matches!(lines, Ok(2000)));
    std::fs::remove_file(lesson.trial.meeting_dir().join("both"))?;
    ensure!(appended? == 2000, "lines were lost with >>");
    let left = lost.ok_or("10 times nothing was lost without O_APPEND")??;
    ensure!(left < 2000, "{left} lines of 2,000");
    Ok(())
}

fn grows(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    lesson.says("nothing blocks, the file grows")?;
    let printed = lesson.run("file-sender --count 100000", &[])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    // Each message behind its length, and the end.
    let len = std::fs::metadata(path(lesson)?)?.len();
    ensure!(len == 100_000 * 68 + 4, "{len} bytes");
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout().len() == 6_400_000, "{} bytes came out", receiver.stdout().len());
    Ok(())
}
