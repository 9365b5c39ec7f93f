//! What is special about realtime signals as a channel, seen through the two programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::Link;
use harness::{NO_ARGS, Pair, Process, Role, Signal, Trial, ensure, pid, strace};
use libtest_mimic::{Arguments, Completion, Failed};
use rt_signal::parts::{BYTES, Part, WINDOW, Writer};
use rt_signal::rt_signal::{self as rt, Peer};

const SENDER: &str = env!("CARGO_BIN_EXE_rt-signal-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_rt-signal-receiver");

type Result<T = Completion> = harness::Result<T>;
type Run = fn(&Trial) -> Result;

const TRIALS: &[(&str, Run)] = &[
    ("a_thousand_are_seen_in_order_and_of_the_standard_signal_one", thousand),
    ("the_limit_of_the_queue_is_told", thousand_with_a_limit),
    ("a_transfer_copes_with_a_queue_smaller_than_its_window", low_limit),
    ("a_sender_is_ahead_by_a_window_and_no_more", window),
    ("a_sender_may_have_ended_before_the_receiver_looks", early_end),
    ("what_a_killed_sender_has_queued_is_delivered", killed),
    ("signals_of_strangers_are_ignored", strangers),
    ("a_length_that_is_too_big_is_refused", hostile_length),
    ("each_signal_says_how_many_bytes_are_left", wire),
];

