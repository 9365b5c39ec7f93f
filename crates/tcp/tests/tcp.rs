//! What is special about TCP: ports, addresses, and a receiver that answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::TcpStreamExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use harness::pid::{go_on, stop};
use harness::port::{self, nobody_there};
use harness::program::{LONG, NOBODY, command, ended, ready, run, said};

const SENDER: &str = env!("CARGO_BIN_EXE_tcp-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_tcp-receiver");
const ACK: [u8; 1] = [6];

fn receiver() -> (Child, String) {
    ready(command(RECEIVER, "127.0.0.1:0").spawn().unwrap())
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
    let sender = command(SENDER, listener.local_addr().unwrap().to_string()).arg("hello").spawn().unwrap();
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
    stop(&sender);
    let _ = stream.write_all(&ACK);
    drop((stream, listener));
    go_on(&sender);
    let run = run(RECEIVER, &endpoint, &[]).success();
    assert_eq!(run.get_output().stdout, b"hello\n");
    assert_eq!(ended(sender).0, Some(0));
}

#[test]
fn another_protocol_is_told_from_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sender = command(SENDER, listener.local_addr().unwrap().to_string()).arg("hello").spawn().unwrap();
    listener.accept().unwrap().0.write_all(b"220 smtp.example\r\n").unwrap();
    let (code, _, stderr) = ended(sender);
    assert!(code == Some(1) && stderr.contains("is no tcp-receiver"), "{stderr}");
}

#[test]
fn a_second_receiver_is_refused_before_and_during_the_conversation() {
    let (mut first, endpoint) = receiver();
    let run_second = || said(&run(RECEIVER, &endpoint, &["--timeout", "5"]).code(1));
    assert!(run_second().contains("EADDRINUSE"));
    let mut sender = command(SENDER, &endpoint).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    first.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    assert!(run_second().contains("EADDRINUSE"));
    drop(input);
    assert_eq!((ended(sender).0, ended(first).0), (Some(0), Some(0)));
}

#[test]
fn a_second_sender_waits_for_the_next_receiver() {
    port::a_second_sender_waits_for_the_next_receiver(SENDER, RECEIVER, &nobody_there(0));
}

#[test]
fn an_interrupt_ends_the_wait_for_a_receiver() {
    port::an_interrupt_ends_the_wait_for_a_receiver(SENDER, &nobody_there(1));
}

#[test]
fn nobody_comes_in_time() {
    let endpoint = nobody_there(2);
    let said = port::nobody_comes_in_time(SENDER, RECEIVER, &endpoint);
    assert!(said.contains(&endpoint), "{said}");
}

/// The kernel makes the connection although nobody accepts it, and even takes what is written.
#[test]
fn a_receiver_that_does_not_accept_is_waited_for() {
    let (mut receiver, endpoint) = receiver();
    stop(&receiver);
    run(SENDER, &endpoint, &["--timeout", "0.3", "hello"]).code(4);
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

#[test]
fn addresses_are_checked() {
    port::addresses_are_checked(SENDER, RECEIVER);
}

#[test]
fn a_host_may_be_named() {
    port::a_receiver_is_reached(SENDER, RECEIVER, "localhost", "localhost");
}

/// Small messages do not wait until the receiver has acknowledged the one before, as Nagle's algorithm would have them:
/// 40 ms, where it has not taken that. Of 20, some may be late, for the machine has other things to do, but not half.
#[test]
fn small_messages_leave_at_once() {
    const FRAMES: &[u8] = b"\0\0\0\x02x\n\0\0\0\x02x\n";
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let mut sender = command(SENDER, endpoint).stdin(Stdio::piped()).spawn().unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(&ACK).unwrap();
    let mut input = sender.stdin.take().unwrap();
    let mut send = |stream: &TcpStream, count: usize| {
        let started = Instant::now();
        input.write_all(b"x\n").unwrap();
        while stream.peek(&mut [0; FRAMES.len()]).unwrap() < count * FRAMES.len() / 2 {
            assert!(started.elapsed() < LONG, "it does not come");
        }
        started.elapsed()
    };
    let took = [(); 20].map(|()| {
        stream.set_quickack(false).unwrap();
        send(&stream, 1);
        let second = send(&stream, 2);
        let mut frames = [0; FRAMES.len()];
        stream.read_exact(&mut frames).unwrap();
        assert_eq!(frames, FRAMES);
        second
    });
    let late = took.iter().filter(|&&took| took > Duration::from_millis(30)).count();
    assert!(late < took.len() / 2, "{took:?}");
    drop(input);
    let mut end = [0; 4];
    stream.read_exact(&mut end).unwrap();
    assert_eq!(end, [0xff; 4]);
    stream.write_all(&ACK).unwrap();
    assert_eq!(ended(sender).0, Some(0));
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
    let (theirs, endpoint) = ready(command(RECEIVER, "127.0.0.1:0").uid(NOBODY).spawn().unwrap());
    let said = said(&run(SENDER, &endpoint, &["secret"]).code(1));
    assert!(said.contains("another user's process listens there"), "{said}");
    let good = command(SENDER, &endpoint).arg("good").uid(NOBODY).spawn().unwrap();
    assert_eq!(ended(good).0, Some(0));
    assert_eq!(ended(theirs).1, b"good\n");
}

/// A process can connect to 127.0.0.1 from any address of its machine.
#[test]
#[ignore = "needs root, to be two users and to have a network of its own"]
fn another_user_is_turned_away_whatever_address_it_comes_from() {
    port::in_a_network_with_two_addresses(|address| {
        for host in ["127.0.0.1", "0.0.0.0"] {
            let (mine, endpoint) = ready(command(RECEIVER, format!("{host}:0")).spawn().unwrap());
            let (_, number) = endpoint.rsplit_once(':').unwrap();
            let script = format!(
                "import socket; s = socket.socket(); s.bind(('{address}', 0)); s.connect(('127.0.0.1', {number})); \
                 print(s.recv(1), end='')"
            );
            let foreign = Command::new("python3").args(["-c", &script]).uid(NOBODY).output().unwrap();
            assert_eq!(said_by(&foreign), "b''", "{host}");
            run(SENDER, format!("127.0.0.1:{number}"), &["good"]).success();
            assert_eq!(ended(mine).1, b"good\n", "{host}");
        }
    });
}

fn said_by(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
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
