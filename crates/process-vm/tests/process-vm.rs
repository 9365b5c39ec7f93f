//! What is special about reading another process's memory: who may, and what the sender's word is worth.

use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::{env, fs, process};

use harness::pid::{go_on, stop};
use harness::program::{NOBODY, command, expect, ready};
use harness::{Place, Role, strace};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket, socketpair};
use nix::unistd::geteuid;
use process_vm::process_vm::{Reader, Writer, grant};

const SENDER: &str = env!("CARGO_BIN_EXE_process-vm-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_process-vm-receiver");
/// Makes this program play one of the parts below instead of testing.
const PART: &str = "PROCESS_VM_TEST_PART";

type Result<T = (), E = Failed> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let part = match env::var(PART).as_deref() {
        Ok("reader") => play_reader(),
        Ok("sender of a child") => play_sender_of_a_child(),
        _ => {
            let trials = vec![
                Trial::test("a_program_that_is_not_dumpable_is_not_read", not_dumpable),
                Trial::ignorable_test("another_users_memory_is_not_read", another_user),
                Trial::ignorable_test("yama_wants_a_grant", yama),
                Trial::ignorable_test("an_ordinary_user_may_read_an_own_process", || permitted(ordinary_user)),
                Trial::ignorable_test("what_the_machine_forbids_is_exit_code_77", || permitted(forbidden)),
                Trial::ignorable_test("a_wrong_address_ends_the_conversation", || permitted(wrong_address)),
                Trial::ignorable_test("what_a_dead_process_offers_is_no_message", || permitted(dead_offer)),
                Trial::ignorable_test("one_system_call_copies_a_message", || permitted(system_calls)),
                Trial::ignorable_test("any_language_can_be_the_sender", || permitted(lesson)),
            ];
            return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
        }
    };
    match part {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{}", error.message().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn ptrace_scope() -> String {
    fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default().trim().to_owned()
}

/// A trial that cannot be made where nobody may read anybody.
fn permitted(trial: fn() -> Result<Completion>) -> Result<Completion> {
    match ptrace_scope().as_str() {
        scope @ ("2" | "3") => Ok(Completion::ignored_with(format!("kernel.yama.ptrace_scope is {scope}"))),
        _ => trial(),
    }
}

/// Where root tests, the folder is nobody's, and so are the programs: root may read everything.
fn place() -> Place {
    if geteuid().is_root() { Place::of_nobody() } else { Place::new() }
}

fn as_ordinary_user(command: &mut Command) -> &mut Command {
    if geteuid().is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
}

fn ordinary(program: &str, place: &Place) -> Command {
    let mut command = command(program, &place.path);
    as_ordinary_user(&mut command).args(["--timeout", "20"]);
    command
}

/// A receiver that listens.
fn receiver(place: &Place) -> Result<Child> {
    Ok(ready(ordinary(RECEIVER, place).spawn()?).0)
}

fn ordinary_user() -> Result<Completion> {
    let place = place();
    let receiver = receiver(&place)?;
    expect(&ordinary(SENDER, &place).args(["hello", "world"]).output()?, 0);
    let output = receiver.wait_with_output()?;
    expect(&output, 0);
    assert_eq!(output.stdout, b"hello\nworld\n");
    Ok(Completion::Completed)
}

/// Who may run a program but not read its file may not look into its process either.
fn not_dumpable() -> Result {
    let place = place();
    let sender = place.path.with_file_name("sender");
    fs::copy(SENDER, &sender)?;
    fs::set_permissions(&sender, fs::Permissions::from_mode(0o111))?;
    let receiver = receiver(&place)?;
    let said = expect(&ordinary(&sender.display().to_string(), &place).arg("secret").output()?, 1);
    let output = receiver.wait_with_output()?;
    let heard = expect(&output, 1);
    for line in [said, heard] {
        assert!(line.contains("EPERM") && line.contains("the sender is not dumpable"), "{line}");
    }
    assert!(output.stdout.is_empty());
    Ok(())
}

