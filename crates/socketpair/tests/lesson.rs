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
    let command = "strace -f -e trace=read,write socketpair-sender hello 2>&1 | tail";
    // What the two print while others are at work may be more than the last ten lines.
    let printed = lesson.run(command, &[(" | tail", "")])?;
    if !printed.stdout.contains("write(") {
        return Err(harness::Lacking(format!("strace does not work here: {}", printed.stdout)).into());
    }
    lesson.says("the receiver's `write` of the byte 6 goes into the descriptor that it reads from")?;
    // "[pid 4711] write(4, "\6", 1": who, and into which descriptor.
    let mut written = printed.stdout.lines().filter(|line| line.contains("write("));
    let answer = written.find_map(|line| line.split_once(", \"\\6\", 1"));
    let (writes, _) = answer.ok_or_else(|| format!("no answer: {}", printed.stdout))?;
    let reads = format!("{}, ", writes.replace("write(", "read("));
    ensure!(printed.stdout.contains(&reads), "no {reads:?}: {}", printed.stdout);
    Ok(())
}

fn both_directions(lesson: &Lesson) -> Result {
    let printed = lesson.run(&lesson.block("./socketpair-plain-sender tr a-z A-Z")?, &[])?;
    ensure!(printed.stdout == "HELLO\n2000000\n", "{printed:?}");
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