fn main() {
    // The trials' threads inherit it, and the answers to one of them must not end this process.
    rt::block().expect("block");
    let pair = Pair::new(SENDER.into(), RECEIVER.into()).expect("--describe");
    let trials = TRIALS.iter().map(|&(name, run)| {
        let pair = pair.clone();
        let run = move || {
            let trial = Trial::new(&pair)?;
            let result = run(&trial).and_then(|completion| trial.finish().map(|()| completion));
            result.map_err(|error| Failed::from(format!("{error}\n{}", trial.report())))
        };
        libtest_mimic::Trial::ignorable_test(name, run)
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn example() -> Option<PathBuf> {
    let path = Path::new(RECEIVER).with_file_name("examples/rt-signal-thousand");
    path.exists().then_some(path)
}

fn not_built() -> Result {
    Ok(Completion::ignored_with("the examples have not been built"))
}

fn thousand(_: &Trial) -> Result {
    let Some(example) = example() else { return not_built() };
    let told = String::from_utf8(Command::new(example).output()?.stdout)?;
    let expected = "SIGUSR1: 1000 sent, 1 seen\nSIGRTMIN: 1000 sent; 1000 seen in 16 reads, in order\n";
    ensure!(told == expected, "{told}");
    Ok(Completion::Completed)
}

/// Runs a shell script as a user of its own, whose queued signals are counted apart from everybody else's. `Err`
/// says why that cannot be.
fn apart(script: &str, args: &[&str]) -> Result<std::result::Result<Output, String>> {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "bash", "-c", script]).args(args).stdin(Stdio::null());
    let output = match command.output() {
        Err(error) => return Ok(Err(format!("unshare: {error}"))),
        Ok(output) => output,
    };
    let told = String::from_utf8_lossy(&output.stderr);
    Ok(if told.starts_with("unshare:") { Err(told.trim().to_owned()) } else { Ok(output) })
}

fn thousand_with_a_limit(_: &Trial) -> Result {
    let Some(example) = example() else { return not_built() };
    let output = match apart("ulimit -i 100; exec \"$0\"", &[&example.display().to_string()])? {
        Ok(output) => output,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let told = String::from_utf8(output.stdout)?;
    let expected = "SIGRTMIN: 100 sent, then EAGAIN: Try again; 100 seen in 2 reads, in order\n";
    ensure!(told.ends_with(expected), "{told}");
    Ok(Completion::Completed)
}

fn low_limit(trial: &Trial) -> Result {
    for limit in ["1", "7", "100"] {
        let script = "ulimit -i \"$0\"; \"$1\" --endpoint \"$3\" --timeout 10 & \
            \"$2\" --endpoint \"$3\" --timeout 10 --count 5000 --size 20; wait $!";
        let output = match apart(script, &[limit, RECEIVER, SENDER, trial.endpoint().unwrap_or_default()])? {
            Ok(output) => output,
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        };
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ulimit -i {limit}: {}: {told}", output.status);
        ensure!(output.stdout.len() == 100_000, "ulimit -i {limit}: {} bytes came out", output.stdout.len());
    }
    Ok(Completion::Completed)
}

/// Each message of eight bytes takes one signal.
fn window(trial: &Trial) -> Result {
    let receiver = trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    let sender = trial.launch(Role::Sender).args(["--count", "1000", "--size", "8"]).timeout(0.5).spawn()?;
    wait_until_pending(&receiver);
    // An answer that makes room, but not from the receiver.
    Peer::open(sender.pid())?.queue(0, WINDOW / 2)?;
    sender.wait()?.expect(4)?;
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(3)?;
    ensure!(receiver.stdout().len() == WINDOW * BYTES, "{} bytes came out", receiver.stdout().len());
    Ok(Completion::Completed)
}

fn early_end(trial: &Trial) -> Result {
    let receiver = trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    trial.sender(["hello"])?.wait()?.expect(0)?;
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?} came out", String::from_utf8_lossy(&receiver.stdout()));
    Ok(Completion::Completed)
}

/// Waits until a signal waits to be taken.
fn wait_until_pending(process: &Process) {
    let status = || fs::read_to_string(format!("/proc/{}/status", process.pid())).ok();
    pid::wait_for("a signal", || is_pending(&status()?).then_some(()));
}

fn is_pending(status: &str) -> bool {
    let mask = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("ShdPnd:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (libc::SIGRTMIN() - 1) & 1 == 1)
}

fn killed(trial: &Trial) -> Result {
    let receiver = trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    let sender = trial.launch(Role::Sender).stdin_open("one line\n").spawn()?;
    wait_until_pending(&receiver);
    // Since it has begun to send, the only thing that it sleeps for is the next line.
    pid::wait_for("its sleep", || (pid::state(sender.pid() as u32) == Some('S')).then_some(()));
    sender.signal(Signal::KILL)?;
    sender.wait()?;
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(3)?;
    ensure!(receiver.stdout() == b"one line\n", "{:?} came out", String::from_utf8_lossy(&receiver.stdout()));
    Ok(Completion::Completed)
}

/// They neither end a program nor are they taken for values or answers.
fn strangers(trial: &Trial) -> Result {
    let receiver = trial.receiver(NO_ARGS)?;
    let noise = |process: &Process| -> Result<()> {
        // A message of one byte, the end, answers, and a signal without a value.
        let stranger = Peer::open(process.pid())?;
        [(1, 0x41 << 56), (-1, 0), (0, 1), (0, 2), (0, 3)]
            .into_iter()
            .try_for_each(|(number, value)| stranger.queue(number, value))?;
        let status = Command::new("bash").args(["-c", &format!("kill -RTMIN {}", process.pid())]).status()?;
        ensure!(status.success(), "kill: {status}");
        Ok(())
    };
    noise(&receiver)?;
    let sender =
        trial.launch(Role::Sender).args(["--count", "2000", "--size", "40", "--interval", "0.0001"]).spawn()?;
    receiver.wait_for_stdout(1)?;
    while !sender.has_ended() {
        noise(&receiver)?;
        // It may end at any moment.
        let _ = noise(&sender);
    }
    sender.wait()?.expect(0)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout().len() == 80_000, "{} bytes came out", receiver.stdout().len());
    Ok(Completion::Completed)
}

/// This process keeps the rules of the rendezvous, and announces more than is possible.
fn hostile_length(trial: &Trial) -> Result {
    let receiver = trial.receiver(NO_ARGS)?;
    let mut args = common::Args::new(&rt_signal::TECHNIQUE, common::Role::Sender);
    args.endpoint = trial.endpoint().map(str::to_owned);
    let link = Link::attach(&args)?;
    let (pid, pidfd) = link.receiver()?;
    let left = rt_signal::TECHNIQUE.max_message as i32 + 1;
    Writer::new(Peer::new(pid, Some(pidfd)))?.put(Part { left, bytes: [0; BYTES] })?;
    receiver.wait()?.expect(5)?;
    ensure!(receiver.stderr().contains("65537"), "it says {:?}", receiver.stderr());
    Ok(Completion::Completed)
}

/// What the lesson shows of the bytes, as strace sees them.
fn wire(trial: &Trial) -> Result {
    if !strace::works() {
        return Ok(Completion::ignored_with(strace::NONE));
    }
    let receiver = trial.receiver(NO_ARGS)?;
    let trace = trial.path("trace").display().to_string();
    let mut command = Command::new("strace");
    command.args(["-f", "-o", &trace, "-e", "trace=pidfd_send_signal", SENDER, "hello world"]);
    let output = command.args(["--endpoint", trial.endpoint().unwrap_or_default()]).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    receiver.wait()?.expect(0)?;
    let trace = fs::read_to_string(trace)?;
    // 12 bytes are left, then 4; the end, -1.
    let parts = [("ENOMEM", "0x68656c6c6f20776f"), ("EINTR", "0x726c640a00000000"), ("4294967295", "")];
    let field = |line: &str, name: &str| -> Option<String> {
        Some(line.split_once(name)?.1.split([',', '}']).next().unwrap_or_default().to_owned())
    };
    let seen = trace
        .lines()
        .filter_map(|line| field(line, "si_errno=").map(|number| (number, field(line, "si_ptr=").unwrap_or_default())));
    ensure!(seen.eq(parts.map(|(number, value)| (number.to_owned(), value.to_owned()))), "other values:\n{trace}");
    Ok(Completion::Completed)
}
