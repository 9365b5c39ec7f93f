//! What is special about sealed memfds: that a receiver believes in seals only, and what a message costs. And the control
//! socket, which is not special, but tested nowhere else.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::{env, fs, process, thread};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use memfd::channel::MAX_MESSAGE;
use memfd::memfd::sealed;
use memfd::scm_rights;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::{chown, geteuid};

const SENDER: &str = env!("CARGO_BIN_EXE_memfd-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_memfd-receiver");
/// The user `nobody`.
const NOBODY: u32 = 65534;

type Result<T = (), E = Failed> = std::result::Result<T, E>;

fn main() {
    let trials = vec![
        Trial::test("what_is_not_sealed_is_refused", unsealed),
        Trial::test("a_length_that_is_too_big_is_refused", hostile_length),
        Trial::test("short_and_long_messages_stay_in_order", mixed),
        Trial::test("a_threshold_out_of_range_is_refused", bad_threshold),
        Trial::ignorable_test("a_long_message_costs_five_calls_and_six", system_calls),
        Trial::ignorable_test("any_language_can_be_the_sender", lesson),
        Trial::test("without_seals_a_reader_is_deceived_and_killed", without_seals),
        Trial::test("the_pool_can_be_measured", pool),
        Trial::test("a_path_that_no_socket_can_have_is_refused_at_both_ends", long_path),
        Trial::test("a_second_connection_is_refused", second_connection),
        Trial::ignorable_test("another_user_is_turned_away", another_user),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A path in a folder of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Result<Place> {
        let folder = env::temp_dir().join(format!("memfd-programs-{}-{test}", process::id()));
        fs::create_dir(&folder)?;
        Ok(Place(folder.join("s")))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["--timeout", "20", "--endpoint"]).arg(&self.0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A receiver that listens.
    fn receiver(&self) -> Result<Child> {
        ready(self.command(RECEIVER).spawn()?)
    }

    /// A sender of somebody else's making.
    fn connect(&self) -> nix::Result<OwnedFd> {
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(&self.0)?)?;
        Ok(socket)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = self.0.parent() {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Waits for the line that says so.
fn ready(mut receiver: Child) -> Result<Child> {
    let mut line = String::new();
    if let Some(stderr) = receiver.stderr.as_mut() {
        BufReader::with_capacity(1, stderr).read_line(&mut line)?;
    }
    if line.contains(": ready ") { Ok(receiver) } else { Err(format!("not ready: {line}").into()) }
}

/// Checks the exit code and hands back what stands on standard error.
fn expect(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// It ends, with one line, before anything has come out.
fn refuses(receiver: Child, why: &str) -> Result {
    let output = receiver.wait_with_output()?;
    let said = expect(&output, 1);
    assert!(said.lines().count() == 1 && said.contains(why), "{said}");
    assert!(output.stdout.is_empty());
    Ok(())
}

fn unsealed() -> Result {
    let place = Place::new("unsealed")?;
    let receiver = place.receiver()?;
    let memfd = File::from(memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    memfd.write_all_at(b"trust me", 0)?;
    scm_rights::send(&place.connect()?, [&8_u32.to_be_bytes(), &[]], Some(&memfd.into()))?;
    refuses(receiver, "a memfd without all of its seals")
}

fn hostile_length() -> Result {
    let place = Place::new("hostile")?;
    let receiver = place.receiver()?;
    let len = MAX_MESSAGE as u32 + 1;
    scm_rights::send(&place.connect()?, [&len.to_be_bytes(), &[]], Some(&sealed(b"short")?))?;
    refuses(receiver, "a message of 16777217 bytes")
}

fn mixed() -> Result {
    let place = Place::new("mixed")?;
    let receiver = place.receiver()?;
    let mut sender = place.command(SENDER).args(["--large", "3000"]).stdin(Stdio::piped()).spawn()?;
    let lines: String = (0..300).map(|number| format!("{number:0$}\n", number * 37 % 6000)).collect();
    let mut input = sender.stdin.take().ok_or("piped")?;
    let to_send = lines.as_bytes();
    let output = thread::scope(|scope| {
        scope.spawn(move || input.write_all(to_send));
        receiver.wait_with_output()
    })?;
    expect(&sender.wait_with_output()?, 0);
    expect(&output, 0);
    assert!(output.stdout == lines.as_bytes(), "other bytes came out");
    Ok(())
}

fn bad_threshold() -> Result {
    let place = Place::new("threshold")?;
    for bad in ["0", "131073", "-1", "1k", ""] {
        let said = expect(&place.command(SENDER).arg(format!("--large={bad}")).output()?, 2);
        assert!(said.lines().count() == 1 && said.contains("1 to 131072"), "{said}");
    }
    Ok(())
}

/// The calls of the lesson's table, counted.
fn system_calls() -> Result<Completion> {
    const COUNT: u64 = 1000;
    let sender = &["memfd_create", "write", "fcntl", "sendmsg", "close"][..];
    let receiver = &["recvmsg", "fcntl", "statx", "mmap", "munmap", "close"][..];
    for (traced, expected) in [(SENDER, sender), (RECEIVER, receiver)] {
        let place = Place::new("calls")?;
        let counts = place.0.with_file_name("counts");
        let command = |program: &str| {
            let mut command = Command::new("strace");
            command.args(["--follow-forks", "--summary-only", "--output"]).arg(&counts).arg(program);
            let mut command = if program == traced { command } else { Command::new(program) };
            command.args(["--quiet", "--timeout", "30", "--endpoint"]).arg(&place.0);
            command
        };
        let Ok(mut receiver) = command(RECEIVER).args(["--output", "/dev/null"]).spawn() else {
            return Ok(Completion::ignored_with("strace is not installed"));
        };
        let sent = command(SENDER).args(["--size", "100000", "--count", &COUNT.to_string()]).status()?;
        assert!(receiver.wait()?.success() && sent.success(), "the pair failed under strace");
        let text = fs::read_to_string(&counts)?;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(calls), Some(name)) = (words.nth(3).and_then(|word| word.parse::<u64>().ok()), words.next_back())
            else {
                continue;
            };
            // A debug build asks before each close whether the descriptor is open, by F_GETFD.
            let times = if name == "fcntl" && cfg!(debug_assertions) { 2 } else { 1 };
            if expected.contains(&name) {
                assert!((times * COUNT..times * COUNT + 100).contains(&calls), "{calls} calls of {name}:\n{text}");
            } else {
                // The receiver writes its own output, and --timeout looks at the clock.
                let apart = ["write", "clock_gettime", "total"].contains(&name);
                assert!(apart || calls < COUNT, "{calls} calls of {name}:\n{text}");
            }
        }
    }
    Ok(Completion::Completed)
}

/// The Python program in README.md, as it stands there.
fn lesson() -> Result<Completion> {
    let place = Place::new("lesson")?;
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))?;
    let (_, rest) = readme.split_once("python3 - <<END\n").ok_or("no Python in README.md")?;
    let (program, _) = rest.split_once("\nEND\n").ok_or("no end of it")?;
    let program = program.replace("/tmp/talk/m", &place.0.display().to_string());
    let receiver = place.receiver()?;
    let Ok(output) = Command::new("python3").args(["-c", &program]).output() else {
        return Ok(Completion::ignored_with("python3 is not installed"));
    };
    expect(&output, 0);
    let output = receiver.wait_with_output()?;
    expect(&output, 0);
    assert_eq!(output.stdout, b"hello\nworld\n");
    Ok(Completion::Completed)
}

/// One of the example programs, built where this one was.
fn example(name: &str) -> Result<Command> {
    let program = env::current_exe()?;
    let folder = program.parent().and_then(|deps| deps.parent()).ok_or("no folder")?.join("examples");
    if !folder.join(name).exists() {
        return Err(format!("{} is missing: cargo build --examples", folder.join(name).display()).into());
    }
    Ok(Command::new(folder.join(name)))
}

fn without_seals() -> Result {
    let output = example("memfd-unsealed")?.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("checked it: pay Ann 5\n") && said.contains("says:      pay Eve 9\n"), "{said}");
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{said}");
    Ok(())
}

/// That it works, and not how long it takes.
fn pool() -> Result {
    let output = example("memfd-pool")?.arg("1").output()?;
    expect(&output, 0);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for (line, size) in said.lines().skip(1).zip(["65536", "1048576", "16777216"]) {
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(words.len() == 3 && words[0] == size, "{said}");
        assert!(words[1..].iter().all(|word| word.parse::<f64>().is_ok_and(|us| us > 0.0)), "{said}");
    }
    assert_eq!(said.lines().count(), 4, "{said}");
    Ok(())
}

fn long_path() -> Result {
    let place = Place::new("long")?;
    for program in [SENDER, RECEIVER] {
        let mut command = Command::new(program);
        command.arg("--endpoint").arg(place.0.with_file_name("x".repeat(120)));
        let said = expect(&command.output()?, 1);
        assert!(said.contains("ENAMETOOLONG") && said.contains("at most 107 bytes"), "{said}");
    }
    Ok(())
}

/// Once it has its sender, a receiver does not listen any more.
fn second_connection() -> Result {
    let place = Place::new("second")?;
    let mut receiver = place.receiver()?;
    let mut sender = place.command(SENDER).stdin(Stdio::piped()).spawn()?;
    let mut input = sender.stdin.take().ok_or("piped")?;
    input.write_all(b"one\n")?;
    receiver.stdout.as_mut().ok_or("piped")?.read_exact(&mut [0; 4])?;
    let refused = place.connect().err().map(|error| std::io::Error::from(error).kind());
    assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
    drop(input);
    expect(&sender.wait_with_output()?, 0);
    expect(&receiver.wait_with_output()?, 0);
    Ok(())
}

fn another_user() -> Result<Completion> {
    if !geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root, to be two users"));
    }
    let place = Place::new("foreign")?;
    let to_nobody = |place: &Place| chown(place.0.parent().unwrap_or(&place.0), Some(NOBODY.into()), None);
    to_nobody(&place)?;
    let receiver = ready(place.command(RECEIVER).uid(NOBODY).spawn()?)?;
    // Root may connect to anything. It is not served, and the receiver goes on waiting.
    let foreign = place.connect()?;
    let _ = scm_rights::send(&foreign, [&5_u32.to_be_bytes(), b"evil\n"], None);
    expect(&place.command(SENDER).uid(NOBODY).arg("good").output()?, 0);
    let output = receiver.wait_with_output()?;
    expect(&output, 0);
    assert_eq!(output.stdout, b"good\n");

    // The other way round, behind a lock file of ours: the listener is nobody's.
    let theirs = Place::new("foreign-listener")?;
    to_nobody(&theirs)?;
    let mut foreign = ready(theirs.command(RECEIVER).uid(NOBODY).spawn()?)?;
    let mut receiver = place.receiver()?;
    fs::rename(&theirs.0, &place.0)?;
    let said = expect(&place.command(SENDER).arg("secret").output()?, 1);
    assert!(said.contains("another user's process listens there"), "{said}");
    for child in [&mut foreign, &mut receiver] {
        child.kill()?;
        child.wait()?;
    }
    Ok(Completion::Completed)
}
