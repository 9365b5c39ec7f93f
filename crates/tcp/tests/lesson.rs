//! What README.md says, tried.

use std::net::TcpListener;
use std::thread;

use harness::{Lesson, NO_ARGS, Result, Role, Signal, Stdout, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("ss_lists_the_receiver_and_later_the_connection", look),
        ("a_shell_can_be_the_sender", shell),
        ("three_writes_are_not_three_reads", boundaries),
        ("a_write_that_succeeds_says_nothing", not_accepted),
        ("a_socket_can_meet_itself", itself),
        ("a_sender_is_ahead_by_some_megabytes", fill),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_tcp-sender"),
        env!("CARGO_BIN_EXE_tcp-receiver"),
        trials,
    )
}

fn address<'l>(lesson: &'l Lesson) -> Result<(&'l str, &'l str)> {
    let endpoint = lesson.trial.endpoint().ok_or("no address")?;
    Ok((endpoint, endpoint.rsplit_once(':').ok_or("no port")?.1))
}

fn look(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let (address, _) = address(lesson)?;
    let listens = lesson.run("ss -tlnp", &[])?;
    ensure!(listens.stdout.contains(&format!(" {address} ")), "{listens:?}");
    lesson.trial.sender(["hello"])?.wait()?.expect(0)?;
    receiver.wait()?.expect(0)?;
    lesson.says("afterwards `ss -tan` shows the connection in TIME-WAIT for a minute")?;
    let waits = lesson.run("ss -tan", &[])?;
    let is_it = |line: &str| line.starts_with("TIME-WAIT ") && line.contains(&format!(" {address} "));
    ensure!(waits.stdout.lines().any(is_it), "{waits:?}");
    Ok(())
}

fn shell(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let command = "exec 3<>/dev/tcp/127.0.0.1/20001; printf '\\0\\0\\0\\6hello\\n\\377\\377\\377\\377' >&3; \
                   cat <&3 | xxd; exec 3>&-";
    let printed = lesson.run(command, &[("20001", address(lesson)?.1)])?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?}", receiver.stdout());
    // The two answers.
    ensure!(printed.stdout.starts_with("00000000: 0606 "), "{printed:?}");
    Ok(())
}

fn boundaries(lesson: &Lesson) -> Result {
    let (address, _) = address(lesson)?;
    let receiver = "cargo run -p tcp --example tcp-plain-receiver";
    let at = format!("tcp-plain-receiver -- {address}");
    let sender = at.replace("receiver", "sender");
    lesson.says("`…-plain-sender` in the other: three writes arrive as one read, or as two or three")?;
    let received = thread::scope(|scope| {
        let received = scope.spawn(|| lesson.run(receiver, &[("tcp-plain-receiver", &at)]));
        lesson.until("the sender finds the receiver", || {
            Ok(received.is_finished() || lesson.run(receiver, &[("tcp-plain-receiver", &sender)])?.code == Some(0))
        })?;
        received.join().map_err(|_| "a thread panicked")?
    })?;
    let reads = received.stdout.lines().filter(|line| line.contains(" bytes: ")).count();
    ensure!(received.code == Some(0) && (1..=3).contains(&reads), "{received:?}");
    Ok(())
}

fn not_accepted(lesson: &Lesson) -> Result {
    let (address, port) = address(lesson)?;
    let examples = lesson.trial.pair.sender.with_file_name("examples").display().to_string();
    let replace = [
        (
            "tcp-plain-receiver & sleep 0.1",
            &*format!("{examples}/tcp-plain-receiver {address} & {}", until_it_listens(port)?),
        ),
        ("20001", port),
    ];
    let printed = lesson.run(&lesson.block("kill -KILL $!")?, &replace)?;
    ensure!(printed.stdout == "0\n" && printed.stderr.contains("Connection reset by peer"), "{printed:?}");
    Ok(())
}

/// A loop of the shell's that looks into /proc/net/tcp, in the place of a pause.
fn until_it_listens(port: &str) -> Result<String> {
    let port: u16 = port.parse()?;
    Ok(format!("until grep -q ':{port:04X} 00000000:0000 0A' /proc/net/tcp; do kill -0 $! || exit 127; done"))
}

fn itself(lesson: &Lesson) -> Result {
    // Not the trial's own port, which such a connection keeps in TIME-WAIT.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    let printed = lesson.run(&lesson.block("s.bind(a); s.connect(a)")?, &[("20009", &port)])?;
    lesson.says("It prints `b'hello'`")?;
    ensure!(printed.stdout == "b'hello'\n", "{printed:?}");
    Ok(())
}

fn fill(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.launch(Role::Receiver).stdout(Stdout::Count).ready()?;
    lesson.says("`tcp-sender --count 1000000 --size 65536`, and `kill -STOP` the receiver while it prints")?;
    let args = ["--count", "1000000", "--size", "65536", "--timeout", "1"];
    let sender = lesson.trial.sender(args)?;
    receiver.wait_for_stdout(1 << 20)?;
    receiver.stop()?;
    sender.wait()?.expect(4)?;
    // What it had printed has come by now.
    let before = receiver.stdout_len();
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(3)?;
    receiver.stdout();
    let under_way = receiver.stdout_len() - before;
    lesson.says("it blocks after some megabytes")?;
    ensure!((1 << 20..64 << 20).contains(&under_way), "{under_way} bytes were under way");

    lesson.says("Stopped before it comes, the receiver does not even give the first answer, and nothing is sent")?;
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    lesson.trial.sender(["--timeout", "0.5", "lost"])?.wait()?.expect(4)?;
    receiver.signal(Signal::CONT)?;
    lesson.trial.sender(["hello"])?.wait()?.expect(0)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?}", receiver.stdout());
    Ok(())
}
