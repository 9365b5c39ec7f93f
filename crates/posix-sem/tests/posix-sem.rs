//! What is special about semaphores, seen through the two programs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ::posix_sem::posix_sem::{self, Buffer, MAX, SLOTS};

const SENDER: &str = env!("CARGO_BIN_EXE_posix-sem-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_posix-sem-receiver");

fn endpoint(name: &str) -> String {
    format!("/posix-sem-test-{}-{name}", std::process::id())
}

fn command(program: &str, endpoint: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["--timeout", "20", "--endpoint", endpoint]).args(args);
    command
}

/// Starts a receiver and waits until it is ready.
fn receiver(endpoint: &str) -> (Child, BufReader<ChildStderr>) {
    let mut child =
        command(RECEIVER, endpoint, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("receiver");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("the receiver's first line");
    assert!(line.contains("ready"), "{line}");
    (child, stderr)
}

fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill").success());
}

fn leftovers(endpoint: &str) -> Vec<String> {
    let names = fs::read_dir("/dev/shm").expect("/dev/shm").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|file| file.contains(&endpoint[1..])).collect()
}

#[test]
fn a_sender_is_ahead_by_all_slots_and_no_more() {
    let endpoint = endpoint("ahead");
    let (child, _stderr) = receiver(&endpoint);
    assert_eq!(leftovers(&endpoint).len(), 4, "the memory, two semaphores and the lock file");
    signal(&child, "-STOP");
    let mut sender = Command::new(SENDER);
    sender.args(["--timeout", "0.3", "--endpoint", &endpoint, "--count", "100", "--size", "12"]);
    assert_cmd::Command::from_std(sender).assert().code(4);
    signal(&child, "-CONT");
    let output = child.wait_with_output().expect("wait");
    // What was put is taken, and then the sender's end is told.
    assert_eq!(output.stdout.len(), SLOTS * 12);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(leftovers(&endpoint), [""; 0]);
}

#[test]
fn a_killed_sender_loses_nothing_that_it_has_put() {
    let endpoint = endpoint("killed");
    let (child, _stderr) = receiver(&endpoint);
    let mut sender = command(SENDER, &endpoint, &[]).stdin(Stdio::piped()).spawn().expect("sender");
    sender.stdin.as_mut().expect("piped").write_all(b"one\ntwo\n").expect("write");
    thread::sleep(Duration::from_millis(200));
    sender.kill().expect("kill");
    sender.wait().expect("wait");
    let output = child.wait_with_output().expect("wait");
    assert_eq!(output.stdout, b"one\ntwo\n");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(leftovers(&endpoint), [""; 0]);
}

#[test]
fn a_length_that_is_too_big_is_refused() {
    let endpoint = endpoint("hostile");
    let (mut child, mut stderr) = receiver(&endpoint);
    signal(&child, "-STOP");
    Buffer::open(&endpoint).and_then(|mut buffer| buffer.put(b"hello")).expect("put");
    let memory = File::options().write(true).open(format!("/dev/shm{endpoint}")).expect("open");
    memory.write_all_at(&(MAX as u32 + 1).to_ne_bytes(), 0).expect("write");
    signal(&child, "-CONT");
    let mut said = String::new();
    stderr.read_line(&mut said).expect("read");
    assert_eq!(child.wait().expect("wait").code(), Some(1), "{said}");
    assert!(said.contains("4093 bytes"), "{said}");
    assert_eq!(leftovers(&endpoint), [""; 0]);
}

#[test]
fn what_somebody_else_has_made_is_left_alone() {
    let endpoint = endpoint("planted");
    let planted = format!("/dev/shm/sem.{}-full", &endpoint[1..]);
    fs::write(&planted, "not a semaphore").expect("write");
    let refused = assert_cmd::Command::from_std(command(RECEIVER, &endpoint, &[])).assert().code(1);
    let said = String::from_utf8_lossy(&refused.get_output().stderr);
    assert!(said.contains("EEXIST"), "{said}");
    assert_eq!(leftovers(&endpoint).len(), 1);
    fs::remove_file(&planted).expect("unlink");
}

/// The README's experiment: nobody owns a semaphore, so nobody is told when its user is dead.
#[test]
fn a_buffer_without_a_consumer_takes_as_many_records_as_slots_and_then_waits_for_ever() {
    let name = endpoint("nobody");
    drop(Buffer::create(&name).expect("create"));
    let (report, reports) = mpsc::channel();
    let to = name.clone();
    let producer = thread::spawn(move || {
        let mut buffer = Buffer::open(&to)?;
        for n in 0..=SLOTS {
            buffer.put(b"is anybody there?")?;
            let _ = report.send(n);
        }
        std::io::Result::Ok(())
    });
    for n in 0..SLOTS {
        assert_eq!(reports.recv_timeout(Duration::from_secs(20)), Ok(n));
    }
    assert_eq!(reports.recv_timeout(Duration::from_millis(300)), Err(RecvTimeoutError::Timeout));
    // The records have outlived everybody who knew of them: a newcomer finds them and sets the producer free.
    let taken = Buffer::open(&name).and_then(|mut buffer| buffer.take(&mut [0; MAX]));
    assert_eq!(taken.expect("take"), Some(17));
    producer.join().expect("the producer panicked").expect("put");
    posix_sem::remove(&name).expect("remove");
}
