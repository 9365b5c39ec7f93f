//! What README.md says, tried.

use harness::{Lesson, Result, Role, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("proc_shows_a_socket", look),
        ("strace_shows_the_answer", answer),
        ("one_descriptor_feeds_and_hears", both_directions),
        ("who_writes_all_before_reading_waits_for_ever", deadlock),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_socketpair-sender"),
        env!("CARGO_BIN_EXE_socketpair-receiver"),
        trials,
    )
}

fn look(lesson: &Lesson) -> Result {
    let sender = lesson.trial.launch(Role::Sender).stdin_open("").spawn()?;
    let pid = sender.pid().to_string();
    lesson.until("it has a socket", || {
        let command = "ls -l /proc/$(pidof socketpair-sender)/fd";
        let printed = lesson.run(command, &[("$(pidof socketpair-sender)", &pid)])?;
        Ok(printed.stdout.contains(" socket:["))
    })?;
    sender.signal(Signal::TERM)?;
    sender.wait()?.expect(143)
}

fn answer(lesson: &Lesson) -> Result {
    let command = "strace -f -e trace=read,writev socketpair-sender hello 2>&1 | tail";
    // What the two print while others are at work may be more than the last ten lines.
    let printed = lesson.run(command, &[(" | tail", "")])?;
    if !printed.stdout.contains("writev(") {
        return Err(harness::Lacking(format!("strace does not work here: {}", printed.stdout)).into());
    }
    lesson.says("the last `writev` is the receiver's, of the byte 6, into the descriptor that it reads from")?;
    // "[pid 4711] writev(4, [{iov_base="\6"…": who, and into which descriptor.
    let last = printed.stdout.lines().rfind(|line| line.contains("writev(")).unwrap_or_default();
    let (writes, answer) = last.split_once(", ").unwrap_or_default();
    ensure!(answer.starts_with("[{iov_base=\"\\6\", iov_len=1}]"), "{}", printed.stdout);
    let reads = format!("{}, ", writes.replace("writev(", "read("));
    ensure!(printed.stdout.contains(&reads), "no {reads:?}: {}", printed.stdout);
    Ok(())
}

fn both_directions(lesson: &Lesson) -> Result {
    let printed = lesson.run(&lesson.block("./socketpair-plain-sender tr a-z A-Z")?, &[])?;
    ensure!(printed.stdout == "HELLO\n200000\n", "{printed:?}");
    Ok(())
}

fn deadlock(lesson: &Lesson) -> Result {
    // In the folder of the block before it.
    let block = lesson.block("./socketpair-deadlock cat")?;
    let examples = lesson.trial.pair.sender.with_file_name("examples").display().to_string();
    let program = format!("{examples}/socketpair-deadlock");
    let printed = lesson.run(&block, &[("./socketpair-deadlock", &program), ("timeout 5", "timeout 2")])?;
    ensure!(printed.stdout == "HELLO\n", "{printed:?}");
    Ok(())
}
