//! What is special about TCP: ports, addresses, and a receiver that answers.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const SENDER: &str = env!("CARGO_BIN_EXE_tcp-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_tcp-receiver");
const LONG: Duration = Duration::from_secs(10);
/// The user `nobody`.
const NOBODY: u32 = 65534;
const ACK: [u8; 1] = [6];

fn command(program: &str, endpoint: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--endpoint", endpoint]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(program: &str, endpoint: &str, words: &[&str]) -> assert_cmd::assert::Assert {
    assert_cmd::Command::new(program).args(["--endpoint", endpoint]).args(words).timeout(LONG).assert()
}

/// A receiver that listens, and where.
fn listening(mut receiver: Child) -> (Child, String) {
    let mut line = String::new();
    let mut stderr = BufReader::with_capacity(1, receiver.stderr.as_mut().unwrap());
    stderr.read_line(&mut line).unwrap();
    let endpoint = line.trim_end().rsplit_once(": ready ").unwrap_or_else(|| panic!("{line}")).1;
    (receiver, endpoint.to_owned())
}

fn receiver() -> (Child, String) {
    listening(command(RECEIVER, "127.0.0.1:0").spawn().unwrap())
}

/// An address where nobody listens, below the ports that the kernel gives away.
fn nobody_there(port: u16) -> String {
    format!("127.0.0.1:{}", 12_000 + (std::process::id() % 500) as u16 * 16 + port)
}

fn ended(child: Child) -> (Option<i32>, Vec<u8>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn stderr(run: &assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&run.get_output().stderr).into_owned()
}

#[test]
fn port_0_takes_a_free_one_and_says_which() {
    let (receiver, endpoint) = receiver();
    assert!(endpoint.starts_with("127.0.0.1:") && !endpoint.ends_with(":0"), "{endpoint}");
    run(SENDER, &endpoint, &["hello"]).success();
    assert_eq!(ended(receiver).1, b"hello\n");
}

#[test]
fn any_program_can_be_the_sender() {
    let (receiver, endpoint) = receiver();
    let mut stream = TcpStream::connect(endpoint).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, ACK);
    stream.write_all(b"\0\0\0\x06hello\n\0\0\0\0\xff\xff\xff\xff").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, ACK);
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]));
    assert!(stderr.contains("received 2 messages, 6 bytes"), "{stderr}");
}

/// All that was written has been read, and still the sender must not take the end of file for an answer.
#[test]
fn a_receiver_that_ends_without_an_answer_is_a_death() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sender = command(SENDER, &listener.local_addr().unwrap().to_string()).arg("hello").spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(&ACK).unwrap();
    stream.read_exact(&mut [0; 14]).unwrap();
    drop(stream);
    let (code, _, stderr) = ended(sender);
    assert_eq!(code, Some(3), "{stderr}");
}

/// It has said that it is our turn and is gone before a byte was sent: nothing is lost, and the next one may come.
#[test]
fn a_receiver_that_ends_before_the_first_message_is_waited_for_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let sender = command(SENDER, &endpoint).arg("hello").spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    kill(Pid::from_raw(sender.id() as i32), Signal::SIGSTOP).unwrap();
    let _ = stream.write_all(&ACK);
    drop((stream, listener));
    kill(Pid::from_raw(sender.id() as i32), Signal::SIGCONT).unwrap();
    let run = run(RECEIVER, &endpoint, &[]).success();
    assert_eq!(run.get_output().stdout, b"hello\n");
    assert_eq!(ended(sender).0, Some(0));
}

#[test]
fn another_protocol_is_told_from_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sender = command(SENDER, &listener.local_addr().unwrap().to_string()).arg("hello").spawn().unwrap();
    listener.accept().unwrap().0.write_all(b"220 smtp.example\r\n").unwrap();
    let (code, _, stderr) = ended(sender);
    assert!(code == Some(1) && stderr.contains("is no tcp-receiver"), "{stderr}");
}

#[test]
fn a_second_receiver_is_refused_before_and_during_the_conversation() {
    let (mut first, endpoint) = receiver();
    let run_second = || stderr(&run(RECEIVER, &endpoint, &["--timeout", "5"]).code(1));
    assert!(run_second().contains("EADDRINUSE"));
    let mut sender = command(SENDER, &endpoint).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    first.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    assert!(run_second().contains("EADDRINUSE"));
    drop(input);
    assert_eq!((ended(sender).0, ended(first).0), (Some(0), Some(0)));
}

/// Two senders, two receivers one after the other: each sender is served or waits, and none talks to nobody.
#[test]
fn a_second_sender_waits_for_the_next_receiver() {
    let endpoint = nobody_there(0);
    for _ in 0..5 {
        let senders = ["one", "two"].map(|word| command(SENDER, &endpoint).arg(word).spawn().unwrap());
        let mut words = Vec::new();
        for _ in 0..2 {
            let run = run(RECEIVER, &endpoint, &["--quiet"]).success();
            words.push(String::from_utf8_lossy(&run.get_output().stdout).into_owned());
        }
        words.sort();
        assert_eq!(words, ["one\n", "two\n"]);
        assert!(senders.map(|sender| ended(sender).0) == [Some(0); 2]);
    }
}

