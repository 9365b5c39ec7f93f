//! What is special about sealed memfds: that a receiver believes in seals only, and what a message costs. And the control
//! socket, which is not special, but tested nowhere else.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use harness::program::{NOBODY, command, example, expect, ready};
use harness::{Place, Role, socket_path, strace};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use memfd::channel::MAX_MESSAGE;
use memfd::memfd::sealed;
use memfd::scm_rights;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::unistd::geteuid;

const SENDER: &str = env!("CARGO_BIN_EXE_memfd-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_memfd-receiver");

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

fn patient(program: &str, place: &Place) -> Command {
    let mut command = command(program, &place.path);
    command.args(["--timeout", "20"]);
    command
}

/// A receiver that listens.
fn receiver(place: &Place) -> Result<Child> {
    Ok(ready(patient(RECEIVER, place).spawn()?).0)
}

/// A sender of somebody else's making.
fn connect_to(path: &Path) -> std::io::Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
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
    let place = Place::new();
    let receiver = receiver(&place)?;
    let memfd = File::from(memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    memfd.write_all_at(b"trust me", 0)?;
    scm_rights::send(&connect_to(&place.path)?, [&8_u32.to_be_bytes(), &[]], Some(&memfd.into()))?;
    refuses(receiver, "a memfd without all of its seals")
}

fn hostile_length() -> Result {
    let place = Place::new();
    let receiver = receiver(&place)?;
    let len = MAX_MESSAGE as u32 + 1;
    scm_rights::send(&connect_to(&place.path)?, [&len.to_be_bytes(), &[]], Some(&sealed(b"short")?))?;
    refuses(receiver, "a message of 16777217 bytes")
}

fn mixed() -> Result {
    let place = Place::new();
    let receiver = receiver(&place)?;
    let mut sender = patient(SENDER, &place).args(["--large", "3000"]).stdin(Stdio::piped()).spawn()?;
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
    let place = Place::new();
    for bad in ["0", "131073", "-1", "1k", ""] {
        let said = expect(&patient(SENDER, &place).arg(format!("--large={bad}")).output()?, 2);
        assert!(said.lines().count() == 1 && said.contains("1 to 131072"), "{said}");
    }
    Ok(())
}

/// The calls of the lesson's table, counted.
fn system_calls() -> Result<Completion> {
    const COUNT: u64 = 1000;
    // A debug build asks before each close whether the descriptor is open, by F_GETFD.
    let fcntl = ("fcntl", if cfg!(debug_assertions) { 2 } else { 1 });
    let sender = &[("memfd_create", 1), ("write", 1), fcntl, ("sendmsg", 1), ("close", 1)][..];
    let receiver = &[("recvmsg", 1), fcntl, ("lseek", 1), ("mmap", 1), ("munmap", 1), ("close", 1)][..];
    for (role, expected) in [(Role::Sender, sender), (Role::Receiver, receiver)] {
        let place = Place::new();
        let words = ["--size", "100000", "--count", &COUNT.to_string()];
        let Some(counts) = strace::calls(role, [SENDER, RECEIVER], &place.path, &words)? else {
            return Ok(Completion::ignored_with(strace::NONE));
        };
        strace::check(&counts, COUNT, expected, 100)?;
    }
    Ok(Completion::Completed)
}

/// The Python program in README.md, as it stands there.
fn lesson() -> Result<Completion> {
    let place = Place::new();
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))?;
    let (_, rest) = readme.split_once("python3 - <<END\n").ok_or("no Python in README.md")?;
    let (program, _) = rest.split_once("\nEND\n").ok_or("no end of it")?;
    let program = program.replace("/tmp/talk/m", &place.path.display().to_string());
    let receiver = receiver(&place)?;
    let Ok(output) = Command::new("python3").args(["-c", &program]).output() else {
        return Ok(Completion::ignored_with("python3 is not installed"));
    };
    expect(&output, 0);
    let output = receiver.wait_with_output()?;
    expect(&output, 0);
    assert_eq!(output.stdout, b"hello\nworld\n");
    Ok(Completion::Completed)
}

fn without_seals() -> Result {
    let output = example("memfd-unsealed").output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("checked it: pay Ann 5\n") && said.contains("says:      pay Eve 9\n"), "{said}");
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{said}");
    Ok(())
}

/// That it works, and not how long it takes.
fn pool() -> Result {
    let output = example("memfd-pool").arg("1").output()?;
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
    socket_path::a_path_that_no_socket_can_have_is_refused_at_both_ends(SENDER, RECEIVER);
    Ok(())
}

fn second_connection() -> Result {
    socket_path::a_second_connection_is_refused(SENDER, RECEIVER, connect_to);
    Ok(())
}

fn another_user() -> Result<Completion> {
    if !geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root, to be two users"));
    }
    let place = Place::of_nobody();
    let (receiver, _) = ready(patient(RECEIVER, &place).uid(NOBODY).spawn()?);
    // Root may connect to anything. It is not served, and the receiver goes on waiting.
    let foreign = connect_to(&place.path)?;
    let _ = scm_rights::send(&foreign, [&5_u32.to_be_bytes(), b"evil\n"], None);
    expect(&patient(SENDER, &place).uid(NOBODY).arg("good").output()?, 0);
    let output = receiver.wait_with_output()?;
    expect(&output, 0);
    assert_eq!(output.stdout, b"good\n");

    // The other way round.
    let why = ["another user's process listens there"];
    socket_path::another_users_receiver_is_turned_down(SENDER, RECEIVER, &why);
    Ok(Completion::Completed)
}
