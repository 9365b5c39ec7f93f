//! What is special about System V message queues: types, keys, limits, waits without a time limit, and messages
//! that outlive the processes.
#![expect(unsafe_code, reason = "one thread becomes another user")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use harness::{NO_ARGS, Pair, Role, Signal, Trial, ensure};
use libtest_mimic::{Arguments, Completion, Failed};
use sysv_mq::sysv_mq::{self as mq, MAX_MESSAGE, Message, Queue};

const SENDER: &str = env!("CARGO_BIN_EXE_sysv-mq-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_sysv-mq-receiver");

type Result<T = Completion> = harness::Result<T>;

type Run = fn(&Trial) -> Result;

const TRIALS: &[(&str, Run)] = &[
    ("the_lowest_type_is_taken_first_and_the_end_last", types),
    ("a_type_that_does_not_exist_is_refused", bad_type),
    ("a_sender_is_ahead_by_msgmnb_bytes_or_as_many_messages", full),
    ("ipcs_shows_the_queue_while_it_runs", ipcs),
    ("a_wait_without_a_time_limit_is_ended_by_a_signal", bounded),
    ("both_are_told_that_somebody_has_removed_the_queue", ipcrm),
    ("a_new_receiver_does_not_deliver_a_dead_ones_messages", stale_messages),
    ("another_users_queue_is_neither_used_nor_removed", foreign_queue),
    ("a_low_sysctl_is_named", low_sysctl),
    ("a_message_longer_than_the_buffer_is_refused", too_long),
    ("a_buffer_that_is_too_small_gets_nothing_or_a_part", small_buffer),
    ("the_plain_programs_choose_by_type", plain_programs),
    ("perl_can_be_the_sender", perl),
    ("the_default_key_tells_chapter_and_user", default_key),
];

fn main() {
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

fn endpoint(trial: &Trial) -> &str {
    trial.endpoint().expect("a key")
}

fn key(trial: &Trial) -> i32 {
    u32::from_str_radix(&endpoint(trial)[2..], 16).expect("a key").cast_signed()
}

/// What a command prints; `None` where it is not installed.
fn output(command: &mut Command) -> Result<Option<Output>> {
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => Ok(Some(other?)),
    }
}

fn not_installed(command: &str) -> Result {
    Ok(Completion::ignored_with(format!("{command} is not installed")))
}

fn types(trial: &Trial) -> Result {
    let receiver = trial.receiver(["--show-type"])?;
    receiver.stop()?;
    trial.sender(["--type", "3,1,2,1", "three", "one", "two", "one again"])?.wait()?.expect(0)?;
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"one\none again\ntwo\nthree\n", "another order");
    let told = receiver.stderr();
    ensure!(told.contains("type 1, 10 bytes") && told.contains("type 3, 6 bytes"), "--show-type says {told:?}");
    Ok(Completion::Completed)
}

fn bad_type(trial: &Trial) -> Result {
    for bad in ["0", "-1", "2147483647", "1,,2", "first"] {
        let sender = trial.sender([&format!("--type={bad}"), "x"])?;
        sender.wait()?.expect(2)?;
        let told = sender.stderr();
        ensure!(told.lines().count() == 1 && told.contains("1 to 2147483646"), "{bad}: {told:?}");
    }
    Ok(Completion::Completed)
}

fn full(trial: &Trial) -> Result {
    let bytes: usize = fs::read_to_string("/proc/sys/kernel/msgmnb")?.trim().parse()?;
    for (size, room) in [(1024, bytes / 1024), (0, bytes)] {
        let receiver = trial.receiver(["--stats"])?;
        receiver.stop()?;
        let count = (room + 1).to_string();
        let sender = trial.launch(Role::Sender).args(["--count", &count, "--size", &size.to_string()]).timeout(0.5);
        sender.spawn()?.wait()?.expect(4)?;
        receiver.signal(Signal::CONT)?;
        receiver.wait()?.expect(3)?;
        ensure!(receiver.stdout().len() == room * size, "{} bytes came out", receiver.stdout().len());
    }
    Ok(Completion::Completed)
}

