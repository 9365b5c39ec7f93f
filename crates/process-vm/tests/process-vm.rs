//! What is special about reading another process's memory: who may, and what the sender's word is worth.

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::{env, fs, process};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket, socketpair};
use nix::unistd::{chown, geteuid};
use process_vm::process_vm::{Reader, Writer, grant};

const SENDER: &str = env!("CARGO_BIN_EXE_process-vm-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_process-vm-receiver");
/// The user `nobody`.
const NOBODY: u32 = 65534;
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

/// A path in a folder of its own, which goes with it. Where root tests, all of it is nobody's, and so are the
/// programs: root may read everything.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Result<Place> {
        let folder = env::temp_dir().join(format!("process-vm-programs-{}-{test}", process::id()));
        fs::create_dir(&folder)?;
        if geteuid().is_root() {
            chown(&folder, Some(NOBODY.into()), None)?;
        }
        Ok(Place(folder.join("s")))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(["--timeout", "20", "--endpoint"]).arg(&self.0).stdin(Stdio::null());
        as_ordinary_user(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A receiver that listens.
    fn receiver(&self) -> Result<Child> {
        ready(self.command(RECEIVER).spawn()?)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(folder) = self.0.parent() {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn as_ordinary_user(command: &mut Command) -> &mut Command {
    if geteuid().is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
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

fn signal(child: &Child, signal: &str) -> Result {
    let status = Command::new("kill").args([signal, &child.id().to_string()]).status()?;
    if status.success() { Ok(()) } else { Err("kill failed".into()) }
}

fn ordinary_user() -> Result<Completion> {
    let place = Place::new("ordinary")?;
    let receiver = place.receiver()?;
    expect(&place.command(SENDER).args(["hello", "world"]).output()?, 0);
    let output = receiver.wait_with_output()?;
    expect(&output, 0);
    assert_eq!(output.stdout, b"hello\nworld\n");
    Ok(Completion::Completed)
}

/// Who may run a program but not read its file may not look into its process either.
fn not_dumpable() -> Result {
    let place = Place::new("dumpable")?;
    let sender = place.0.with_file_name("sender");
    fs::copy(SENDER, &sender)?;
    fs::set_permissions(&sender, fs::Permissions::from_mode(0o111))?;
    let receiver = place.receiver()?;
    let said = expect(&place.command(&sender.display().to_string()).arg("secret").output()?, 1);
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

/// The answers of a strict Yama or a container, and of a kernel without the call.
fn forbidden() -> Result<Completion> {
    for (errno, advice) in [("EPERM", "--cap-add SYS_PTRACE"), ("ENOSYS", "this kernel has no process_vm_readv(2)")] {
        let place = Place::new(errno)?;
        let inject = format!("inject=process_vm_readv:error={errno}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-o", "/dev/null", "-e", "trace=process_vm_readv", "-e", &inject, RECEIVER]);
        strace.args(["--timeout", "20", "--endpoint"]).arg(&place.0);
        as_ordinary_user(&mut strace).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(receiver) = strace.spawn() else { return Ok(Completion::ignored_with("strace is not installed")) };
        let receiver = ready(receiver)?;
        let said = expect(&place.command(SENDER).arg("hello").output()?, 77);
        let heard = expect(&receiver.wait_with_output()?, 77);
        for line in [said, heard] {
            assert!(line.lines().count() == 1 && line.contains(advice), "{line}");
        }
    }
    Ok(Completion::Completed)
}

/// A sender of somebody else's making.
fn connect_to(place: &Place) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(&place.0)?)?;
    Ok(socket)
}

fn wrong_address() -> Result<Completion> {
    for (address, len, why) in [(0_u64, 5_u64, "EFAULT"), (0, 1 << 40, "a message of 1099511627776 bytes")] {
        let place = Place::new("wrong")?;
        // As this user: it is this process that is to be read.
        let mut receiver = Command::new(RECEIVER);
        receiver.args(["--timeout", "20", "--endpoint"]).arg(&place.0);
        let receiver = ready(receiver.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)?;
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
    let place = Place::new("dead")?;
    let receiver = place.receiver()?;
    signal(&receiver, "-STOP")?;
    let mut sender = place.command(SENDER).arg("last words").spawn()?;
    // Once it waits in recv(2), it has offered.
    let call = format!("{} ", libc::SYS_recvfrom);
    let syscall = format!("/proc/{}/syscall", sender.id());
    while !fs::read_to_string(&syscall)?.starts_with(&call) {
        std::thread::yield_now();
        assert_eq!(sender.try_wait()?, None, "the sender has ended");
    }
    sender.kill()?;
    sender.wait()?;
    signal(&receiver, "-CONT")?;
    let output = receiver.wait_with_output()?;
    let said = expect(&output, 3);
    assert!(output.stdout.is_empty() && said.contains("the sender ended without finishing"), "{said}");
    Ok(Completion::Completed)
}

/// The calls of the lesson's table, counted.
fn system_calls() -> Result<Completion> {
    const COUNT: u64 = 1000;
    for (traced, expected) in
        [(SENDER, &["sendto", "recvfrom"][..]), (RECEIVER, &["recvfrom", "process_vm_readv", "sendto"])]
    {
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
            if expected.contains(&name) {
                assert!((COUNT..COUNT + 20).contains(&calls), "{calls} calls of {name}:\n{text}");
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
    let program = program.replace("/tmp/talk/p", &place.0.display().to_string());
    let receiver = place.receiver()?;
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
