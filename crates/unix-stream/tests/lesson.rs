//! What README.md says, tried.

use std::fs;
use std::os::unix::net::UnixListener;
use std::thread;

use harness::{Lesson, NO_ARGS, Result, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("ls_shows_a_socket_and_cat_cannot_open_it", look),
        ("python_can_be_the_sender", python),
        ("an_answer_comes_back", two_directions),
        ("a_name_outlives_its_listener", no_unlink),
        ("a_sender_is_ahead_by_the_buffer", fill),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_unix-stream-sender"),
        env!("CARGO_BIN_EXE_unix-stream-receiver"),
        trials,
    )
}

fn path<'l>(lesson: &'l Lesson) -> Result<&'l str> {
    Ok(lesson.trial.endpoint().ok_or("no path")?)
}

fn look(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let place = [("$XDG_RUNTIME_DIR/ipc-lab/unix-stream", path(lesson)?)];
    let command = "ls -l $XDG_RUNTIME_DIR/ipc-lab/unix-stream";
    let printed = lesson.run(command, &place)?;
    lesson.says("begins with `s`. `cat` of it fails with `ENXIO`")?;
    ensure!(printed.stdout.starts_with("srw-------"), "{printed:?}");
    let printed = lesson.run(command, &[place[0], ("ls -l", "cat")])?;
    ensure!(printed.code == Some(1) && printed.stderr.contains("No such device or address"), "{printed:?}");
    receiver.signal(Signal::TERM)?;
    receiver.wait()?.expect(143)
}

fn python(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let block = lesson.block("python3 -c 'import socket")?;
    let command = block.lines().find(|line| line.starts_with("python3 ")).ok_or("no python3")?;
    let printed = lesson.run(command, &[("/tmp/talk/s", path(lesson)?)])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?}", receiver.stdout());
    Ok(())
}

fn two_directions(lesson: &Lesson) -> Result {
    let path = lesson.trial.path("talk.sock").display().to_string();
    let receiver = "cargo run -p unix-stream --example unix-stream-plain-receiver";
    let at = format!("unix-stream-plain-receiver -- {path}");
    let sender = at.replace("receiver", "sender");
    let name = "unix-stream-plain-receiver";
    let mut answered = String::new();
    let received = thread::scope(|scope| {
        let received = scope.spawn(|| lesson.run(receiver, &[(name, &at)]));
        lesson.until("the sender finds the receiver", || {
            let printed = lesson.run(receiver, &[(name, &sender)])?;
            answered = printed.stdout;
            Ok(received.is_finished() || printed.code == Some(0))
        })?;
        received.join().map_err(|_| "a thread panicked")?
    })?;
    lesson.says("three writes arrive as one read, or as two or three, and an answer comes back")?;
    let reads = received.stdout.lines().filter(|line| line.contains(" bytes: ")).count();
    ensure!(received.code == Some(0) && (1..=3).contains(&reads) && !answered.is_empty(), "{received:?}");
    Ok(())
}

fn no_unlink(lesson: &Lesson) -> Result {
    let path = lesson.trial.path("talk.sock");
    // As a plain receiver that was ended with Ctrl-C leaves it.
    drop(UnixListener::bind(&path)?);
    let examples = lesson.trial.pair.sender.with_file_name("examples").display().to_string();
    let (sender, receiver) =
        (format!("{examples}/unix-stream-plain-sender"), format!("{examples}/unix-stream-plain-receiver"));
    let place = path.display().to_string();
    let printed = lesson.run("ls -l /tmp/talk.sock", &[("/tmp/talk.sock", &place)])?;
    ensure!(printed.stdout.starts_with('s'), "{printed:?}");
    for (end, program, error) in [("sender", sender, "ConnectionRefused"), ("receiver", receiver, "AddrInUse")] {
        let name = format!("unix-stream-plain-{end}");
        let printed =
            lesson.run(&format!("{name} /tmp/talk.sock"), &[(&name, &program), ("/tmp/talk.sock", &place)])?;
        ensure!(printed.code == Some(1) && printed.stderr.contains(error), "{printed:?}");
    }
    fs::remove_file(path)?;
    Ok(())
}

fn fill(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(["--stats"])?;
    receiver.stop()?;
    lesson.says("then `unix-stream-sender --count 100000`: it blocks")?;
    let printed = lesson.run("unix-stream-sender --count 100000", &[("--count", "--timeout 0.5 --count")])?;
    ensure!(printed.code == Some(4), "{printed:?}");
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(3)?;
    let came = receiver.stdout().len();
    ensure!((10_000..1_000_000).contains(&came), "{came} bytes were under way");
    Ok(())
}