fn ipcs(trial: &Trial) -> Result {
    let receiver = trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    trial.sender(["hello", "world"])?.wait()?.expect(0)?;
    let listed = output(Command::new("ipcs").arg("-q"))?;
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(0)?;
    let Some(listed) = listed else { return not_installed("ipcs") };
    let listed = String::from_utf8(listed.stdout)?;
    let key = format!("{:#010x}", key(trial));
    let line = listed.lines().find(|line| line.starts_with(&key)).ok_or("ipcs does not list the queue")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    // key, msqid, owner, perms, used-bytes, messages: two and the end
    ensure!(words[3..] == ["600", "12", "3"], "ipcs lists {line:?}");
    Ok(Completion::Completed)
}

/// What the lesson lets one see with strace: the call has no time limit, and ends all the same.
fn bounded(trial: &Trial) -> Result {
    let trace = trial.path("trace").display().to_string();
    let mut command = Command::new("strace");
    command.args(["-f", "-o", &trace, "-e", "trace=msgrcv,tgkill", RECEIVER, "--timeout", "0.3"]);
    let Some(output) = output(command.args(["--endpoint", endpoint(trial)]))? else { return not_installed("strace") };
    let told = String::from_utf8_lossy(&output.stderr);
    if told.contains("ptrace") {
        return Ok(Completion::ignored_with(format!("strace may not trace here: {}", told.trim())));
    }
    ensure!(output.status.code() == Some(4), "{}: {told}", output.status);
    let trace = fs::read_to_string(trace)?;
    let call = trace.find("msgrcv(").ok_or("no msgrcv")?;
    let kick = trace.find("tgkill(").ok_or("no signal was sent")?;
    let end = trace.find("ERESTARTNOHAND").ok_or("msgrcv was not interrupted")?;
    ensure!(call < kick && kick < end && trace[kick..end].contains("SIGURG"), "another story:\n{trace}");
    Ok(Completion::Completed)
}

/// Is there no room for a message of 64 bytes?
fn is_full(key: i32) -> Result<bool> {
    let (limit, table) = (fs::read_to_string("/proc/sys/kernel/msgmnb")?, fs::read_to_string("/proc/sysvipc/msg")?);
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words[0] == key.to_string()).ok_or("the queue is gone")?;
    // key, msqid, perms, cbytes
    Ok(line[3].parse::<usize>()? + 64 > limit.trim().parse()?)
}

fn ipcrm(trial: &Trial) -> Result {
    let receiver = trial.receiver(NO_ARGS)?;
    let sender = trial.launch(Role::Sender).stdin_open("hello\n").spawn()?;
    receiver.wait_for_stdout(6)?;
    let remove = || output(Command::new("ipcrm").args(["-Q", endpoint(trial)]));
    if remove()?.is_none() {
        return not_installed("ipcrm");
    }
    receiver.wait()?.expect(1)?;
    let told = receiver.stderr();
    ensure!(told.contains("EIDRM") && told.contains("ipcrm"), "it says {told:?}");
    // Nothing tells a sender that is busy with its input.
    sender.signal(Signal::TERM)?;
    sender.wait()?.expect(143)?;

    let receiver = trial.receiver(NO_ARGS)?;
    receiver.stop()?;
    let sender = trial.sender(["--count", "100000"])?;
    while !is_full(key(trial))? {
        thread::sleep(Duration::from_millis(5));
    }
    remove()?;
    sender.wait()?.expect(3)?;
    ensure!(sender.stderr().contains("EIDRM"), "it says {:?}", sender.stderr());
    receiver.signal(Signal::CONT)?;
    receiver.wait()?.expect(1)?;
    Ok(Completion::Completed)
}

