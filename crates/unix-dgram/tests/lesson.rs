//! What README.md says, tried.

use std::fs;
use std::os::unix::net::UnixDatagram;

use harness::{Lesson, NO_ARGS, Result, Role, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("a_queue_is_full_after_one_more_than_the_limit", full),
        ("who_mixes_in_is_refused", mixed_in),
        ("a_connected_sender_is_ahead_by_many_hundred_small_messages", fill),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_unix-dgram-sender"),
        env!("CARGO_BIN_EXE_unix-dgram-receiver"),
        trials,
    )
}

fn full(lesson: &Lesson) -> Result {
    let path = lesson.trial.path("talk.sock");
    // As stopped as a plain receiver after Ctrl-Z.
    let _nobody_reads = UnixDatagram::bind(&path)?;
    let replace = [("python3", "timeout 2 python3"), ("/tmp/talk.sock", &path.display().to_string())];
    let printed = lesson.run(&lesson.block("range(1, 100000)")?, &replace)?;
    let most: usize = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen")?.trim().parse()?;
    let expected: String = (1..=most + 1).map(|number| format!("{number}\n")).collect();
    ensure!(printed.code == Some(124) && printed.stdout == expected, "{printed:?}");
    lesson.says("It prints 1 to 11 and hangs in the next `send`")?;
    lesson.says("`net.unix.max_dgram_qlen` and one more.")
}

fn mixed_in(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let sender = lesson.trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    let command = "python3 -c 'import socket; \
                   socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b\"evil\", PATH)'";
    let path = format!("{:?}", lesson.trial.endpoint().ok_or("no path")?);
    let printed = lesson.run(command, &[("PATH", &path)])?;
    ensure!(printed.code == Some(1) && printed.stderr.contains("PermissionError: [Errno 1]"), "{printed:?}");
    sender.signal(Signal::KILL)?;
    receiver.wait()?.expect(3)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?}", receiver.stdout());
    Ok(())
}

fn fill(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.says("Stop `unix-dgram-receiver` in the middle of `unix-dgram-sender --count 1000000`")?;
    let sender = lesson.trial.sender(["--count", "1000000", "--timeout", "0.5"])?;
    receiver.wait_for_stdout(64)?;
    receiver.stop()?;
    sender.wait()?.expect(4)?;
    // What it had printed has come by now.
    let before = receiver.stdout_len();
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(3)?;
    let waited = (receiver.stdout().len() as u64 - before) / 64;
    lesson.says("many hundred messages wait then, whatever that number is.")?;
    // Those that it had in its hands when it was stopped are among them.
    ensure!((500..2000).contains(&waited), "{waited} messages waited");
    Ok(())
}
