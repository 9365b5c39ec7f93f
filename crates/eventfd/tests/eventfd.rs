//! What is special about eventfds: nothing has a name, the descriptors travel, and a death is told by the socket
//! that they came through.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{fs, io, iter, thread};

use eventfd::eventfd::{Buffer, MAX, SLOTS};
use eventfd::scm_rights;
use harness::Signal;
use harness::family::{self, over_a_socket, run};
use harness::pid::{child_of, signal, state, wait_for, wait_for_the_end_of};
use harness::program::{LONG, Mortal, ended, example, said, text};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{read, write};

const SENDER: &str = env!("CARGO_BIN_EXE_eventfd-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_eventfd-receiver");

/// A receiver with a buffer that is ours to fill, and our end of its standard input.
fn filled_by_us(words: &[&str]) -> (Child, UnixStream, Buffer) {
    let (receiver, socket) = over_a_socket(RECEIVER, words);
    let buffer = Buffer::create().unwrap();
    scm_rights::send(&socket, &buffer.descriptors()).unwrap();
    (receiver, socket, buffer)
}

#[test]
fn the_sender_starts_the_receiver_and_passes_its_options_on() {
    family::the_sender_starts_the_receiver_and_passes_its_options_on(SENDER);
}

#[test]
fn the_failure_of_the_receiver_is_the_failure_of_the_sender() {
    family::the_failure_of_the_receiver_is_the_failure_of_the_sender(SENDER);
}

#[test]
fn both_ends_need_a_socket() {
    let alone = assert_cmd::Command::new(RECEIVER).assert().code(2);
    assert!(said(&alone).contains("eventfd-sender, which starts this"));
    let pipe = assert_cmd::Command::new(RECEIVER).args(["--endpoint", "-"]).write_stdin("").assert().code(2);
    assert!(said(&pipe).contains("needs a socket as standard input"));
    let pipe = run(SENDER, &["--endpoint", "-", "hello"]).code(2).stdout("");
    assert!(said(&pipe).contains("needs a socket as standard output"));
    run(SENDER, &["--endpoint", "-", "--stats", "hello"]).code(2);
}

#[test]
fn any_process_with_the_socket_can_be_the_sender() {
    let (receiver, _socket, mut buffer) = filled_by_us(&[]);
    buffer.put(b"hello\n").unwrap();
    buffer.put(b"").unwrap();
    buffer.put_end().unwrap();
    assert_eq!(ended(receiver), (Some(0), b"hello\n".to_vec(), String::new()));
}

#[test]
fn any_process_with_the_socket_can_be_the_receiver() {
    let (sender, socket) = over_a_socket(SENDER, &["hello", "world"]);
    let mut buffer = Buffer::open(scm_rights::receive(&socket).unwrap()).unwrap();
    let mut record = [0; MAX];
    for expected in [Some("hello\n"), Some("world\n"), None] {
        let taken = buffer.take(&mut record).unwrap();
        assert_eq!(taken.map(|len| text(&record[..len])).as_deref(), expected);
    }
    assert_eq!(ended(sender), (Some(0), Vec::new(), String::new()));
}

#[test]
fn two_strangers_can_be_given_the_socket() {
    let (sender, socket) = over_a_socket(SENDER, &["hello"]);
    // Now the receiver gets what stands behind our end.
    let mut receiver = Command::new(RECEIVER);
    receiver.args(["--endpoint", "-", "--quiet"]).stdin(OwnedFd::from(socket)).stdout(Stdio::piped());
    let receiver = receiver.spawn().unwrap();
    assert_eq!((ended(receiver).1, ended(sender).0), (b"hello\n".to_vec(), Some(0)));
}

/// The memory as the README shows it.
#[test]
fn the_bytes_in_the_slots_are_those_of_the_lesson() {
    let (sender, socket) = over_a_socket(SENDER, &["hello"]);
    let descriptors: [OwnedFd; 3] = scm_rights::receive(&socket).unwrap();
    let memory = fs::File::from(descriptors[0].try_clone().unwrap());
    assert_eq!(ended(sender).0, Some(0));
    let mut slot = [0; 10];
    memory.read_exact_at(&mut slot, 0).unwrap();
    assert_eq!(&slot, b"\x06\0\0\0hello\n");
    memory.read_exact_at(&mut slot[..4], 4096).unwrap();
    assert_eq!(&slot[..4], b"\xff\xff\xff\xff");
}