fn stale_messages(trial: &Trial) -> Result {
    let dead = trial.receiver(NO_ARGS)?;
    dead.stop()?;
    trial.sender(["old"])?.wait()?.expect(0)?;
    dead.signal(Signal::KILL)?;
    dead.wait()?;
    // The wrong way: without IPC_EXCL the queue opens as if it were new, and the dead program's message is in it.
    let mut message = Message::empty();
    let old = Queue::open(key(trial))?;
    old.take(1, &mut message)?;
    ensure!(message.text() == b"old\n", "the queue did not outlive the program");
    old.put(&message)?;
    let receiver = trial.receiver(NO_ARGS)?;
    trial.sender(["new"])?.wait()?.expect(0)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"new\n", "{:?} came out", String::from_utf8_lossy(&receiver.stdout()));
    Ok(Completion::Completed)
}

fn foreign_queue(trial: &Trial) -> Result {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Completion::ignored_with("only root can make another user's queue"));
    }
    let key = key(trial);
    let nobody = thread::spawn(move || {
        // SAFETY: the call takes three numbers. It is not seteuid(3), which for glibc means all threads.
        unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
        Queue::create(key).map(drop)
    });
    nobody.join().map_err(|_| "the other user panicked")??;
    let refused = |result: std::io::Result<()>| result.is_err_and(|error| error.raw_os_error() == Some(libc::EPERM));
    ensure!(refused(Queue::open(key).map(drop)), "it was opened");
    ensure!(refused(mq::remove(key)), "it was removed");
    trial.objects().iter().for_each(harness::Object::remove);
    Ok(Completion::Completed)
}

fn low_sysctl(trial: &Trial) -> Result {
    let script = "echo 4096 2>/dev/null >/proc/sys/kernel/msgmax || exit 99; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--ipc", "sh", "-c", script, "sh", RECEIVER, "--timeout", "1"]);
    let Some(output) = output(command.args(["--endpoint", endpoint(trial)]))? else { return not_installed("unshare") };
    let told = String::from_utf8_lossy(&output.stderr);
    let named = told.contains("kernel.msgmax is 4096") && told.contains(&format!("msgmax={MAX_MESSAGE}"));
    match output.status.code() {
        Some(1) if named => Ok(Completion::Completed),
        Some(1) if told.starts_with("unshare:") => {
            Ok(Completion::ignored_with(format!("no private IPC namespace here: {}", told.trim())))
        }
        Some(99 | 2) => Ok(Completion::ignored_with("the limits of a private IPC namespace cannot be set here")),
        other => Err(format!("{other:?}: {told}").into()),
    }
}

/// Where the system allows longer messages than this technique does, a foreign program may send one.
fn too_long(trial: &Trial) -> Result {
    let script = "echo 16384 2>/dev/null >/proc/sys/kernel/msgmax || exit 99
        shift; \"$@\" 2>\"$0\" & until grep -q ready \"$0\"; do kill -0 $! || break; done
        perl -e 'msgsnd(msgget(hex $ARGV[0], 0) // die, pack(\"l! a*\", 1, \"x\" x 8193), 0) or die \"$!\"' \"$3\" || exit 98
        wait $!; code=$?; cat \"$0\"; exit $code";
    let said = trial.file("said", b"")?;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--ipc", "sh", "-c", script, &said, "shifted", RECEIVER]);
    command.args(["--endpoint", endpoint(trial), "--timeout", "20"]);
    let Some(output) = output(&mut command)? else { return not_installed("unshare") };
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    match output.status.code() {
        Some(1) if told.contains("msgrcv ") && told.contains(": E2BIG") => Ok(Completion::Completed),
        Some(1) if told.starts_with("unshare:") => {
            Ok(Completion::ignored_with(format!("no private IPC namespace here: {}", told.trim())))
        }
        Some(98) if told.contains("not found") => not_installed("perl"),
        Some(99 | 2) => Ok(Completion::ignored_with("the limits of a private IPC namespace cannot be set here")),
        other => Err(format!("{other:?}: {told}").into()),
    }
}

