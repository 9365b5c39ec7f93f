//! What is special about System V semaphores: what the kernel undoes when a process dies, at whatever instruction, and
//! what it must not undo; what becomes of the objects; the limits.
#![expect(unsafe_code, reason = "a look at the counts, and at the limits, has no safe wrapper")]

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use ::sysv_sem::sysv_sem::{self, FREE, FULL, MAX, Mailbox};
use harness::kill_after;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction};
use nix::unistd::{Pid, geteuid};

const SENDER: &str = env!("CARGO_BIN_EXE_sysv-sem-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_sysv-sem-receiver");
/// Long enough to be copied by several instructions.
const RECORD: [u8; 200] = [7; 200];

type Result<T = (), E = Failed> = std::result::Result<T, E>;

fn main() {
    if let [_, role, part, key] = &env::args().collect::<Vec<_>>()[..]
        && role == "part"
    {
        play(part, key.parse().expect("a key")).expect(part);
        return;
    }
    let trials = vec![
        Trial::ignorable_test("a_producer_killed_at_any_instruction_leaves_whole_records", kill_the_producer),
        Trial::ignorable_test("a_consumer_killed_at_any_instruction_loses_nothing", kill_the_consumer),
        Trial::test("numbers_end_at_32767", limits),
        Trial::test("a_signal_ends_a_semop_even_with_sa_restart", interrupted),
        Trial::ignorable_test("a_set_that_another_user_has_given_away_is_refused", given_away),
        Trial::test("a_killed_sender_loses_nothing_that_it_has_put", killed_sender),
        Trial::test("a_sender_is_ahead_by_one_record", ahead_by_one),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn ensure(condition: bool, text: impl FnOnce() -> String) -> Result {
    if condition { Ok(()) } else { Err(text().into()) }
}

/// A key of its own for each test, unlike those of tests/mechanism.rs.
fn key(number: i32) -> i32 {
    (process::id() as i32) << 8 | 0x80 | number
}

fn play(part: &str, key: i32) -> io::Result<()> {
    let mailbox = Mailbox::open(key)?;
    let mut record = [0; MAX];
    // What stands between two SIGSTOPs is run instruction by instruction.
    raise(Signal::SIGSTOP)?;
    match part {
        "put" => mailbox.put(&RECORD)?,
        "take" => drop(mailbox.take(&mut record)?),
        _ => {}
    }
    raise(Signal::SIGSTOP)?;
    Ok(())
}

fn check(result: i32) -> io::Result<i32> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The numbers of free and full slots.
fn counts(key: i32) -> io::Result<[u16; 2]> {
    let mut counts = [0; 2];
    // SAFETY: the call takes three numbers.
    let set = check(unsafe { libc::semget(key, 0, 0) })?;
    // SAFETY: GETALL writes as many numbers as there are semaphores.
    check(unsafe { libc::semctl(set, 0, libc::GETALL, counts.as_mut_ptr()) })?;
    Ok(counts)
}

/// Lets a process play a part, kills it after each of its instructions, and asks `survivor`, which gets the mailbox and
/// its counts, whether what the part is about had been done. Returns after how many instructions it was.
fn kill_at_every_instruction(
    part: &str,
    key: i32,
    before: impl Fn(&Mailbox) -> io::Result<()>,
    survivor: impl Fn(&Mailbox, [u16; 2]) -> Result<bool>,
) -> Result<Completion> {
    if let Some(reason) = no_ptrace(key)? {
        return Ok(reason);
    }
    let mut done_after = None;
    for steps in 0.. {
        let mailbox = Mailbox::create(key)?;
        before(&mailbox)?;
        let more = kill_after(command_of(part, key)?, steps);
        let counts = counts(key)?;
        let done = survivor(&mailbox, counts);
        sysv_sem::remove(key)?;
        let at = |error: Failed| format!("after {steps} instructions: {}", error.message().unwrap_or_default());
        let done = done.map_err(at)?;
        ensure(done || done_after.is_none(), || format!("after {steps} instructions it was undone"))?;
        done_after = done_after.or(done.then_some(steps));
        if !more? {
            break;
        }
    }
    ensure(done_after.is_some_and(|steps| steps > 0), || "it was never done, or always".into())?;
    Ok(Completion::Completed)
}

fn command_of(part: &str, key: i32) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["part", part, &key.to_string()]);
    Ok(command)
}

