//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] =
        &[("od_shows_who_sleeps", look), ("the_kills_are_trials", kills), ("a_message_costs_about_one_futex", calls)];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_robust-mutex-sender"),
        env!("CARGO_BIN_EXE_robust-mutex-receiver"),
        trials,
    )
}

fn look(lesson: &Lesson) -> Result {
    const COMMAND: &str = "od -An -tu4 -N24 /dev/shm/ipc-lab-$(id -u)-robust-mutex";
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.says("The last of the six words is odd: somebody sleeps until there is a record")?;
    lesson.until("the receiver sleeps", || {
        let words = lesson.run(COMMAND, &[])?.stdout;
        let words: Vec<u32> = words.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        ensure!(words.len() == 6, "{words:?}");
        Ok(words[5] % 2 == 1)
    })?;
    lesson.prints(COMMAND, &[])?;
    receiver.signal(Signal::TERM)?;
    receiver.wait()?.expect(143)
}

/// They take some seconds, so here they are listed only.
fn kills(lesson: &Lesson) -> Result {
    for (filter, count) in [("instruction", 3), ("condition_variable", 2)] {
        let command = format!("cargo test -p robust-mutex --test robust-mutex -- {filter}");
        // For one package alone cargo would compile much of what it needs anew, with fewer features.
        let replace = [("-p robust-mutex", "--workspace"), (filter, &format!("{filter} --list"))];
        let printed = lesson.run(&command, &replace)?;
        let trials: Vec<_> = printed.stdout.lines().filter(|line| line.contains(filter)).collect();
        ensure!(trials.len() == count, "{printed:?}");
    }
    lesson.says("The trial `a_condition_variable_of_glibc_waits_for_the_dead`")
}

fn calls(lesson: &Lesson) -> Result {
    const COUNT: u64 = 10_000;
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    lesson.says("The sender calls `futex` at most about once for each message")?;
    let command = "strace -f -c -e trace=futex robust-mutex-sender --count 10000 --size 64";
    let printed = lesson.run(command, &[])?;
    receiver.wait()?.expect(0)?;
    let calls = printed.calls("futex")?;
    ensure!(calls <= COUNT + COUNT / 5, "{calls} calls for {COUNT} messages");
    Ok(())
}