/// The lesson's pitfall: `E2BIG`, or a part of the text where one asks for it.
fn small_buffer(trial: &Trial) -> Result {
    let queue = Queue::create(key(trial))?;
    let mut message = Message::empty();
    message.set(1, b"hello")?;
    queue.put(&message)?;
    let mut buffer = [0_u8; size_of::<libc::c_long>() + 2];
    let mut take = |flags| {
        // SAFETY: the call takes numbers, and finds the queue by its key.
        let id = unsafe { libc::msgget(key(trial), 0) };
        // SAFETY: there is room for a long and two bytes.
        let len = unsafe { libc::msgrcv(id, buffer.as_mut_ptr().cast(), 2, 0, flags | libc::IPC_NOWAIT) };
        nix::errno::Errno::result(len)
    };
    let results = [take(0), take(0), take(libc::MSG_NOERROR), take(libc::MSG_NOERROR)];
    mq::remove(key(trial))?;
    let too_big = Err(nix::Error::E2BIG);
    ensure!(results == [too_big, too_big, Ok(2), Err(nix::Error::ENOMSG)], "{results:?}");
    ensure!(buffer.ends_with(b"he"), "{buffer:?}");
    Ok(Completion::Completed)
}

/// The commands of the lesson, which stand in the head of `examples/sysv-mq-plain-receiver.rs` too.
fn plain_programs(trial: &Trial) -> Result {
    let examples = Path::new(RECEIVER).with_file_name("examples");
    let program = |end: &str| Command::new(examples.join(format!("sysv-mq-plain-{end}")));
    if !examples.join("sysv-mq-plain-receiver").exists() {
        return Ok(Completion::ignored_with("the examples have not been built"));
    }
    let key = endpoint(trial);
    let mut receiver = program("receiver");
    receiver.args([key, "2", "-9", "0"]);
    let receiver = thread::spawn(move || receiver.output());
    for (mtype, text) in [("3", "three"), ("1", "one"), ("2", "two")] {
        // Until the receiver has made the queue.
        while !program("sender").args([key, mtype, text]).output()?.status.success() {
            ensure!(!receiver.is_finished(), "the receiver has ended");
        }
    }
    let output = receiver.join().map_err(|_| "a thread panicked")??;
    let came = String::from_utf8(output.stdout)?;
    ensure!(output.status.success() && came == "type 2: two\ntype 1: one\ntype 3: three\n", "{came:?} came out");
    Ok(Completion::Completed)
}

/// The command of the lesson.
fn perl(trial: &Trial) -> Result {
    let receiver = trial.receiver(["--stats"])?;
    let lesson = include_str!("../README.md");
    let script =
        lesson.lines().find_map(|line| line.strip_prefix("perl -e '")?.strip_suffix('\'')).ok_or("no command")?;
    let sent = output(Command::new("perl").args(["-e", &script.replace("0xcafe", endpoint(trial))]))?;
    let Some(sent) = sent else {
        receiver.signal(Signal::TERM)?;
        return not_installed("perl");
    };
    ensure!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"hello\n", "{:?} came out", String::from_utf8_lossy(&receiver.stdout()));
    Ok(Completion::Completed)
}

/// Two techniques, or two users, that met at one key would remove each other's objects.
fn default_key(_: &Trial) -> Result {
    let expected = 0x1bc2_0000 | nix::unistd::geteuid().as_raw() & 0xffff;
    let args = common::Args::new(&sysv_mq::TECHNIQUE, common::Role::Receiver);
    ensure!(args.endpoint()? == format!("{expected:#x}"), "it is {}", args.endpoint()?);
    ensure!(args.key()?.cast_unsigned() == expected, "it is {:#x}", args.key()?);
    Ok(Completion::Completed)
}
