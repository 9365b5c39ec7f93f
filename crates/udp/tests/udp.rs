//! What is special about UDP: messages are lost, and both ends know how many; whoever knows a port can send there.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, process, thread};

use harness::pid::{go_on, stop, wait_for};
use harness::program::{LONG, command, ended, ready};

const SENDER: &str = env!("CARGO_BIN_EXE_udp-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_udp-receiver");

fn receiver() -> (Child, String) {
    ready(command(RECEIVER, "127.0.0.1:0").args(["--timeout", "5"]).spawn().unwrap())
}

/// The sizes and numbers of a conversation: a datagram's kind, its number, its bytes.
fn datagram(kind: u8, number: u64, bytes: &[u8]) -> Vec<u8> {
    [&[kind][..], &number.to_be_bytes(), bytes].concat()
}

/// A socket of the test's own at one end of a conversation.
struct End(UdpSocket);

impl End {
    fn bound() -> (End, String) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let endpoint = socket.local_addr().unwrap().to_string();
        (End(socket), endpoint)
    }

    /// A sender that has been welcomed.
    fn welcome(endpoint: &str, first: u64) -> End {
        let (end, _) = End::bound();
        end.0.connect(endpoint).unwrap();
        end.send(2, first, b"");
        assert_eq!(end.next(), datagram(3, first, b""));
        end
    }

    /// A receiver that welcomes the sender which is about to come; and the number of its first message.
    fn welcoming(&self) -> u64 {
        let mut buffer = [0; 16];
        loop {
            let (len, from) = self.0.recv_from(&mut buffer).unwrap();
            if let (2, [2, number @ ..]) | (9, [2, number @ ..]) = (len, &buffer[..9]) {
                self.0.connect(from).unwrap();
                let first = u64::from_be_bytes(number.try_into().unwrap());
                self.send(3, first, b"");
                return first;
            }
        }
    }

    fn send(&self, kind: u8, number: u64, bytes: &[u8]) {
        self.0.send(&datagram(kind, number, bytes)).unwrap();
    }

    fn next(&self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        let len = self.0.recv(&mut buffer).unwrap();
        buffer[..len].to_vec()
    }
}

/// The L and N of `lost L of N messages`.
fn loss(stderr: &str) -> (u64, u64) {
    let words: Vec<&str> = stderr.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "lost").unwrap_or_else(|| panic!("{stderr}"));
    (words[at + 1].parse().unwrap(), words[at + 3].parse().unwrap())
}

/// The lesson: the receiver pauses, and what does not fit into its queue is lost. Both know how much to the message.
#[test]
fn the_loss_is_exact_when_the_receiver_pauses() {
    let (mut receiver, endpoint) = receiver();
    let mut sender = command(SENDER, &endpoint).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"0\n").unwrap();
    receiver.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    stop(&receiver);
    let lines: String = (1..60_000).map(|number| format!("{number}\n")).collect();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    // All have been sent once it has read the end of its input.
    let mut said = BufReader::new(sender.stderr.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("sent 60000 messages"), "{line}");
    go_on(&receiver);
    let (code, stdout, complaint) = ended(receiver);
    let (lost, sent) = loss(&complaint);
    assert_eq!((code, sent), (Some(6), 60_000), "{complaint}");
    let stdout = String::from_utf8(stdout).unwrap();
    let came: Vec<u64> = stdout.lines().map(|line| line.parse().unwrap()).collect();
    assert!(came.is_sorted_by(|one, next| one < next) && came.iter().all(|number| *number < 60_000));
    assert_eq!(came.len() as u64 + 1 + lost, 60_000);
    said.read_line(&mut line).unwrap();
    assert_eq!((sender.wait().unwrap().code(), loss(&line)), (Some(6), (lost, 60_000)), "{line}");
}