#[test]
fn an_interrupt_ends_the_wait_for_a_receiver() {
    let endpoint = nobody_there(1);
    let mut sender = command(SENDER, &endpoint).arg("hello").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(sender.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("tcp-sender: waiting for a receiver at {endpoint}\n"));
    let started = Instant::now();
    kill(Pid::from_raw(sender.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(ended(sender).0, Some(130));
    assert!(started.elapsed() < Duration::from_millis(500));
}

#[test]
fn nobody_comes_in_time() {
    let endpoint = nobody_there(2);
    let said = stderr(&run(SENDER, &endpoint, &["--timeout", "0.3", "hello"]).code(4));
    assert!(said.contains(&format!("no receiver came to {endpoint}: nothing happened for 0.3 s")), "{said}");
    let said = stderr(&run(RECEIVER, &endpoint, &["--timeout", "0.3"]).code(4));
    assert!(said.contains(&endpoint), "{said}");
}

/// The kernel makes the connection although nobody accepts it, and even takes what is written.
#[test]
fn a_receiver_that_does_not_accept_is_waited_for() {
    let (mut receiver, endpoint) = receiver();
    let pid = Pid::from_raw(receiver.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    run(SENDER, &endpoint, &["--timeout", "0.3", "hello"]).code(4);
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

#[test]
fn addresses_are_checked() {
    for bad in ["", "1.2.3.4", ":80", "127.0.0.1:70000", "::1:80", "a b:80", "host:+1", "[::1]", "127.0.0.1:x"] {
        for program in [SENDER, RECEIVER] {
            run(program, bad, &[]).code(2);
        }
    }
    run(SENDER, "127.0.0.1:0", &["hello"]).code(2);
    let said = stderr(&run(RECEIVER, "192.0.2.1:20000", &[]).code(1));
    assert!(said.contains("it is not an address of this machine"), "{said}");
    let said = stderr(&run(SENDER, "no-such-host.invalid:20000", &["hello"]).code(1));
    assert!(said.contains("look up no-such-host.invalid:20000"), "{said}");
}

#[test]
fn a_host_may_be_named() {
    let (receiver, endpoint) = listening(command(RECEIVER, "localhost:0").spawn().unwrap());
    let port = endpoint.rsplit_once(':').unwrap().1;
    run(SENDER, &format!("localhost:{port}"), &["hello"]).success();
    assert_eq!(ended(receiver).1, b"hello\n");
}

/// Small messages are not held back: 20 of them, each sent when the one before has arrived.
#[test]
fn small_messages_leave_at_once() {
    let (mut receiver, endpoint) = receiver();
    let mut sender = command(SENDER, &endpoint).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    let started = Instant::now();
    for _ in 0..20 {
        input.write_all(b"x\n").unwrap();
        receiver.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    }
    assert!(started.elapsed() < Duration::from_millis(600), "{:?}", started.elapsed());
    drop(input);
    assert_eq!((ended(sender).0, ended(receiver).0), (Some(0), Some(0)));
}

/// Both ends have a port of 127.0.0.1 and nothing else that would tell them from each other's users.
#[test]
#[ignore = "needs root, to be two users"]
fn another_user_is_turned_away() {
    // Who connects to our receiver: dropped, and the receiver goes on waiting.
    let (mine, endpoint) = receiver();
    let (host, port) = endpoint.split_once(':').unwrap();
    let line = format!("exec 3<>/dev/tcp/{host}/{port}; printf '\\0\\0\\0\\5evil\\n\\377\\377\\377\\377' >&3; cat <&3");
    let mut foreign = Command::new("bash");
    foreign.args(["-c", &line]).uid(NOBODY).stdout(Stdio::piped()).stderr(Stdio::null());
    assert_eq!(foreign.output().unwrap().stdout, b"");
    run(SENDER, &endpoint, &["good"]).success();
    assert_eq!(ended(mine).1, b"good\n");
    // Who listens at our port: gets nothing.
    let (theirs, endpoint) = listening(command(RECEIVER, "127.0.0.1:0").uid(NOBODY).spawn().unwrap());
    let said = stderr(&run(SENDER, &endpoint, &["secret"]).code(1));
    assert!(said.contains("another user's process listens there"), "{said}");
    let good = command(SENDER, &endpoint).arg("good").uid(NOBODY).spawn().unwrap();
    assert_eq!(ended(good).0, Some(0));
    assert_eq!(ended(theirs).1, b"good\n");
}

#[test]
fn a_connection_that_says_nothing_is_a_sender_that_died() {
    let (receiver, endpoint) = receiver();
    let stream = TcpStream::connect(&endpoint).unwrap();
    stream.try_clone().unwrap().read_exact(&mut [0]).unwrap();
    assert_eq!(TcpStream::connect(&endpoint).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    drop(stream);
    assert_eq!(ended(receiver).0, Some(3));
}
