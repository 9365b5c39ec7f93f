//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[("a_socket_of_another_type_is_told_so", wrong_type)];
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