/// A process with a socket as its standard input, which reads one message and prints it.
fn start_reader(socket: OwnedFd, ordinary: bool) -> Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    if ordinary {
        as_ordinary_user(&mut command);
    }
    command.env(PART, "reader").stdin(Stdio::from(socket)).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

fn play_reader() -> Result {
    let reader = Reader::new(io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut buffer = [0; 64];
    let len = reader.take(&mut buffer)?.ok_or("the end")?;
    Ok(io::stdout().write_all(&buffer[..len])?)
}

fn sockets() -> Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The kernel's own answer, where nobody has asked the socket who is there.
fn another_user() -> Result<Completion> {
    if !geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root, to be two users"));
    }
    let (ours, theirs) = sockets()?;
    let writer = Writer::new(ours)?;
    let reader = start_reader(theirs, true)?;
    let refused = writer.offer(b"root's secret")?.taken().err().ok_or("another user has read it")?;
    assert_eq!(refused.raw_os_error(), Some(Errno::EPERM as i32));
    assert!(reader.wait_with_output()?.stdout.is_empty());
    Ok(Completion::Completed)
}

/// Where Yama guards the machine, a child does not read its parent's memory unless it is named.
fn yama() -> Result<Completion> {
    if ptrace_scope() != "1" {
        return Ok(Completion::ignored_with("no Yama here, or kernel.yama.ptrace_scope is not 1"));
    }
    let mut command = Command::new(env::current_exe()?);
    let output = as_ordinary_user(command.env(PART, "sender of a child")).output()?;
    expect(&output, 0);
    Ok(Completion::Completed)
}

fn play_sender_of_a_child() -> Result {
    for (to, permitted) in [("nobody", false), ("the child", true), ("its parent", true), ("nobody again", false)] {
        let (ours, theirs) = sockets()?;
        // The socket tells the pid of who has made both ends of it, and `new` grants to that process, which is this one.
        let writer = Writer::new(ours)?;
        let reader = start_reader(theirs, false)?;
        grant(match to {
            "the child" => reader.id() as i32,
            // A grant is one to all descendants.
            "its parent" => process::id() as i32,
            _ => 0,
        })?;
        let taken = writer.offer(b"hello")?.taken().map_err(|error| error.raw_os_error());
        let output = reader.wait_with_output()?;
        let expected = if permitted { (Ok(()), &b"hello"[..]) } else { (Err(Some(Errno::EPERM as i32)), &b""[..]) };
        if (taken, &output.stdout[..]) != expected {
            return Err(format!("granted to {to}: {taken:?}, {output:?}").into());
        }
    }
    Ok(())
}

/// The answers of a strict Yama or a container, and of a kernel without the call; also to a sender that is only about to
/// wait for them when the receiver has ended already.
fn forbidden() -> Result<Completion> {
    if !strace::works() {
        return Ok(Completion::ignored_with(strace::NONE));
    }
    let not_permitted = ("EPERM", "--cap-add SYS_PTRACE");
    let not_there = ("ENOSYS", "this kernel has no process_vm_readv(2)");
    for ((errno, advice), late) in [(not_permitted, false), (not_there, false), (not_permitted, true)] {
        let place = place();
        let receiver = traced("process_vm_readv", &format!("error={errno}"), RECEIVER, &place).spawn()?;
        let (receiver, _) = ready(receiver);
        let mut sender = match late {
            true => traced("sendto", "delay_exit=300000", SENDER, &place),
            false => ordinary(SENDER, &place),
        };
        let said = expect(&sender.arg("hello").output()?, 77);
        let heard = expect(&receiver.wait_with_output()?, 77);
        for line in [said, heard] {
            assert!(line.lines().count() == 1 && line.contains(advice), "{line}");
        }
    }
    Ok(Completion::Completed)
}

