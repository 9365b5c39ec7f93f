//! What is special about a robust mutex: at whatever instruction a process dies, the others go on; and, in `condition.rs`,
//! what becomes of a condition variable of glibc's in the same place.
#![expect(unsafe_code, reason = "the mutex in somebody's buffer is reached through a pointer")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use ::robust_mutex::mutex::Mutex;
use ::robust_mutex::robust_mutex::{self, Buffer, Found, MAX};
use harness::{kill_after, pid};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use shared_memory::{Shmem, ShmemConf};

mod condition;

const SENDER: &str = env!("CARGO_BIN_EXE_robust-mutex-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_robust-mutex-receiver");
/// Long enough to be copied by several instructions.
const RECORD: [u8; 200] = [7; 200];

type Result<T = (), E = Failed> = std::result::Result<T, E>;

fn main() {
    if let [_, role, part, name] = &env::args().collect::<Vec<_>>()[..]
        && role == "part"
    {
        play(part, name).expect(part);
        return;
    }
    let trials = vec![
        Trial::ignorable_test("a_producer_killed_at_any_instruction_leaves_whole_records", kill_the_producer),
        Trial::ignorable_test("a_consumer_killed_at_any_instruction_leaves_whole_records", kill_the_consumer),
        Trial::ignorable_test("a_producer_killed_at_any_instruction_leaves_nobody_asleep", kill_before_the_wake_up),
        Trial::test("a_process_killed_in_its_sleep_stops_nobody", kill_a_sleeper),
        Trial::ignorable_test("a_condition_variable_of_glibc_hangs_after_a_kill", condition::pthread_cond_hangs),
        Trial::ignorable_test("a_condition_variable_of_glibc_waits_for_the_dead", condition::dead_waiter),
        Trial::test("a_stopped_process_with_the_mutex_in_its_hands_is_waited_for_only_so_long", stopped_owner),
        Trial::test("whoever_locks_after_a_death_says_so_and_goes_on", killed_owner),
        Trial::test("a_killed_sender_loses_nothing_that_it_has_put", killed_sender),
        Trial::test("a_length_that_is_too_big_is_refused", hostile_length),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn ensure(condition: bool, text: impl FnOnce() -> String) -> Result {
    if condition { Ok(()) } else { Err(text().into()) }
}

fn name_of(test: &str) -> String {
    format!("/robust-mutex-test-{}-{test}", process::id())
}

/// A process of its own that plays a part.
fn part(part: &str, name: &str) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["part", part, name]).stdout(Stdio::piped());
    Ok(command)
}

/// The parts. What stands between two SIGSTOPs is run instruction by instruction.
fn play(part: &str, name: &str) -> io::Result<()> {
    match part {
        "nothing" => {
            raise(Signal::SIGSTOP)?;
            raise(Signal::SIGSTOP)?;
        }
        "put" => {
            let mut buffer = Buffer::open(name)?;
            raise(Signal::SIGSTOP)?;
            buffer.put(&RECORD)?;
            raise(Signal::SIGSTOP)?;
        }
        "take" => {
            let mut buffer = Buffer::open(name)?;
            let mut record = [0; MAX];
            raise(Signal::SIGSTOP)?;
            buffer.take(&mut record)?;
            raise(Signal::SIGSTOP)?;
        }
        "take all" => {
            let mut buffer = Buffer::open(name)?;
            let mut record = [0; MAX];
            writeln!(io::stdout(), "ready")?;
            while buffer.take(&mut record)?.is_some() {}
        }
        "hold" => {
            let other = Other::open(name)?;
            let _guard = other.mutex().lock(None)?;
            writeln!(io::stdout(), "ready")?;
            loop {
                thread::park();
            }
        }
        part => condition::play(part, name)?,
    }
    Ok(())
}