/// Some places forbid ptrace(2), as containers may.
fn no_ptrace(key: i32) -> Result<Option<Completion>> {
    let _mailbox = Mailbox::create(key)?;
    let tried = kill_after(command_of("nothing", key)?, 0);
    sysv_sem::remove(key)?;
    let Err(error) = tried else { return Ok(None) };
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            Ok(Some(Completion::ignored_with(format!("no ptrace(2) here: {error}"))))
        }
        _ => Err(error.to_string().into()),
    }
}

/// Either the record is there, whole, or the slot is free for another producer.
fn kill_the_producer() -> Result<Completion> {
    let survivor = |mailbox: &Mailbox, counts: [u16; 2]| {
        let mut record = [0; MAX];
        let done = match counts {
            [1, 0] => false,
            [0, 1] => {
                let len = mailbox.take(&mut record)?;
                ensure(len == Some(200) && record[..200] == RECORD, || format!("{len:?} bytes, or other ones"))?;
                true
            }
            other => return Err(format!("the counts are {other:?}").into()),
        };
        mailbox.put(b"of another producer")?;
        ensure(mailbox.take(&mut record)? == Some(19), || "another record came out".into())?;
        Ok(done)
    };
    kill_at_every_instruction("put", key(1), |_| Ok(()), survivor)
}

/// Either the record has been taken, or it is there for another consumer.
fn kill_the_consumer() -> Result<Completion> {
    let survivor = |mailbox: &Mailbox, counts: [u16; 2]| {
        let mut record = [0; MAX];
        match counts {
            [1, 0] => Ok(true),
            [0, 1] => {
                let len = mailbox.take(&mut record)?;
                ensure(len == Some(200) && record[..200] == RECORD, || format!("{len:?} bytes, or other ones"))?;
                Ok(false)
            }
            other => Err(format!("the counts are {other:?}").into()),
        }
    };
    kill_at_every_instruction("take", key(2), |mailbox| mailbox.put(&RECORD), survivor)
}

/// A set of two semaphores that goes with this value.
struct Set(i32);

impl Set {
    fn new() -> io::Result<Set> {
        // SAFETY: the call takes three numbers.
        check(unsafe { libc::semget(libc::IPC_PRIVATE, 2, 0o600) }).map(Set)
    }

    fn add(&self, semaphore: u16, by: i16, flags: i32) -> Option<i32> {
        let mut change = [libc::sembuf { sem_num: semaphore, sem_op: by, sem_flg: flags as i16 }];
        // SAFETY: the kernel reads one change.
        check(unsafe { libc::semop(self.0, change.as_mut_ptr(), 1) }).err().and_then(|error| error.raw_os_error())
    }

    fn set(&self, value: i32) -> Option<i32> {
        // SAFETY: SETVAL takes a number.
        let result = unsafe { libc::semctl(self.0, 0, libc::SETVAL, value) };
        check(result).err().and_then(|error| error.raw_os_error())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        // SAFETY: IPC_RMID takes no argument.
        unsafe { libc::semctl(self.0, 0, libc::IPC_RMID) };
    }
}

fn limits() -> Result {
    let set = Set::new()?;
    assert_eq!(set.set(32767), None);
    assert_eq!(set.set(32768), Some(libc::ERANGE));
    assert_eq!(set.set(-1), Some(libc::ERANGE));
    assert_eq!(set.add(FREE, 1, 0), Some(libc::ERANGE), "from 32767");
    // What is to be undone is a number, too: with SEM_UNDO on everything the process can hand over so often.
    assert_eq!(set.set(1), None);
    let mut handed_over = 0;
    let error = loop {
        if let Some(error) = set.add(FREE, -1, libc::SEM_UNDO) {
            break error;
        }
        assert_eq!(set.add(FULL, 1, libc::SEM_UNDO), None);
        handed_over += 1;
        assert_eq!(set.add(FULL, -1, 0), None, "taken by the other one");
        assert_eq!(set.add(FREE, 1, 0), None, "and given back");
    };
    assert_eq!((error, handed_over), (libc::ERANGE, 32767), "the next one is the 32,768th");
    Ok(())
}

