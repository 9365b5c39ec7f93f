//! What README.md says, tried.

use std::thread;

use harness::{Lesson, NO_ARGS, Result, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("three_calls_for_each_message_however_long", calls),
        ("short_and_long_messages_can_be_measured", measured),
        ("a_sender_waits_with_its_first_message", first),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_process-vm-sender"),
        env!("CARGO_BIN_EXE_process-vm-receiver"),
        trials,
    )
}

/// Some places forbid the call, as containers may: then the receiver says so with exit code 77.
fn permitted(code: Option<i32>) -> Result {
    if code == Some(77) {
        return Err(harness::Lacking("this machine does not permit process_vm_readv(2)".into()).into());
    }
    Ok(())
}

fn calls(lesson: &Lesson) -> Result {
    let command = "strace -e trace=sendto,recvfrom,process_vm_readv process-vm-receiver";
    lesson.says("three calls for each message, however long it is")?;
    for size in ["6", "1000000"] {
        let traced = thread::scope(|scope| {
            let receiver = scope.spawn(|| lesson.run(command, &[]));
            let args = ["--count", "20", "--size", size, "--timeout", "30"];
            let sender = lesson.trial.sender(args).and_then(|sender| sender.wait());
            (sender, receiver.join())
        });
        let printed = traced.1.map_err(|_| "a thread panicked")??;
        permitted(printed.code)?;
        traced.0?.expect(0)?;
        for call in ["sendto(", "recvfrom(", "process_vm_readv("] {
            let calls = printed.stderr.matches(call).count();
            // The end mark is one more to hear.
            let expected = if call == "recvfrom(" { 21 } else { 20 };
            ensure!(calls == expected, "{size} bytes: {calls} times {call}: {}", printed.stderr);
        }
    }
    Ok(())
}

fn measured(lesson: &Lesson) -> Result {
    lesson.says("`process-vm-sender --count 20000` and `--count 400 --size 1048576`, each with `process-vm-receiver --stats --output /dev/null`")?;
    for (count, stats) in [("--count 20000", "messages=20000 "), ("--count 400 --size 1048576", "messages=400 ")] {
        let receiver = lesson.trial.receiver(["--stats", "--output", "/dev/null"])?;
        let printed = lesson.run("process-vm-sender --count 20000", &[("--count 20000", count)])?;
        permitted(printed.code)?;
        ensure!(printed.code == Some(0), "{printed:?}");
        receiver.wait()?.expect(0)?;
        ensure!(receiver.stderr().contains(stats), "{}", receiver.stderr());
    }
    Ok(())
}

fn first(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    lesson.says("and send one message: the sender waits already. There is no buffer to fill")?;
    lesson.trial.sender(["--timeout", "0.5", "hello"])?.wait()?.expect(4)?;
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(3)?;
    ensure!(receiver.stdout().is_empty(), "{:?}", receiver.stdout());
    Ok(())
}
