//! What README.md says, tried.

use std::thread;

use harness::{Lesson, NO_ARGS, Result, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("the_pool_is_measured_beside_sealed_ones", pool),
        ("what_is_sealed_cannot_be_changed", sealed),
        ("without_seals_a_reader_is_killed", unsealed),
        ("python_can_be_the_sender", python),
        ("without_the_line_with_the_seals_it_is_refused", python_unsealed),
        ("either_way_can_be_measured", measured),
        ("strace_shows_the_calls_of_the_table", calls),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_memfd-sender"),
        env!("CARGO_BIN_EXE_memfd-receiver"),
        trials,
    )
}

fn sealed(lesson: &Lesson) -> Result {
    let path = lesson.trial.path("memfd.sock").display().to_string();
    let commands = lesson.block("memfd-plain-receiver -- /tmp/memfd.sock")?;
    let [receiver, sender] = commands.lines().collect::<Vec<_>>()[..] else { return Err("two commands".into()) };
    let place = [("/tmp/memfd.sock", path.as_str())];
    let received = thread::scope(|scope| {
        let receiver = scope.spawn(|| lesson.run(receiver, &place));
        lesson.until("the sender finds the receiver", || {
            Ok(receiver.is_finished() || lesson.run(sender, &place)?.code == Some(0))
        })?;
        receiver.join().map_err(|_| "a thread panicked")?
    })?;
    lesson.says("To write, to shrink and to grow it fails with `EPERM`, each time")?;
    ensure!(received.code == Some(0) && received.stdout.contains("hello"), "{received:?}");
    let told = [received.stdout, received.stderr].concat();
    ensure!(told.matches("Operation not permitted").count() == 3, "{told}");
    Ok(())
}

fn unsealed(lesson: &Lesson) -> Result {
    const COMMAND: &str = "cargo run -p memfd --example memfd-unsealed";
    lesson.says("the receiver is killed by SIGBUS in the middle of reading")?;
    let printed = lesson.run(COMMAND, &[(COMMAND, &format!("{COMMAND}; echo $?"))])?;
    let lines: Vec<_> = printed.stdout.lines().collect();
    // 128 and SIGBUS, after three lines of what has happened.
    ensure!(lines.len() == 4 && lines[3] == "135", "{printed:?}");
    Ok(())
}

/// The program of the lesson, with `seals` in the place of the line that seals; returns what became of the receiver.
fn send_by_python(lesson: &Lesson, seals: &str) -> Result<harness::Process> {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let block = lesson.block("fcntl.F_ADD_SEALS")?;
    let path = lesson.trial.endpoint().ok_or("no path")?;
    let replace = [
        ("memfd-receiver --endpoint /tmp/talk/m ", ""),
        ("/tmp/talk/m", path),
        ("fcntl.fcntl(m, fcntl.F_ADD_SEALS, 15)", seals),
    ];
    lesson.run(&block, &replace)?;
    receiver.wait()?;
    Ok(receiver)
}

fn python(lesson: &Lesson) -> Result {
    let receiver = send_by_python(lesson, "fcntl.fcntl(m, fcntl.F_ADD_SEALS, 15)")?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\nworld\n", "{:?}", receiver.stdout());
    Ok(())
}

fn python_unsealed(lesson: &Lesson) -> Result {
    lesson.says("the receiver ends with exit code 1: `a memfd without all of its seals`")?;
    let receiver = send_by_python(lesson, "pass")?;
    receiver.wait()?.expect(1)?;
    ensure!(receiver.stderr().contains("a memfd without all of its seals"), "{}", receiver.stderr());
    Ok(())
}

fn measured(lesson: &Lesson) -> Result {
    lesson.says("`memfd-receiver --stats --output /dev/null`")?;
    lesson.says("the same with `--large 131072`")?;
    for large in ["1", "131072"] {
        let receiver = lesson.trial.receiver(["--stats", "--output", "/dev/null"])?;
        let large = format!("--large {large}");
        let command = "memfd-sender --count 5000 --size 65536 --large 1";
        let printed = lesson.run(command, &[("--large 1", &large)])?;
        ensure!(printed.code == Some(0), "{printed:?}");
        receiver.wait()?.expect(0)?;
        ensure!(receiver.stderr().contains("messages=5000 bytes=327680000 "), "{}", receiver.stderr());
    }
    Ok(())
}

fn calls(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let printed = lesson.run("strace -f memfd-sender --size 100000", &[])?;
    receiver.wait()?.expect(0)?;
    let mut trace = printed.stderr.as_str();
    for call in ["memfd_create(", "write(", "F_ADD_SEALS", "SCM_RIGHTS", "close("] {
        let at = trace.find(call).ok_or_else(|| format!("no {call} in its place: {}", printed.stderr))?;
        trace = &trace[at..];
    }
    Ok(())
}

/// That it measures, not what.
fn pool(lesson: &Lesson) -> Result {
    let printed = lesson.run("cargo run --release -p memfd --example memfd-pool", &[])?;
    ensure!(printed.code == Some(0), "{printed:?}");
    let rows: Vec<Vec<f64>> = printed
        .stdout
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>())
        .collect::<std::result::Result<_, _>>()?;
    let sizes: Vec<f64> = rows.iter().map(|row| row[0]).collect();
    ensure!(sizes == [65_536.0, 1_048_576.0, 16_777_216.0], "{printed:?}");
    ensure!(rows.iter().all(|row| row.len() == 3 && row[1] > 0.0 && row[2] > 0.0), "{printed:?}");
    Ok(())
}
