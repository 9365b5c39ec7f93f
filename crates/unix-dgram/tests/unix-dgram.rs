//! What is special about a Unix domain datagram socket: everybody may send to it, and it must choose; and no end of
//! file tells the end.

use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, chown, setfsuid};
use unix_dgram::unix_dgram::{connect, put, take};

const SENDER: &str = env!("CARGO_BIN_EXE_unix-dgram-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_unix-dgram-receiver");
const LONG: Duration = Duration::from_secs(10);
/// The user `nobody`.
const NOBODY: u32 = 65534;
const HELLO: &[u8] = b"\x02";
const END: &[u8] = b"\x01";

/// A path in a folder of its own, which goes with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Place {
        let folder = env::temp_dir().join(format!("unix-dgram-programs-{}-{test}", process::id()));
        fs::create_dir(&folder).unwrap();
        Place(folder.join("s"))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("--endpoint").arg(&self.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, program: &str, words: &[&str]) -> assert_cmd::assert::Assert {
        assert_cmd::Command::new(program).arg("--endpoint").arg(&self.0).args(words).timeout(LONG).assert()
    }

    /// A receiver that is ready.
    fn receiver(&self) -> Child {
        ready(self.command(RECEIVER).args(["--timeout", "5"]).spawn().unwrap())
    }

    /// What becomes of a receiver to which a program of one's own sends these datagrams once it is heard.
    fn told(&self, datagrams: &[&[u8]]) -> (Option<i32>, Vec<u8>, String) {
        let receiver = self.receiver();
        let socket = connect(&self.0).unwrap();
        send(&socket, HELLO);
        assert_eq!(answer(&socket), HELLO);
        datagrams.iter().for_each(|datagram| send(&socket, datagram));
        ended(receiver)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

/// Waits for the line that says so.
fn ready(mut receiver: Child) -> Child {
    let mut line = String::new();
    let mut stderr = BufReader::with_capacity(1, receiver.stderr.as_mut().unwrap());
    stderr.read_line(&mut line).unwrap();
    assert!(line.contains(": ready "), "{line}");
    receiver
}

fn ended(child: Child) -> (Option<i32>, Vec<u8>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32)
}

/// Stops it, and waits until it stands still.
fn stop(child: &Child) {
    kill(pid(child), Signal::SIGSTOP).unwrap();
    waitpid(pid(child), Some(WaitPidFlag::WUNTRACED)).unwrap();
}

fn send(socket: &UnixDatagram, datagram: &[u8]) {
    put(socket, datagram).unwrap();
}

fn answer(socket: &UnixDatagram) -> Vec<u8> {
    let mut buffer = [0; 16];
    socket.set_read_timeout(Some(LONG)).unwrap();
    let (len, _) = take(socket, &mut buffer).unwrap();
    buffer[..len].to_vec()
}

#[test]
fn any_program_can_be_the_sender() {
    let place = Place::new("any");
    let (code, stdout, stderr) = place.told(&[b"\0hello\n", b"\0", END]);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]));
    assert!(stderr.contains("received 2 messages, 6 bytes"), "{stderr}");
    assert!(!place.0.exists());
}

/// The command of the lesson.
#[test]
#[ignore = "needs python3"]
fn python_can_be_the_sender() {
    let place = Place::new("python");
    let receiver = place.receiver();
    let program = include_str!("../README.md").lines().find(|line| line.starts_with("python3 -c ")).unwrap();
    let line = program.replace("/tmp/talk/d", &place.0.display().to_string());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"hello\n"[..]), "{stderr}");
}

/// Strangers of the same user send before and after the sender's hello: one that can be answered, one without an
/// address, one that is gone again. The receiver finds them all in its queue.
#[test]
fn what_strangers_send_is_not_mixed_in() {
    let place = Place::new("strangers");
    let receiver = place.receiver();
    stop(&receiver);
    let stranger = connect(&place.0).unwrap();
    send(&stranger, b"\0evil\n");
    let nameless = UnixDatagram::unbound().unwrap();
    nameless.send_to(HELLO, &place.0).unwrap();
    let gone = connect(&place.0).unwrap();
    send(&gone, HELLO);
    send(&gone, b"\0evil\n");
    drop(gone);
    let sender = connect(&place.0).unwrap();
    send(&sender, HELLO);
    send(&stranger, HELLO);
    send(&stranger, b"\0evil\n");
    send(&stranger, END);
    nameless.send_to(b"\0evil\n", &place.0).unwrap();
    kill(pid(&receiver), Signal::SIGCONT).unwrap();
    assert_eq!(answer(&sender), HELLO);
    let refused = put(&stranger, b"\0evil\n").unwrap_err();
    assert_eq!(nix::Error::try_from(refused).unwrap(), nix::Error::EPERM);
    send(&sender, b"\0good\n");
    send(&sender, END);
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(0), &b"good\n"[..]), "{stderr}");
}

/// Who says hello first is served.
#[test]
fn who_comes_second_is_told_so() {
    let place = Place::new("second");
    let receiver = place.receiver();
    let first = connect(&place.0).unwrap();
    send(&first, HELLO);
    assert_eq!(answer(&first), HELLO);
    let said = place.run(SENDER, &["hello"]).code(1);
    let said = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    assert!(said.contains("EPERM") && said.contains("the receiver serves another sender"), "{said}");
    send(&first, END);
    assert_eq!(ended(receiver).0, Some(0));
}