/// Is it over within so long?
fn ends(child: &mut Child, within: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + within;
    while child.try_wait()?.is_none() {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}

fn end(mut child: Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

// ---- the robust mutex ----

/// What a survivor found after each of the instructions.
#[derive(Default)]
struct Tally {
    steps: usize,
    nothing: usize,
    whole: usize,
    torn: usize,
    /// After so many instructions the victim's work counted.
    done: Option<usize>,
}

/// Lets a process play `victim`, kills it after each of its instructions, and asks `survivor` whether what the
/// victim was about had been done. Once done it must stay so.
fn kill_at_every_instruction(victim: &str, survivor: impl Fn(&mut Buffer) -> Result<bool>) -> Result<Tally> {
    let mut tally = Tally::default();
    let name = name_of(victim);
    loop {
        let mut buffer = Buffer::create(&name)?;
        buffer.set_patience(Duration::from_secs(5));
        buffer.put(b"before")?;
        let more = kill_after(part(victim, &name)?, tally.steps);
        robust_mutex::remove(&name)?;
        let (more, done) = (more?, survivor(&mut buffer).map_err(|error| at(tally.steps, &error))?);
        match buffer.found() {
            None => tally.nothing += 1,
            Some(Found::Whole) => tally.whole += 1,
            Some(Found::Torn) => tally.torn += 1,
        }
        ensure(done || tally.done.is_none(), || format!("after {} instructions it was undone", tally.steps))?;
        tally.done = tally.done.or(done.then_some(tally.steps));
        if !more {
            return Ok(tally);
        }
        tally.steps += 1;
    }
}

fn at(steps: usize, error: &Failed) -> Failed {
    format!("after {steps} instructions: {}", error.message().unwrap_or_default()).into()
}

/// Puts the end and takes everything: no wait is needed for it, so whatever hangs, hangs for the mutex.
fn rest(buffer: &mut Buffer) -> Result<Vec<Vec<u8>>> {
    buffer.put_end()?;
    let (mut record, mut taken) = ([0; MAX], Vec::new());
    while let Some(len) = buffer.take(&mut record)? {
        taken.push(record[..len].to_vec());
    }
    Ok(taken)
}

fn kill_the_producer() -> Result<Completion> {
    if let Some(reason) = no_ptrace()? {
        return Ok(reason);
    }
    let tally = kill_at_every_instruction("put", |buffer| match &rest(buffer)?[..] {
        [first] if first == b"before" => Ok(false),
        [first, second] if first == b"before" && second[..] == RECORD => Ok(true),
        other => Err(format!("{other:?} came out").into()),
    })?;
    ensure(tally.done.is_some_and(|done| done > 0), || "the record never came out, or always".into())?;
    ensure(tally.torn > 0 && tally.whole > 0 && tally.nothing > 0, || {
        let Tally { steps, nothing, whole, torn, .. } = tally;
        format!("of {steps} kills {torn} met the copying, {whole} the rest of the time in the mutex, {nothing} neither")
    })?;
    Ok(Completion::Completed)
}

fn kill_the_consumer() -> Result<Completion> {
    if let Some(reason) = no_ptrace()? {
        return Ok(reason);
    }
    let tally = kill_at_every_instruction("take", |buffer| match &rest(buffer)?[..] {
        [first] if first == b"before" => Ok(false),
        [] => Ok(true),
        other => Err(format!("{other:?} came out").into()),
    })?;
    ensure(tally.done.is_some_and(|done| done > 0), || "the record was never taken, or always".into())?;
    ensure(tally.torn == 0 && tally.whole > 0 && tally.nothing > 0, || "no kill met the mutex held".into())?;
    Ok(Completion::Completed)
}

/// Some places forbid ptrace(2), as containers may.
fn no_ptrace() -> Result<Option<Completion>> {
    let Err(error) = kill_after(part("nothing", "")?, 0) else { return Ok(None) };
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            Ok(Some(Completion::ignored_with(format!("no ptrace(2) here: {error}"))))
        }
        _ => Err(error.to_string().into()),
    }
}

/// Somebody sleeps while the victim puts a record. Whether or not the victim still came to wake it: the next one who puts
/// something must do so.
fn kill_before_the_wake_up() -> Result<Completion> {
    if let Some(reason) = no_ptrace()? {
        return Ok(reason);
    }
    let name = name_of("wake-up");
    for steps in 0.. {
        let mut buffer = Buffer::create(&name)?;
        let mut sleeper = part("take all", &name)?.spawn()?;
        wait_until_ready(&mut sleeper)?;
        wait_until_asleep(&sleeper);
        let more = kill_after(part("put", &name)?, steps);
        robust_mutex::remove(&name)?;
        buffer.put_end()?;
        let awake = ends(&mut sleeper, Duration::from_secs(5))?;
        end(sleeper)?;
        ensure(awake, || format!("after {steps} instructions nobody wakes the sleeper any more"))?;
        if !more? {
            break;
        }
    }
    Ok(Completion::Completed)
}

fn kill_a_sleeper() -> Result {
    let name = name_of("sleeper");
    let mut buffer = Buffer::create(&name)?;
    for _ in 0..20 {
        let mut sleeper = part("take all", &name)?.spawn()?;
        wait_until_ready(&mut sleeper)?;
        wait_until_asleep(&sleeper);
        end(sleeper)?;
        buffer.put(b"for whoever lives")?;
        assert_eq!(buffer.take(&mut [0; MAX])?, Some(17));
    }
    // One that lives is still woken.
    let mut sleeper = part("take all", &name)?.spawn()?;
    wait_until_ready(&mut sleeper)?;
    wait_until_asleep(&sleeper);
    buffer.put_end()?;
    let awake = ends(&mut sleeper, Duration::from_secs(10))?;
    end(sleeper)?;
    robust_mutex::remove(&name)?;
    ensure(awake, || "it was not woken".into())
}

