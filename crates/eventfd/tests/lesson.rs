//! What README.md says, tried.

use harness::{Lesson, Result, Role, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] =
        &[("python_can_start_both", python), ("proc_shows_the_descriptors_and_the_counts", look)];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_eventfd-sender"),
        env!("CARGO_BIN_EXE_eventfd-receiver"),
        trials,
    )
}

fn python(lesson: &Lesson) -> Result {
    let printed = lesson.run(&lesson.block("eventfd-receiver\", \"--endpoint\", \"-\"")?, &[])?;
    ensure!(printed.code == Some(0) && printed.stdout == "hello\n", "{printed:?}");
    Ok(())
}

fn look(lesson: &Lesson) -> Result {
    let sender = lesson.trial.launch(Role::Sender).stdin_open("").spawn()?;
    let pid = sender.pid().to_string();
    let which = [("$(pgrep -x eventfd-sender)", pid.as_str())];
    lesson.says("tells the counts in hexadecimal: 20 and 0")?;
    lesson.until("all slots are free and none is full", || {
        let printed = lesson.run("grep -h eventfd /proc/$(pgrep -x eventfd-sender)/fdinfo/*", &which)?;
        let mut lines = printed.stdout.lines().filter_map(|line| line.strip_prefix("eventfd-count:"));
        let counts = [lines.next(), lines.next()].map(|count| count.unwrap_or("?").trim());
        Ok(counts == ["20", "0"])
    })?;
    let printed = lesson.run("ls -l /proc/$(pgrep -x eventfd-sender)/fd", &which)?;
    for (file, count) in [("/memfd:eventfd-slots (deleted)", 1), ("anon_inode:[eventfd]", 2)] {
        lesson.says(&format!("`{file}`"))?;
        ensure!(printed.stdout.matches(file).count() == count, "{printed:?}");
    }
    sender.signal(Signal::TERM)?;
    sender.wait()?.expect(143)
}