/// What `/proc` tells of a process's descriptors that link to `what`, in the order of their numbers.
fn fdinfo(pid: u32, what: &str) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut fds: Vec<u32> = entries.map(|entry| entry.file_name().to_string_lossy().parse().unwrap()).collect();
    fds.sort_unstable();
    let is = |fd: &u32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|link| link.to_string_lossy() == what);
    fds.into_iter().filter(is).map(|fd| fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap()).collect()
}

/// The counts of free and of full slots.
fn counts(pid: u32) -> Vec<u64> {
    let count = |info: &String| {
        let line = info.lines().find_map(|line| line.strip_prefix("eventfd-count:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    fdinfo(pid, "anon_inode:[eventfd]").iter().filter_map(count).collect()
}

#[test]
fn the_counts_can_be_seen_in_proc() {
    let mut command = Command::new(SENDER);
    command.args(["--count", "1000", "--interval", "0.01"]).stdout(Stdio::null()).stderr(Stdio::null());
    let sender = command.spawn().unwrap();
    let (pid, receiver) = (sender.id(), child_of(sender.id()));
    // The receiver has taken what there was, given the slot back, and sleeps.
    wait_for("all and none", || (counts(pid) == [SLOTS as u64, 0]).then_some(()));
    assert_eq!(fdinfo(pid, "/memfd:eventfd-slots (deleted)").len(), 1);
    signal(receiver, Signal::STOP);
    // One slot less, should it have been stopped with one in its hands.
    wait_for("none and all", || matches!(counts(pid)[..], [0, full] if full + 1 >= SLOTS as u64).then_some(()));
    signal(receiver, Signal::CONT);
    wait_for("all and none", || (counts(pid) == [SLOTS as u64, 0]).then_some(()));
    signal(pid, Signal::TERM);
    assert_eq!(ended(sender).0, Some(143));
}

#[test]
fn a_sender_is_ahead_by_all_slots_and_no_more() {
    let (sender, socket) = over_a_socket(SENDER, &["--timeout", "0.3", "--count", "100", "--size", "12"]);
    let (code, _, stderr) = ended(sender);
    assert_eq!(code, Some(4), "{stderr}");
    let mut buffer = Buffer::open(scm_rights::receive(&socket).unwrap()).unwrap();
    let full = buffer.descriptors()[2].try_clone_to_owned().unwrap();
    fcntl(&full, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let counted = iter::from_fn(|| read(&full, &mut [0; 8]).ok()).count();
    assert_eq!(counted, SLOTS);
    // The counts are there for as long as somebody has them, and so is what lies in the slots.
    write(&full, &1_u64.to_ne_bytes()).unwrap();
    assert_eq!(buffer.take(&mut [0; MAX]).unwrap(), Some(12));
}

#[test]
fn a_sender_that_dies_loses_nothing_that_it_has_put() {
    let (receiver, socket, mut buffer) = filled_by_us(&[]);
    signal(receiver.id(), Signal::STOP);
    for line in ["one\n", "two\n", "three\n"] {
        buffer.put(line.as_bytes()).unwrap();
    }
    drop((socket, buffer));
    signal(receiver.id(), Signal::CONT);
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, &stdout[..]), (Some(3), &b"one\ntwo\nthree\n"[..]), "{stderr}");
    assert!(stderr.contains("read -: the sender ended without finishing"), "{stderr}");
}

#[test]
fn a_sender_that_passes_nothing_on_is_dead_or_late() {
    let (receiver, socket) = over_a_socket(RECEIVER, &[]);
    drop(socket);
    assert_eq!(ended(receiver).0, Some(3));
    let (receiver, _socket) = over_a_socket(RECEIVER, &["--timeout", "0.3"]);
    let (code, _, stderr) = ended(receiver);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("recvmsg -: nothing happened for 0.3 s"), "{stderr}");
}

#[test]
fn what_is_no_buffer_is_refused() {
    let (receiver, mut socket) = over_a_socket(RECEIVER, &[]);
    socket.write_all(b"hello").unwrap();
    let (code, _, stderr) = ended(receiver);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
    assert!(stderr.contains("0 descriptors instead of 3"), "{stderr}");

    let (receiver, socket) = over_a_socket(RECEIVER, &[]);
    let file = fs::File::open("/dev/null").unwrap();
    scm_rights::send(&socket, &[file.as_fd(); 3]).unwrap();
    let (code, _, stderr) = ended(receiver);
    assert_eq!((code, stderr.lines().count()), (Some(1), 1), "{stderr}");
}

#[test]
fn a_length_that_is_too_big_is_refused() {
    let (receiver, _socket, mut buffer) = filled_by_us(&[]);
    signal(receiver.id(), Signal::STOP);
    buffer.put(b"hello").unwrap();
    let memory = fs::File::from(buffer.descriptors()[0].try_clone_to_owned().unwrap());
    memory.write_all_at(&(MAX as u32 + 1).to_ne_bytes(), 0).unwrap();
    signal(receiver.id(), Signal::CONT);
    let (code, stdout, stderr) = ended(receiver);
    assert_eq!((code, stdout.len()), (Some(1), 0), "{stderr}");
    assert!(stderr.contains("a record of 4093 bytes"), "{stderr}");
}

#[test]
fn a_receiver_that_is_killed_is_told_of() {
    family::a_receiver_that_is_killed_is_told_of(SENDER);
}

#[test]
fn an_orphan_ends_by_itself() {
    family::an_orphan_ends_by_itself(SENDER);
}

/// Its hang-up is no reason to give up a receiver that has taken everything and is not done with it yet.
#[test]
fn a_receiver_may_take_its_time_to_end() {
    let folder = format!("{}/late-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    fs::create_dir(&folder).unwrap();
    fs::hard_link(SENDER, format!("{folder}/eventfd-sender")).unwrap();
    // Written by a process of its own: while we have it open for writing, nobody can execute it.
    let script = format!("#!/bin/sh\n'{RECEIVER}' \"$@\" && exec sleep 0.3\n");
    let receiver = format!("{folder}/eventfd-receiver");
    assert_cmd::Command::new("install")
        .args(["-m", "700", "/dev/stdin", &receiver])
        .write_stdin(script)
        .assert()
        .success();
    let run = assert_cmd::Command::new(format!("{folder}/eventfd-sender")).arg("hello").timeout(LONG).assert();
    fs::remove_dir_all(&folder).unwrap();
    run.success().stdout("hello\n");
}

/// The README's experiment: the mechanism alone tells nobody that the other end is dead.
#[test]
fn an_orphan_of_the_plain_pair_sleeps_for_ever() {
    let partner = example("eventfd-plain-receiver");
    let mut command = example("eventfd-plain-sender");
    let mut sender = Mortal(command.arg(partner.get_program()).stdout(Stdio::piped()).spawn().unwrap());
    let receiver = child_of(sender.0.id());
    let mut lines = BufReader::new(sender.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    drop(sender);
    thread::sleep(Duration::from_millis(500));
    let sleeps = state(receiver);
    signal(receiver, Signal::KILL);
    wait_for_the_end_of(receiver);
    assert_eq!(sleeps, Some('S'));
}

#[test]
fn the_plain_pair_talks() {
    let partner = example("eventfd-plain-receiver");
    let output = example("eventfd-plain-sender").arg(partner.get_program()).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "one\ntwo\nthree\n".into()));
}

#[test]
fn a_thousand_writes_are_one_read_or_a_thousand() {
    let output = example("eventfd-counts").output().unwrap();
    let expected = "by default     1000 writes of 1, then 1 reads of 1000\n\
                    EFD_SEMAPHORE  1000 writes of 1, then 1000 reads of 1\n";
    assert_eq!(text(&output.stdout), expected);
}

/// The README's wrong program.
#[test]
fn who_takes_one_item_for_each_merged_read_leaves_the_others() {
    let mut merged = Mortal(example("eventfd-merged").stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(merged.0.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    thread::sleep(Duration::from_millis(500));
    assert_eq!(state(merged.0.id()), Some('S'));
    drop(merged);
    let rest: io::Result<Vec<String>> = lines.collect();
    assert_eq!(rest.unwrap(), [""; 0]);

    let output = example("eventfd-merged").arg("semaphore").output().unwrap();
    assert_eq!(text(&output.stdout), "one\ntwo\nthree\n");
}
