//! What is special about a socketpair: the two programs are a family, and one descriptor carries both directions.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;
use std::{fs, thread};

use harness::Signal;
use harness::family::{self, long_talk, run, start};
use harness::pid::{child_of, signal, wait_for};
use harness::program::{LONG, Mortal, ended, example, said, text};

const SENDER: &str = env!("CARGO_BIN_EXE_socketpair-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_socketpair-receiver");
const HELLO: &[u8] = b"\0\0\0\x06hello\n\xff\xff\xff\xff";

/// One of the two programs with one half of a pair as its `--endpoint -`, and the other half.
fn over_a_socket(program: &str, words: &[&str]) -> (Child, UnixStream) {
    let (child, ours) = family::over_a_socket(program, words);
    ours.set_read_timeout(Some(LONG)).unwrap();
    (child, ours)
}

#[test]
fn the_sender_starts_the_receiver_and_passes_its_options_on() {
    family::the_sender_starts_the_receiver_and_passes_its_options_on(SENDER);
}

/// `/proc` shows two sockets, of which the parent has one and the child the other.
#[test]
fn each_has_a_socket_of_its_own() {
    let (child, receiver) = long_talk(SENDER, &[]);
    let sockets = |pid: u32| -> Vec<String> {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let links = fds.map(|fd| fs::read_link(fd.path()).unwrap_or_default().to_string_lossy().into_owned());
        links.filter(|link| link.starts_with("socket:")).collect()
    };
    // The parent closes the child's when it has started it, which may be a moment from now.
    let ours = wait_for("a parent with one", || <[String; 1]>::try_from(sockets(child.id())).ok());
    let theirs = fs::read_link(format!("/proc/{receiver}/fd/0")).unwrap().to_string_lossy().into_owned();
    signal(child.id(), Signal::TERM);
    assert_eq!(ended(child).0, Some(143));
    assert!(theirs.starts_with("socket:") && ours[0] != theirs, "{ours:?}, {theirs}");
}

#[test]
fn the_failure_of_the_receiver_is_the_failure_of_the_sender() {
    family::the_failure_of_the_receiver_is_the_failure_of_the_sender(SENDER);
}

#[test]
fn a_receiver_needs_a_socket() {
    let run = assert_cmd::Command::new(RECEIVER).assert().code(2);
    assert!(said(&run).contains("socketpair-sender, which starts this"));
}

#[test]
fn the_receiver_answers_the_end_into_its_standard_input() {
    let (receiver, mut socket) = over_a_socket(RECEIVER, &[]);
    socket.write_all(&HELLO[..10]).unwrap();
    // No answer before the end.
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert_eq!(socket.read_exact(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket.write_all(&HELLO[10..]).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [6]);
    assert_eq!(ended(receiver), (Some(0), b"hello\n".to_vec(), String::new()));
}

#[test]
fn the_sender_succeeds_when_the_answer_comes_and_not_before() {
    let (mut sender, mut socket) = over_a_socket(SENDER, &["hello"]);
    let mut came = [0; HELLO.len()];
    socket.read_exact(&mut came).unwrap();
    assert_eq!(came, HELLO);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(sender.try_wait().unwrap(), None, "nobody has said that it was read");
    socket.write_all(&[6]).unwrap();
    assert_eq!(ended(sender), (Some(0), Vec::new(), String::new()));
}

#[test]
fn a_receiver_that_takes_everything_and_ends_without_an_answer_has_not_read_it() {
    let (sender, mut socket) = over_a_socket(SENDER, &["hello"]);
    socket.read_exact(&mut [0; HELLO.len()]).unwrap();
    drop(socket);
    let (code, _, stderr) = ended(sender);
    assert_eq!((code, stderr.lines().count()), (Some(3), 1), "{stderr}");
    assert!(stderr.contains("read the answer -: the receiver ended"), "{stderr}");
}

#[test]
fn an_answer_that_is_none_is_refused() {
    let (sender, mut socket) = over_a_socket(SENDER, &["hello"]);
    socket.write_all(b"?").unwrap();
    let (code, _, stderr) = ended(sender);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("0x3f is not what a receiver answers"), "{stderr}");
}

#[test]
fn nobody_who_answers_is_given_up_in_time() {
    let (sender, _socket) = over_a_socket(SENDER, &["--timeout", "0.3", "hello"]);
    let (code, _, stderr) = ended(sender);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("read the answer -: nothing happened for 0.3 s"), "{stderr}");
}