fn wait_until_ready(child: &mut Child) -> Result<BufReader<ChildStdout>> {
    let mut stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    ensure(line == "ready\n", || format!("{line:?}"))?;
    Ok(stdout)
}

/// Waits until it has nothing to do.
fn wait_until_asleep(child: &Child) {
    pid::wait_for("its sleep", || (pid::state(child.id()) == Some('S')).then_some(()));
}

// ---- the two programs ----

fn command(program: &str, endpoint: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["--timeout", "20", "--endpoint", endpoint]).args(args);
    command
}

/// Starts a receiver and waits until it is ready.
fn receiver(endpoint: &str) -> Result<(Child, BufReader<ChildStderr>)> {
    let mut child = command(RECEIVER, endpoint, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    stderr.read_line(&mut line)?;
    ensure(line.contains("ready"), || line)?;
    Ok((child, stderr))
}

/// How a receiver ended, and what it printed.
fn ended(child: Child, code: i32, printed: &[u8]) -> Result {
    let output = child.wait_with_output()?;
    let right = output.status.code() == Some(code) && output.stdout == printed;
    ensure(right, || format!("{}, printed {:?}", output.status, String::from_utf8_lossy(&output.stdout)))
}

/// The mutex of somebody's buffer, which stands behind six words.
struct Other(Shmem);

impl Other {
    fn open(name: &str) -> io::Result<Other> {
        ShmemConf::new().os_id(name).open().map(Other).map_err(io::Error::other)
    }

    fn mutex(&self) -> &Mutex {
        // SAFETY: the mapping is longer than this and lives as long as `self`; a mutex lies in an UnsafeCell.
        unsafe { &*self.0.as_ptr().wrapping_add(24).cast::<Mutex>() }
    }
}

fn stopped_owner() -> Result {
    let endpoint = name_of("stopped");
    let (child, _stderr) = receiver(&endpoint)?;
    let other = Other::open(&endpoint)?;
    let guard = other.mutex().lock(None)?;
    let start = Instant::now();
    let mut sender = Command::new(SENDER);
    sender.args(["--timeout", "0.4", "--endpoint", &endpoint, "hello"]);
    assert_cmd::Command::from_std(sender).assert().code(4);
    let took = start.elapsed();
    drop(guard);
    ended(child, 3, b"")?;
    ensure(took > Duration::from_millis(350) && took < Duration::from_secs(2), || format!("it took {took:?}"))
}

/// Whoever locks the mutex next says what has happened, and all goes on.
fn killed_owner() -> Result {
    let endpoint = name_of("owner");
    let (child, mut stderr) = receiver(&endpoint)?;
    let mut owner = part("hold", &endpoint)?.spawn()?;
    wait_until_ready(&mut owner)?;
    end(owner)?;
    let sender = assert_cmd::Command::from_std(command(SENDER, &endpoint, &["hello"])).assert().code(0);
    ended(child, 0, b"hello\n")?;
    // A receiver that has just said that it is ready may come before the sender.
    let mut said = String::from_utf8_lossy(&sender.get_output().stderr).into_owned();
    stderr.read_to_string(&mut said)?;
    ensure(said.contains("EOWNERDEAD: the owner of the mutex has died; nothing was half-done"), || said)
}

fn killed_sender() -> Result {
    let endpoint = name_of("killed");
    let (child, _stderr) = receiver(&endpoint)?;
    let mut sender = command(SENDER, &endpoint, &[]).stdin(Stdio::piped()).spawn()?;
    sender.stdin.as_mut().ok_or("no standard input")?.write_all(b"one\ntwo\n")?;
    thread::sleep(Duration::from_millis(200));
    end(sender)?;
    ended(child, 3, b"one\ntwo\n")
}

fn hostile_length() -> Result {
    let endpoint = name_of("hostile");
    let (mut child, mut stderr) = receiver(&endpoint)?;
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGSTOP)?;
    Buffer::open(&endpoint)?.put(b"hello")?;
    let memory = File::options().write(true).open(format!("/dev/shm{endpoint}"))?;
    memory.write_all_at(&(MAX as u32 + 1).to_ne_bytes(), 4096)?;
    kill(pid, Signal::SIGCONT)?;
    let mut said = String::new();
    stderr.read_line(&mut said)?;
    let code = child.wait()?.code();
    ensure(code == Some(1) && said.contains("4093 bytes"), || format!("{code:?}: {said}"))
}