#[test]
fn what_is_not_complete_does_not_appear_as_a_file() {
    let path = env::temp_dir().join(format!("udp-test-{}-output", process::id()));
    let mut receiver = command(RECEIVER, "127.0.0.1:0");
    receiver.args(["--stats", "--output"]).arg(&path);
    let (receiver, endpoint) = ready(receiver.spawn().unwrap());
    let sender = End::welcome(&endpoint, 0);
    sender.send(0, 1, b"the second");
    sender.send(1, 2, b"");
    let (code, _, stderr) = ended(receiver);
    let exists = path.exists();
    let _ = fs::remove_file(&path);
    assert_eq!((code, loss(&stderr), exists), (Some(6), (1, 2), false));
    assert!(stderr.contains("stats: messages=1 bytes=10 "), "{stderr}");
}

#[test]
fn any_program_can_be_the_sender() {
    let (receiver, endpoint) = receiver();
    let sender = End::welcome(&endpoint, 0);
    sender.send(0, 0, b"hello\n");
    sender.send(0, 1, b"");
    sender.send(1, 2, b"");
    assert_eq!(sender.next(), datagram(4, 2, b""));
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]));
    assert!(stderr.contains("received 2 messages, 6 bytes"), "{stderr}");
}

/// The command of the lesson.
#[test]
#[ignore = "needs python3"]
fn python_can_be_the_sender() {
    let (receiver, endpoint) = receiver();
    let lesson = include_str!("../README.md");
    let begin = lesson.find("python3 -c ").unwrap();
    let program = &lesson[begin..begin + lesson[begin..].find("```").unwrap()];
    let port = endpoint.rsplit_once(':').unwrap().1;
    let line = program.replace("20001", port);
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]), "{stderr}");
}

/// What a network does and the loopback interface does not.
#[test]
fn what_comes_twice_or_too_late_is_left_out_and_counted() {
    for first in [0, u64::MAX - 1] {
        let number = |at: u64| first.wrapping_add(at);
        let (receiver, endpoint) = receiver();
        let sender = End::welcome(&endpoint, first);
        for at in [0, 2, 1, 2, 3, 3] {
            sender.send(0, number(at), &[b'0' + at as u8]);
        }
        // A hello that was on its way for long, an end that cannot be, and what is no datagram of ours.
        sender.send(2, first, b"");
        assert_eq!(sender.next(), datagram(3, first, b""));
        sender.send(1, number(3), b"");
        for noise in [&b""[..], b"x", &datagram(9, number(4), b"x"), &datagram(1, number(5), b"x")] {
            sender.0.send(noise).unwrap();
        }
        sender.send(1, number(5), b"");
        assert_eq!(sender.next(), datagram(4, 3, b""));
        let (code, stdout, stderr) = ended(receiver);
        assert_eq!((code, &stdout[..], loss(&stderr)), (Some(6), &b"023"[..], (2, 5)));
        assert!(stderr.contains("(3 came twice or too late)"), "{stderr}");
    }
}

/// Questions and answers may be lost as well: then the sender asks again.
#[test]
fn hello_and_end_are_said_until_they_are_answered() {
    let (end, endpoint) = End::bound();
    let sender = command(SENDER, &endpoint).args(["hello"]).spawn().unwrap();
    for _ in 0..3 {
        assert_eq!(end.next()[0], 2);
    }
    let first = end.welcoming();
    let mut ends = 0;
    let mut messages = 0;
    while ends < 3 {
        match end.next() {
            hello if hello[0] == 2 => {}
            message if message == datagram(0, first, b"hello\n") => messages += 1,
            last => {
                assert_eq!(last, datagram(1, first.wrapping_add(1), b""));
                ends += 1;
            }
        }
    }
    assert_eq!(messages, 1, "what may be lost is not sent again");
    // A report of more than was sent is none.
    end.send(4, 2, b"");
    end.send(4, 1, b"");
    assert_eq!(ended(sender).0, Some(0));
}

#[test]
fn a_sender_believes_the_report() {
    let (end, endpoint) = End::bound();
    let sender = command(SENDER, &endpoint).args(["--count", "5"]).spawn().unwrap();
    end.welcoming();
    end.send(4, 3, b"");
    let (code, _, stderr) = ended(sender);
    assert_eq!((code, loss(&stderr)), (Some(6), (2, 5)));
}

