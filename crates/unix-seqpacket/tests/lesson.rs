//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("a_socket_of_another_type_is_told_so", wrong_type),
        ("a_sender_is_ahead_by_many_hundred_small_messages", fill),
        ("one_call_takes_several", several),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_unix-seqpacket-sender"),
        env!("CARGO_BIN_EXE_unix-seqpacket-receiver"),
        trials,
    )
}

fn wrong_type(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let command = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect(\"/tmp/talk/s\")'";
    let printed = lesson.run(command, &[("/tmp/talk/s", lesson.trial.endpoint().ok_or("no path")?)])?;
    lesson.says("at a waiting receiver: `EPROTOTYPE`")?;
    ensure!(printed.code == Some(1) && printed.stderr.contains("Protocol wrong type for socket"), "{printed:?}");
    lesson.trial.sender(["hello"])?.wait()?.expect(0)?;
    receiver.wait()?.expect(0)
}

fn fill(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(["--stats"])?;
    receiver.stop()?;
    lesson.says("it blocks, after many hundred small messages")?;
    let printed = lesson.run("unix-seqpacket-sender --count 100000", &[("--count", "--timeout 0.5 --count")])?;
    ensure!(printed.code == Some(4), "{printed:?}");
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(3)?;
    let came = receiver.stdout().len() / 64;
    ensure!((500..2000).contains(&came), "{came} messages were under way");
    Ok(())
}

fn several(lesson: &Lesson) -> Result {
    lesson.says("`unix-seqpacket-sender --count 20000` in one terminal")?;
    let sender = lesson.trial.sender(["--count", "20000"])?;
    let command = "strace -f -c -e trace=recvfrom,recvmmsg unix-seqpacket-receiver --output /dev/null";
    let printed = lesson.run(command, &[])?;
    sender.wait()?.expect(0)?;
    lesson.says("far fewer calls than records")?;
    let calls = printed.calls("total")?;
    ensure!(calls < 10_000, "{calls} calls for 20,000 records");
    Ok(())
}
