//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, Role, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("a_message_of_six_bytes_is_64_bits", bits),
        ("four_kilobytes_can_be_measured", measured),
        ("noise_is_ignored", noise),
        ("without_acknowledgement_one_of_a_thousand_is_seen", seen),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_signal-sender"),
        env!("CARGO_BIN_EXE_signal-receiver"),
        trials,
    )
}

fn bits(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let printed = lesson.run("strace -f -c signal-sender hello", &[])?;
    receiver.wait()?.expect(0)?;
    lesson.says("for 6 bytes, one of length and one of the end, 64 bits")?;
    let calls = printed.calls("pidfd_send_signal")?;
    ensure!(calls == 64, "{calls} signals");
    Ok(())
}

fn measured(lesson: &Lesson) -> Result {
    lesson.says("`signal-receiver --output /dev/null --stats`")?;
    let receiver = lesson.trial.receiver(["--output", "/dev/null", "--stats"])?;
    let printed = lesson.run("signal-sender --count 64 --size 64", &[])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    receiver.wait()?.expect(0)?;
    // In bits: 64 messages of 64 bytes, each behind its length, and the end.
    let bits = (64 * (1 + 64) + 1) * 8;
    lesson.says(&format!("{},{:03} bits", bits / 1000, bits % 1000))?;
    ensure!(receiver.stderr().contains("bytes=4096 "), "{}", receiver.stderr());
    Ok(())
}

fn noise(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let sender = lesson.trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    let path = lesson.trial.endpoint().ok_or("no path")?;
    let command = "kill -USR2 $(cat $XDG_RUNTIME_DIR/ipc-lab/signal)";
    let printed = lesson.run(command, &[("$XDG_RUNTIME_DIR/ipc-lab/signal", path)])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    lesson.says("`si_pid` is not the sender's, and it is ignored")?;
    sender.signal(Signal::KILL)?;
    receiver.wait()?.expect(3)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?}", receiver.stdout());
    Ok(())
}

fn seen(lesson: &Lesson) -> Result {
    let printed = lesson.run(&lesson.block("seen: $seen")?, &[])?;
    lesson.says("It prints `seen: 1`")?;
    ensure!(printed.stdout == "seen: 1\n", "{printed:?}");
    Ok(())
}