/// A program with whose system call strace(1) interferes.
fn traced(call: &str, how: &str, program: &str, place: &Place) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={call}:{how}")]);
    strace.args([program, "--timeout", "20", "--endpoint"]).arg(&place.path);
    as_ordinary_user(&mut strace).stdout(Stdio::piped()).stderr(Stdio::piped());
    strace
}

/// A sender of somebody else's making.
fn connect_to(place: &Place) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(&place.path)?)?;
    Ok(socket)
}

fn wrong_address() -> Result<Completion> {
    for (address, len, why) in [(0_u64, 5_u64, "EFAULT"), (0, 1 << 40, "a message of 1099511627776 bytes")] {
        let place = place();
        // As this user: it is this process that is to be read.
        let (receiver, _) = ready(command(RECEIVER, &place.path).args(["--timeout", "20"]).spawn()?);
        let socket = connect_to(&place)?;
        send(socket.as_raw_fd(), &[address.to_ne_bytes(), len.to_ne_bytes()].concat(), MsgFlags::empty())?;
        let output = receiver.wait_with_output()?;
        let said = expect(&output, 1);
        assert!(said.lines().count() == 1 && said.contains(why), "{said}");
        assert!(output.stdout.is_empty());
    }
    Ok(Completion::Completed)
}

/// The offer is in the socket and its sender is not there any more: nothing to be read, nothing that was handed over.
fn dead_offer() -> Result<Completion> {
    let place = place();
    let receiver = receiver(&place)?;
    stop(&receiver);
    let mut sender = ordinary(SENDER, &place).arg("last words").spawn()?;
    // Once it waits in recv(2), it has offered.
    let call = format!("{} ", libc::SYS_recvfrom);
    let syscall = format!("/proc/{}/syscall", sender.id());
    while !fs::read_to_string(&syscall)?.starts_with(&call) {
        std::thread::yield_now();
        assert_eq!(sender.try_wait()?, None, "the sender has ended");
    }
    sender.kill()?;
    sender.wait()?;
    go_on(&receiver);
    let output = receiver.wait_with_output()?;
    let said = expect(&output, 3);
    assert!(output.stdout.is_empty() && said.contains("the sender ended without finishing"), "{said}");
    Ok(Completion::Completed)
}

/// The calls of the lesson's table, counted.
fn system_calls() -> Result<Completion> {
    const COUNT: u64 = 1000;
    let sender = &[("sendto", 1), ("recvfrom", 1)][..];
    let receiver = &[("recvfrom", 1), ("process_vm_readv", 1), ("sendto", 1)][..];
    for (role, expected) in [(Role::Sender, sender), (Role::Receiver, receiver)] {
        let place = place();
        let words = ["--size", "100000", "--count", &COUNT.to_string()];
        let Some(counts) = strace::calls(role, [SENDER, RECEIVER], &place.path, &words)? else {
            return Ok(Completion::ignored_with(strace::NONE));
        };
        strace::check(&counts, COUNT, expected, 20)?;
    }
    Ok(Completion::Completed)
}

/// The Python program in README.md, as it stands there.
fn lesson() -> Result<Completion> {
    let place = place();
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))?;
    let (_, rest) = readme.split_once("python3 - <<END\n").ok_or("no Python in README.md")?;
    let (program, _) = rest.split_once("\nEND\n").ok_or("no end of it")?;
    let program = program.replace("/tmp/talk/p", &place.path.display().to_string());
    let receiver = receiver(&place)?;
    let mut python = Command::new("python3");
    let Ok(output) = as_ordinary_user(&mut python).args(["-c", &program]).output() else {
        return Ok(Completion::ignored_with("python3 is not installed"));
    };
    expect(&output, 0);
    let output = receiver.wait_with_output()?;
    expect(&output, 0);
    assert_eq!(output.stdout, b"hello\n");
    Ok(Completion::Completed)
}