/// One direction is enough to carry messages; only the answer has no way back.
#[test]
fn a_pipe_of_a_shell_will_do() {
    let line = format!("'{SENDER}' --endpoint - hello | '{RECEIVER}' --endpoint -");
    assert_cmd::Command::new("sh").args(["-c", &line]).timeout(LONG).assert().success().stdout("hello\n");
    run(SENDER, &["--endpoint", "-", "hello"]).success().stdout(HELLO);
}

#[test]
fn options_of_a_receiver_that_is_not_ours_to_start_are_refused() {
    family::options_of_a_receiver_that_is_not_ours_to_start_are_refused(SENDER);
}

#[test]
fn an_end_of_file_without_the_end_mark_is_a_death() {
    for cut in [0, 1, 7, 10] {
        let (receiver, mut socket) = over_a_socket(RECEIVER, &[]);
        socket.write_all(&HELLO[..cut]).unwrap();
        drop(socket);
        let (code, stdout, stderr) = ended(receiver);
        let whole = if cut == 10 { "hello\n" } else { "" };
        assert_eq!((code, &*text(&stdout)), (Some(3), whole), "{stderr}");
    }
}

/// The sender closes its socket without having read what lies there for it. The receiver hears of a reset instead
/// of an end of file, and loses nothing.
#[test]
fn a_reset_is_a_death_and_loses_nothing() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"never read").unwrap();
    ours.write_all(&HELLO[..10]).unwrap();
    drop(ours);
    let (code, stdout, stderr) = ended(start(RECEIVER, &[], theirs));
    assert_eq!((code, &stdout[..]), (Some(3), &b"hello\n"[..]), "{stderr}");
    assert!(stderr.contains("read -: ECONNRESET: "), "{stderr}");
}

#[test]
fn a_receiver_that_is_killed_is_told_of() {
    family::a_receiver_that_is_killed_is_told_of(SENDER);
}

#[test]
fn an_orphan_ends_by_itself() {
    family::an_orphan_ends_by_itself(SENDER);
}

/// 6.9 MB each way, which neither direction's buffer holds.
fn numbers() -> String {
    (1..=1_000_000).map(|number| format!("{number}\n")).collect()
}

fn filtered_by_cat(name: &str) -> Child {
    let mut child = example(name).arg("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // Ends early where nobody reads it, and that is what one of the tests is about.
    thread::spawn(move || drop(input.write_all(numbers().as_bytes())));
    child
}

#[test]
fn both_directions_carry_at_once() {
    assert_eq!(ended(filtered_by_cat("socketpair-plain-sender")).1, numbers().as_bytes());
}

/// As in `| head -n 1`: the filter's answers lead nowhere, and nobody waits for the other for ever.
#[test]
fn who_has_seen_enough_ends_it() {
    let mut filter = Mortal(filtered_by_cat("socketpair-plain-sender"));
    drop(filter.0.stdout.take());
    wait_for("its end", || filter.0.try_wait().unwrap());
}

/// The README's wrong program: both write, and nobody reads.
#[test]
fn who_writes_all_before_reading_waits_for_ever() {
    let filter = Mortal(filtered_by_cat("socketpair-deadlock"));
    let (ours, cat) = (filter.0.id(), child_of(filter.0.id()));
    // `number arguments …` of the system call that it is in, or `running`.
    let writes = |pid: u32| {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
        let number = call.split(' ').next().and_then(|number| number.parse().ok());
        matches!(number, Some(libc::SYS_write | libc::SYS_writev))
    };
    wait_for("the moment when both write", || (writes(ours) && writes(cat)).then_some(()));
    thread::sleep(Duration::from_millis(500));
    assert!(writes(ours) && writes(cat), "it has gone on");
    drop(filter);
    // `cat` hears of it: EPIPE. What it had written is lost.
    wait_for("the end of cat", || (!fs::exists(format!("/proc/{cat}/fd/0")).unwrap()).then_some(()));
}

#[test]
fn little_fits_into_the_buffers_and_hides_the_fault() {
    let mut child = example("socketpair-deadlock")
        .args(["tr", "a-z", "A-Z"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    assert_eq!(ended(child).1, b"HELLO\n");
}

#[test]
fn the_plain_pair_answers_through_one_descriptor() {
    let partner = example("socketpair-plain-receiver");
    let mut command = example("socketpair-plain-sender");
    command.arg(partner.get_program()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let (code, stdout, stderr) = ended(child);
    assert_eq!(
        (code, &*text(&stdout), &*stderr),
        (Some(0), "it has read 6 bytes\n", "6 bytes: hello\\n\nend of file\n")
    );
}