#[test]
fn datagrams_of_no_known_kind_are_refused() {
    for datagram in [&b""[..], b"\x03", b"\x01x", HELLO, b"hello"] {
        let (code, stdout, stderr) = Place::new("unknown").told(&[datagram]);
        assert_eq!((code, stdout.len()), (Some(1), 0), "{datagram:?}");
        assert!(stderr.contains("a datagram of no known kind"), "{stderr}");
    }
}

#[test]
fn a_datagram_that_is_too_long_is_not_taken_for_a_shorter_one() {
    let longest = vec![0; 1 + (128 << 10)];
    let (code, stdout, stderr) = Place::new("longest").told(&[&longest, END]);
    assert_eq!((code, stdout.len()), (Some(0), 128 << 10), "{stderr}");
    let (code, stdout, stderr) = Place::new("too-long").told(&[&[&longest[..], b"x"].concat()]);
    assert_eq!((code, stdout.len()), (Some(5), 0));
    assert!(stderr.contains("message too long: 131073 bytes"), "{stderr}");
}

/// No end of file tells that a program has gone which has not locked the lock file: only `--timeout` helps.
#[test]
fn a_sender_without_a_lock_that_goes_is_waited_for() {
    let place = Place::new("silent");
    let receiver = ready(place.command(RECEIVER).args(["--timeout", "0.5"]).spawn().unwrap());
    let socket = connect(&place.0).unwrap();
    send(&socket, HELLO);
    assert_eq!(answer(&socket), HELLO);
    send(&socket, b"\0hello\n");
    drop(socket);
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(4), &b"hello\n"[..]), "{stderr}");
}

/// One of the plain programs of the lesson.
fn example(name: &str, path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--package", "unix-dgram", "--example", name, "--"]).arg(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
fn the_plain_pair_cuts_off_what_does_not_fit() {
    let place = Place::new("plain");
    let receiver = example("unix-dgram-plain-receiver", &place.0).spawn().unwrap();
    let started = Instant::now();
    // It has no rendezvous: a sender that comes before it fails.
    while !example("unix-dgram-plain-sender", &place.0).stderr(Stdio::null()).status().unwrap().success() {
        assert!(started.elapsed() < 6 * LONG, "the plain receiver does not come");
    }
    let output = receiver.wait_with_output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed, "31 bytes, 15 of them cut off\n3 bytes: two\n0 bytes: the end, as agreed\n");
    let lesson = include_str!("../README.md");
    assert!(printed.lines().all(|line| lesson.contains(line)), "the lesson says otherwise");
}

#[test]
fn a_path_that_no_socket_can_have_is_refused_at_both_ends() {
    let place = Place::new("long");
    let long = place.0.with_file_name("x".repeat(120));
    for program in [SENDER, RECEIVER] {
        let mut command = assert_cmd::Command::new(program);
        let run = command.arg("--endpoint").arg(&long).timeout(LONG).assert().code(1);
        let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(stderr.contains("ENAMETOOLONG") && stderr.contains("at most 107 bytes"), "{stderr}");
    }
}

#[test]
fn what_is_not_a_socket_of_ours_is_left_alone() {
    let place = Place::new("file");
    fs::write(&place.0, "precious").unwrap();
    let run = place.run(RECEIVER, &[]).code(1);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.contains("it is not of our making"), "{stderr}");
    assert_eq!(fs::read(&place.0).unwrap(), b"precious");
}

/// A killed receiver leaves its name. The next one replaces it.
#[test]
fn a_name_without_a_socket_is_replaced() {
    let place = Place::new("stale");
    let mut receiver = place.receiver();
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    assert!(place.0.exists());
    let receiver = place.receiver();
    place.run(SENDER, &["again"]).success();
    assert_eq!(ended(receiver).1, b"again\n");
}

#[test]
#[ignore = "needs root, to be two users"]
fn another_user_is_turned_away() {
    // Who would send to our receiver: the mode keeps him out, though the folder would let him in.
    let place = Place::new("foreign");
    let mut receiver = place.receiver();
    let sender = place.command(SENDER).uid(NOBODY).args(["evil", "--timeout", "1"]).spawn().unwrap();
    assert_ne!(ended(sender).0, Some(0));
    let path = place.0.clone();
    let send_as_nobody = move || {
        setfsuid(NOBODY.into());
        UnixDatagram::unbound().unwrap().send_to(HELLO, path)
    };
    let refused = thread::spawn(send_as_nobody).join().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);

    // Who has put his own socket in its place, behind a lock file of ours: nothing is sent to it.
    let theirs = Place::new("foreign-receiver");
    chown(theirs.0.parent().unwrap(), Some(NOBODY.into()), None).unwrap();
    let mut foreign = ready(theirs.command(RECEIVER).uid(NOBODY).spawn().unwrap());
    fs::rename(&theirs.0, &place.0).unwrap();
    let run = place.run(SENDER, &["secret"]).code(1);
    let stderr = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(stderr.contains("connect ") && stderr.contains("EEXIST"), "{stderr}");
    for child in [&mut foreign, &mut receiver] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
