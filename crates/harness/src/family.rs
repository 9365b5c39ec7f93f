//! What holds of each pair in which the sender starts the receiver, whatever the channel between them is.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::Signal;
use crate::launch::prepare;
use crate::pid::{child_of, signal, wait_for_the_end_of};
use crate::program::{LONG, ended, said};

/// The name of a program without its folder.
fn name(program: &str) -> &str {
    Path::new(program).file_name().and_then(|name| name.to_str()).unwrap()
}

/// The name of the receiver that a sender starts.
fn receiver_of(sender: &str) -> String {
    name(sender).replace("-sender", "-receiver")
}

/// One of the two programs with this end of a channel as its `--endpoint -`.
pub fn start(program: &str, words: &[&str], end: impl Into<OwnedFd>) -> Child {
    let mut command = Command::new(program);
    command.args(["--endpoint", "-", "--quiet"]).args(patient(words)).stderr(Stdio::piped());
    if name(program).ends_with("-sender") {
        command.stdin(Stdio::null()).stdout(end.into());
    } else {
        command.stdin(end.into()).stdout(Stdio::piped());
    }
    command.spawn().unwrap()
}

/// One of the two programs with one end of a socket as its `--endpoint -`, and the other end. That has no time limit: one would
/// let the end of any child of this process interrupt a read (signal(7)).
pub fn over_a_socket(program: &str, words: &[&str]) -> (Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (start(program, words, theirs), ours)
}

/// Whoever is not told of a death shall not hang, but fail.
fn patient<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let timeout: &[_] = if words.contains(&"--timeout") { &[] } else { &["--timeout", "10"] };
    [words, timeout].concat()
}

/// A sender that goes on for long, and its receiver, from which something has come out.
pub fn long_talk(sender: &str, words: &[&str]) -> (Child, u32) {
    let mut command = Command::new(sender);
    command.args(["--count", "1000000000", "--size", "1000"]).args(patient(words));
    prepare(&mut command, None);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let receiver = child_of(child.id());
    let mut ready = vec![0; format!("{}: ready -\n", receiver_of(sender)).len()];
    child.stderr.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 1000]).unwrap();
    thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
    (child, receiver)
}

/// Runs a sender, and with it its receiver, to the end.
pub fn run(sender: &str, words: &[&str]) -> assert_cmd::assert::Assert {
    assert_cmd::Command::new(sender).args(words).timeout(LONG).assert()
}

/// `--stats` is the receiver's.
pub fn the_sender_starts_the_receiver_and_passes_its_options_on(sender: &str) {
    let stderr = said(&run(sender, &["--stats", "hello"]).success().stdout("hello\n"));
    let receiver = receiver_of(sender);
    assert!(stderr.contains(&format!("{receiver}: ready -\n")), "{stderr}");
    assert!(stderr.contains(&format!("{receiver}: stats: messages=1 bytes=6")), "{stderr}");
}

/// The receiver cannot make its output file.
pub fn the_failure_of_the_receiver_is_the_failure_of_the_sender(sender: &str) {
    let stderr = said(&run(sender, &["--output", "/no/such/folder/out", "hello"]).code(3));
    let receiver = receiver_of(sender);
    assert!(stderr.contains(&format!("{receiver}: create /no/such/folder/out: ENOENT")), "{stderr}");
    let last = format!("{}: {receiver} ended with exit status: 1\n", name(sender));
    assert!(stderr.ends_with(&last), "{stderr}");
}

/// With `--endpoint -` the sender starts nobody to whom it could pass them on.
pub fn options_of_a_receiver_that_is_not_ours_to_start_are_refused(sender: &str) {
    run(sender, &["--endpoint", "-", "--stats", "hello"]).code(2).stdout("");
}

/// The sender knows what has become of its child, and says so.
pub fn a_receiver_that_is_killed_is_told_of(sender: &str) {
    let (child, receiver) = long_talk(sender, &[]);
    signal(receiver, Signal::KILL);
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(3));
    assert_eq!(stderr, format!("{}: {} ended with signal: 9 (SIGKILL)\n", name(sender), receiver_of(sender)));
}

/// Its parent is killed.
pub fn an_orphan_ends_by_itself(sender: &str) {
    let (mut child, receiver) = long_talk(sender, &[]);
    let mut stderr = child.stderr.take().unwrap();
    signal(child.id(), Signal::KILL);
    child.wait().unwrap();
    // It ends when the last copy of standard error is closed, the receiver's.
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!(said, format!("{}: read -: the sender ended without finishing\n", receiver_of(sender)));
    wait_for_the_end_of(receiver);
}
