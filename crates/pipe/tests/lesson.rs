//! What README.md says, tried.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use harness::{Lesson, Result, Role, Signal, Stdout, ensure, lesson};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("proc_shows_a_pipe", look),
        ("it_holds_256_kib_and_then_the_sender_waits", fill),
        ("any_program_can_be_the_child", child),
        ("a_shell_can_make_the_pipe", shell),
        ("an_inherited_copy_delays_the_end", copy),
        ("the_end_is_said_by_a_mark", mark),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_pipe-sender"),
        env!("CARGO_BIN_EXE_pipe-receiver"),
        trials,
    )
}

fn look(lesson: &Lesson) -> Result {
    let sender = lesson.trial.launch(Role::Sender).stdin_open("").spawn()?;
    let pid = sender.pid().to_string();
    lesson.until("it has a pipe to its receiver", || {
        // Besides the three that this trial reads and writes.
        let command = "ls -l /proc/$(pgrep -x pipe-sender)/fd";
        let printed = lesson.run(command, &[("$(pgrep -x pipe-sender)", &pid)])?;
        Ok(printed.stdout.matches("pipe:[").count() > 3)
    })?;
    sender.signal(Signal::TERM)?;
    sender.wait()?.expect(143)
}

fn fill(lesson: &Lesson) -> Result {
    lesson.says("`kill -STOP` the child of `pipe-sender --count 100000`: the sender blocks after 256 KiB")?;
    let run = lesson.trial.both().sender(["--count", "100000000"]).stdout(Stdout::Count).start()?;
    run.output().wait_for_stdout(1)?;
    run.end(Role::Receiver)?.signal(Signal::STOP)?;
    let receiver = run.end(Role::Receiver)?.pid();
    lesson.until("it has stopped", || Ok(fs::read_to_string(format!("/proc/{receiver}/stat"))?.contains(") T ")))?;
    lesson.until("a pipe of 256 KiB is full", || {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", run.sender.pid()))?;
        // Opened again, each pipe of the sender's is also one of this process's.
        let open = |path| File::options().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        let mut pipes = descriptors.flatten().filter_map(|entry| open(entry.path()).ok());
        Ok(pipes.any(|pipe| {
            let room = poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO);
            fcntl(&pipe, FcntlArg::F_GETPIPE_SZ) == Ok(256 << 10) && room == Ok(0)
        }))
    })?;
    run.sender.signal(Signal::KILL)?;
    run.end(Role::Receiver)?.signal(Signal::KILL)?;
    run.wait()?;
    Ok(())
}

fn child(lesson: &Lesson) -> Result {
    let printed = lesson.run("cargo run -p pipe --example pipe-plain-sender -- wc --bytes", &[])?;
    lesson.says("says 14")?;
    ensure!(printed.code == Some(0) && printed.stdout == "14\n", "{printed:?}");
    Ok(())
}

fn shell(lesson: &Lesson) -> Result {
    let expected = "00000000: 0000 0006 6865 6c6c 6f0a ffff ffff       ....hello.....\n";
    let sent = lesson.run("pipe-sender --endpoint - hello | xxd", &[])?;
    ensure!(sent.stdout == expected, "{sent:?}");
    let received = lesson.run(r"printf '\0\0\0\6hello\n\377\377\377\377' | pipe-receiver --endpoint -", &[])?;
    ensure!(received.code == Some(0) && received.stdout == "hello\n", "{received:?}");
    Ok(())
}

/// How long a command takes that ends with what it is made of.
fn took(lesson: &Lesson, command: &str) -> Result<Duration> {
    let begin = Instant::now();
    // The `sleep` that is left holds no more than the pipe that the command is about.
    let printed = lesson.run(command, &[("sleep 2", "sleep 2 2>/dev/null")])?;
    ensure!(printed.code == Some(0) && printed.stdout == "hello\n", "{printed:?}");
    Ok(begin.elapsed())
}

fn copy(lesson: &Lesson) -> Result {
    let inherited = took(lesson, "time ( { echo hello; sleep 2 & } | cat )")?;
    let redirected = took(lesson, "time ( { echo hello; sleep 2 > /dev/null & } | cat )")?;
    ensure!(inherited >= Duration::from_secs(2), "cat ended after {inherited:?}");
    ensure!(redirected < Duration::from_secs(2), "cat ended after {redirected:?}");
    // Until the second `sleep` is over.
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}

fn mark(lesson: &Lesson) -> Result {
    let took = took(lesson, "{ pipe-sender --endpoint - hello; sleep 2 & } | pipe-receiver --endpoint -")?;
    ensure!(took < Duration::from_secs(2), "the receiver ended after {took:?}");
    std::thread::sleep(Duration::from_secs(2));
    Ok(())
}