/// The first number is chosen at random, so that nobody can guess the next.
#[test]
fn no_two_conversations_begin_with_the_same_number() {
    let firsts = [(); 2].map(|()| {
        let (end, endpoint) = End::bound();
        let sender = command(SENDER, &endpoint).args(["--count", "0"]).spawn().unwrap();
        let first = end.welcoming();
        end.send(4, 0, b"");
        assert_eq!(ended(sender).0, Some(0));
        first
    });
    assert_ne!(firsts[0], firsts[1]);
}

/// A port belongs to nobody. When a sender is gone, whoever gets its port sends from the very same address.
#[test]
fn who_takes_the_place_of_a_dead_sender_is_not_heard() {
    let (mut receiver, endpoint) = receiver();
    let first = 0x1234_5678_9abc_def0;
    let sender = End::welcome(&endpoint, first);
    sender.send(0, first, b"good\n");
    receiver.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let address: SocketAddr = sender.0.local_addr().unwrap();
    drop(sender);
    // A process that another test starts at this moment has everything open that this one has, until its execve(2).
    let thief = wait_for("the port", || UdpSocket::bind(address).ok());
    thief.connect(&endpoint).unwrap();
    thief.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    for guess in [0, 1, 1 << 63, u64::MAX] {
        for kind in 0..5 {
            thief.send(&datagram(kind, guess, if kind == 0 { b"evil\n" } else { b"" })).unwrap();
        }
    }
    let answer = thief.recv(&mut [0; 16]).map_err(|error| error.kind());
    assert_eq!(answer, Err(ErrorKind::WouldBlock), "nothing that would help to guess");
    receiver.kill().unwrap();
    assert_eq!(ended(receiver).1, b"");
}

/// Before the sender's hello, while the receiver looks at it, and after.
#[test]
fn what_strangers_send_is_not_mixed_in() {
    let (receiver, endpoint) = receiver();
    let (stranger, _) = End::bound();
    stranger.0.connect(&endpoint).unwrap();
    stranger.send(0, 0, b"evil\n");
    stranger.send(1, 1, b"");
    stop(&receiver);
    let (sender, _) = End::bound();
    sender.0.connect(&endpoint).unwrap();
    sender.send(2, 0, b"");
    stranger.send(2, 0, b"");
    stranger.send(0, 0, b"evil\n");
    stranger.send(1, 1, b"");
    go_on(&receiver);
    assert_eq!(sender.next(), datagram(3, 0, b""));
    let refused = [(); 2].map(|()| stranger.0.send(b"x").map_err(|error| error.kind()));
    assert_eq!(refused[1], Err(ErrorKind::ConnectionRefused));
    sender.send(0, 0, b"good\n");
    sender.send(1, 1, b"");
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"good\n"[..]), "{stderr}");
}

/// Nobody answers the end: a dead receiver's port refuses it, a stopped receiver's does not.
#[test]
fn without_a_report_nothing_is_a_success() {
    let (end, endpoint) = End::bound();
    let sender = command(SENDER, &endpoint).arg("hello").spawn().unwrap();
    end.welcoming();
    while end.next()[0] != 0 {}
    drop(end);
    let (code, _, said) = ended(sender);
    assert!(code == Some(3) && said.contains("the receiver ended before it had taken everything"), "{said}");

    let (end, endpoint) = End::bound();
    let sender = command(SENDER, &endpoint).args(["hello", "--timeout", "0.3"]).spawn().unwrap();
    end.welcoming();
    let (code, _, said) = ended(sender);
    assert!(code == Some(4) && said.contains("wait for the report from"), "{said}");
}

#[test]
fn a_stopped_receiver_is_waited_for() {
    let (receiver, endpoint) = receiver();
    let mut sender = command(SENDER, &endpoint).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    let mut receiver = receiver;
    receiver.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    stop(&receiver);
    input.write_all(b"two\n").unwrap();
    drop(input);
    thread::sleep(Duration::from_millis(300));
    assert!(sender.try_wait().unwrap().is_none());
    go_on(&receiver);
    assert_eq!((ended(sender).0, ended(receiver).1), (Some(0), b"two\n".to_vec()));
}