fn interrupted() -> Result {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: a handler that does nothing is async-signal-safe.
    unsafe { sigaction(Signal::SIGUSR1, &action) }?;
    let key = key(8);
    let (tell, told) = mpsc::channel();
    let _mailbox = Mailbox::create(key)?;
    let waiter = thread::spawn(move || {
        let mailbox = Mailbox::open(key)?;
        let _ = tell.send(pthread_self());
        mailbox.take(&mut [0; MAX])
    });
    let thread = told.recv()?;
    while !waiter.is_finished() {
        // Again: one that comes before the wait begins is lost.
        pthread_kill(thread, Signal::SIGUSR1)?;
        thread::sleep(Duration::from_millis(2));
    }
    sysv_sem::remove(key)?;
    let taken = waiter.join().map_err(|_| "the waiter panicked")?;
    assert_eq!(taken.map_err(|error| error.kind()), Err(io::ErrorKind::Interrupted));
    Ok(())
}

/// A set whose owner this user is by the mere word of another one's, who made it and can still do anything with it.
fn given_away() -> Result<Completion> {
    const NOBODY: libc::uid_t = 65534;
    if !geteuid().is_root() {
        return Ok(Completion::ignored_with("only root can be two users"));
    }
    let key = key(9);
    let make = move || -> io::Result<()> {
        // Not libc's function, which would make all threads of the process somebody else.
        // SAFETY: the call takes three numbers.
        check(unsafe { libc::syscall(libc::SYS_setresuid, -1, NOBODY, -1) } as i32)?;
        // SAFETY: the call takes three numbers.
        let set = check(unsafe { libc::semget(key, 2, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) })?;
        // SAFETY: it is made of numbers.
        let mut stat: libc::semid_ds = unsafe { std::mem::zeroed() };
        (stat.sem_perm.uid, stat.sem_perm.mode) = (0, 0o600);
        // SAFETY: IPC_SET reads the new owner and mode from there.
        check(unsafe { libc::semctl(set, 0, libc::IPC_SET, &raw const stat) }).map(drop)
    };
    thread::spawn(make).join().map_err(|_| "a thread panicked")??;
    let refused = [Mailbox::open(key).map(drop), sysv_sem::remove(key)];
    // SAFETY: the call takes three numbers.
    let set = check(unsafe { libc::semget(key, 0, 0) })?;
    // SAFETY: IPC_RMID takes no argument.
    check(unsafe { libc::semctl(set, 0, libc::IPC_RMID) })?;
    for result in refused {
        assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::PermissionDenied));
    }
    Ok(Completion::Completed)
}

// ---- the two programs ----

fn command(program: &str, key: i32, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["--timeout", "20", "--endpoint", &format!("{key:#x}")]).args(args);
    command
}

/// Starts a receiver and waits until it is ready.
fn receiver(key: i32) -> Result<(Child, BufReader<ChildStderr>)> {
    let mut child = command(RECEIVER, key, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut stderr = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    stderr.read_line(&mut line)?;
    ensure(line.contains("ready"), || line)?;
    Ok((child, stderr))
}

/// Stops a process and waits until it stands still.
fn stop(child: &Child) -> Result {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGSTOP)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while !fs::read_to_string(format!("/proc/{}/stat", child.id()))?.contains(") T ") {
        ensure(Instant::now() < deadline, || "it does not stop".into())?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn killed_sender() -> Result {
    let key = key(5);
    let (child, _stderr) = receiver(key)?;
    let mut sender = command(SENDER, key, &[]).stdin(Stdio::piped()).spawn()?;
    sender.stdin.as_mut().ok_or("no standard input")?.write_all(b"one\ntwo\n")?;
    thread::sleep(Duration::from_millis(200));
    sender.kill()?;
    assert_eq!(sender.wait()?.signal(), Some(9));
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), &*output.stdout), (Some(3), &b"one\ntwo\n"[..]));
    Ok(())
}

fn ahead_by_one() -> Result {
    let key = key(6);
    let (child, _stderr) = receiver(key)?;
    stop(&child)?;
    let mut sender = Command::new(SENDER);
    sender.args(["--timeout", "0.3", "--endpoint", &format!("{key:#x}"), "--count", "100", "--size", "12"]);
    assert_cmd::Command::from_std(sender).assert().code(4);
    kill(Pid::from_raw(child.id() as i32), Signal::SIGCONT)?;
    let output = child.wait_with_output()?;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 12));
    Ok(())
}
