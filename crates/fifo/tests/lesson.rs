//! What README.md says, tried.

use std::fs;

use harness::{Lesson, NO_ARGS, Result, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("ls_shows_a_pipe_of_no_size", look),
        ("strace_shows_the_calls_of_the_table", calls),
        ("a_shells_redirection_makes_an_ordinary_file", redirection),
        ("a_shell_can_be_the_sender", shell),
        ("a_sender_is_ahead_by_256_kib", fill),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_fifo-sender"),
        env!("CARGO_BIN_EXE_fifo-receiver"),
        trials,
    )
}

fn path<'l>(lesson: &'l Lesson) -> Result<&'l str> {
    Ok(lesson.trial.endpoint().ok_or("no path")?)
}

fn look(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let place = [("$XDG_RUNTIME_DIR/ipc-lab/fifo", path(lesson)?)];
    let printed = lesson.run("ls -l $XDG_RUNTIME_DIR/ipc-lab/fifo", &place)?;
    lesson.says("begins with `p` and shows size 0")?;
    let size = printed.stdout.split_whitespace().nth(4);
    ensure!(printed.stdout.starts_with("prw-------") && size == Some("0"), "{printed:?}");
    receiver.signal(Signal::TERM)?;
    receiver.wait()?.expect(143)
}

fn calls(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let printed = lesson.run("strace -f fifo-sender hi", &[])?;
    receiver.wait()?.expect(0)?;
    let mut trace = printed.stderr.as_str();
    let name = format!("\"{}\", O_WRONLY", path(lesson)?);
    for call in [name.as_str(), "\"\\0\\0\\0\\3hi\\n", "\\377\\377\\377\\377\"", "close("] {
        let at = trace.find(call).ok_or_else(|| format!("no {call} in its place: {}", printed.stderr))?;
        trace = &trace[at..];
    }
    Ok(())
}

fn redirection(lesson: &Lesson) -> Result {
    let place = lesson.trial.path("g").display().to_string();
    for command in ["printf hello > /tmp/talk/g", "ls -l /tmp/talk/g"] {
        let printed = lesson.run(command, &[("/tmp/talk/g", &place)])?;
        ensure!(printed.code == Some(0), "{printed:?}");
        ensure!(printed.stdout.is_empty() || printed.stdout.starts_with("-rw"), "{printed:?}");
    }
    lesson.says("It made an ordinary file")?;
    ensure!(fs::read(place)? == b"hello", "it holds something else");
    Ok(())
}

fn shell(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let command = r"printf '\0\0\0\6hello\n\377\377\377\377' > /tmp/talk/f";
    let printed = lesson.run(command, &[("/tmp/talk/f", path(lesson)?)])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?}", receiver.stdout());
    Ok(())
}

fn fill(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let sender = lesson.trial.sender(["--count", "100000000", "--timeout", "0.5"])?;
    receiver.wait_for_stdout(1)?;
    receiver.stop()?;
    sender.wait()?.expect(4)?;
    // What it had printed has come by now.
    let before = receiver.stdout_len();
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(3)?;
    lesson.says("then `kill -STOP` the receiver: the sender writes 256 KiB more and blocks")?;
    // 3,855 messages of 64 bytes with their lengths, and those that it had in its hands when it was stopped.
    let waited = receiver.stdout().len() as u64 - before;
    ensure!((3800 * 64..8000 * 64).contains(&waited), "{waited} bytes of messages waited");
    Ok(())
}
