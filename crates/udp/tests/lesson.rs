//! What README.md says, tried.

use harness::{Lesson, NO_ARGS, Result, Signal, ensure, lesson};

fn main() {
    let trials: &[(&str, lesson::Run)] = &[
        ("ss_lists_the_receiver_and_nstat_what_was_dropped", look),
        ("with_so_reuseaddr_the_last_one_gets_everything", reuse),
    ];
    lesson::main(
        env!("CARGO_MANIFEST_DIR"),
        env!("CARGO_BIN_EXE_udp-sender"),
        env!("CARGO_BIN_EXE_udp-receiver"),
        trials,
    )
}

fn port<'l>(lesson: &'l Lesson) -> Result<&'l str> {
    let endpoint = lesson.trial.endpoint().and_then(|endpoint| endpoint.rsplit_once(':'));
    Ok(endpoint.ok_or("no port")?.1)
}

fn look(lesson: &Lesson) -> Result {
    let receiver = lesson.trial.receiver(NO_ARGS)?;
    let printed = lesson.run("ss -ulnp", &[])?;
    let address = format!("127.0.0.1:{} ", port(lesson)?);
    ensure!(printed.stdout.lines().any(|line| line.contains(&address)), "{printed:?}");
    receiver.signal(Signal::TERM)?;
    receiver.wait()?.expect(143)?;
    let printed = lesson.run("nstat -az UdpRcvbufErrors", &[])?;
    ensure!(printed.stdout.lines().any(|line| line.starts_with("UdpRcvbufErrors ")), "{printed:?}");
    Ok(())
}

fn reuse(lesson: &Lesson) -> Result {
    lesson.says("The last one to bind gets all that comes from then on")?;
    let printed = lesson.run(&lesson.block("socket.SO_REUSEADDR")?, &[("20003", port(lesson)?)])?;
    ensure!(printed.stdout == "b got b'for a'\n", "{printed:?}");
    Ok(())
}
