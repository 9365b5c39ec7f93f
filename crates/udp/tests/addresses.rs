//! Where the two ends of a conversation meet: ports, hosts, and groups, which hear one sender; and who may be there.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Command, Stdio};

use harness::port::{self, nobody_there};
use harness::program::{NOBODY, command, ended, ready, run, said};

const SENDER: &str = env!("CARGO_BIN_EXE_udp-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_udp-receiver");

fn receiver() -> (Child, String) {
    ready(command(RECEIVER, "127.0.0.1:0").args(["--timeout", "5"]).spawn().unwrap())
}

#[test]
fn a_second_sender_waits_for_the_next_receiver() {
    port::a_second_sender_waits_for_the_next_receiver(SENDER, RECEIVER, &nobody_there(0));
}

#[test]
fn a_second_receiver_is_refused() {
    let (first, endpoint) = receiver();
    let said = said(&run(RECEIVER, &endpoint, &["--timeout", "5"]).code(1));
    assert!(said.contains("EADDRINUSE") && said.contains("choose another --endpoint"), "{said}");
    run(SENDER, &endpoint, &["hello"]).success();
    assert_eq!(ended(first).1, b"hello\n");
}

#[test]
fn nobody_comes_in_time() {
    port::nobody_comes_in_time(SENDER, RECEIVER, &nobody_there(1));
}

#[test]
fn a_host_may_be_named() {
    port::a_receiver_is_reached(SENDER, RECEIVER, "localhost", "localhost");
}

#[test]
fn any_address_of_the_machine_will_do() {
    port::a_receiver_is_reached(SENDER, RECEIVER, "0.0.0.0", "127.0.0.1");
}

#[test]
fn addresses_are_checked() {
    port::addresses_are_checked(SENDER, RECEIVER);
    for (group, endpoint) in
        [("127.0.0.1", "127.0.0.1:0"), ("x", "127.0.0.1:0"), ("ff02::1", "127.0.0.1:0"), ("239.1.1.1", "[::1]:0")]
    {
        let said = said(&run(RECEIVER, endpoint, &["--group", group]).code(2));
        assert!(said.contains(&format!("--group {group}: ")), "{said}");
    }
    let said = said(&run(RECEIVER, "192.0.2.1:20000", &["--group", "239.1.1.1"]).code(1));
    assert!(said.contains("it is not an address of this machine"), "{said}");
}

/// Group and port of this test's own.
fn group_of(test: u8) -> (String, String) {
    (format!("239.255.{}.{test}", process::id() % 250), nobody_there(8 + u16::from(test)))
}

#[test]
fn a_group_hears_one_sender() {
    let (group, endpoint) = group_of(0);
    let join = || ready(command(RECEIVER, &endpoint).args(["--group", &group, "--timeout", "5"]).spawn().unwrap()).0;
    let members = [join(), join(), join()];
    let mut sender = command(SENDER, &endpoint);
    let sender = sender.args(["--group", &group, "--count", "3", "--size", "12"]).spawn().unwrap();
    assert_eq!(ended(sender).0, Some(0));
    for member in members {
        assert_eq!(ended(member).1, b"0000000000 \n0000000001 \n0000000002 \n");
    }
}

/// In a group nobody refuses, so a sender looks for itself whether those who have welcomed it are still there.
#[test]
fn a_member_that_dies_is_missed() {
    let (group, endpoint) = group_of(1);
    let mut member = ready(command(RECEIVER, &endpoint).args(["--group", &group]).spawn().unwrap()).0;
    let mut sender = command(SENDER, &endpoint);
    sender.args(["--group", &group, "--timeout", "5"]).stdin(Stdio::piped());
    let mut sender = sender.spawn().unwrap();
    let mut input = sender.stdin.take().unwrap();
    input.write_all(b"x\n").unwrap();
    member.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    member.kill().unwrap();
    member.wait().unwrap();
    drop(input);
    let (code, _, said) = ended(sender);
    assert_eq!(code, Some(3), "{said}");
}

/// A network namespace of one's own has a loopback interface that is down.
#[test]
#[ignore = "needs root, for a network of its own"]
fn where_there_is_no_multicast_it_is_skipped() {
    for program in [SENDER, RECEIVER] {
        let words = ["--net", program, "--endpoint", "127.0.0.1:20001", "--group", "239.1.1.1", "--timeout", "2"];
        let output = Command::new("unshare").args(words).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let one_line = said.lines().count() == 1 && said.contains("not supported on this machine");
        assert!(output.status.code() == Some(77) && one_line, "{said}");
    }
}

/// Both ends have a port of 127.0.0.1 and nothing else that would tell them from each other's users.
#[test]
#[ignore = "needs root, to be two users"]
fn another_user_is_turned_away() {
    // Who says hello to our receiver: not answered, and the receiver goes on waiting.
    let (mine, endpoint) = receiver();
    let foreign = command(SENDER, &endpoint).args(["evil", "--timeout", "0.5"]).uid(NOBODY).spawn().unwrap();
    let (code, _, complaint) = ended(foreign);
    assert!(code == Some(1) && complaint.contains("another user's process has this port"), "{complaint}");
    let line = format!(
        "exec 3<>/dev/udp/{}; printf '\\2\\0\\0\\0\\0\\0\\0\\0\\0' >&3; read -t 0.3 -N 1 <&3",
        endpoint.replace(':', "/")
    );
    let foreign = Command::new("bash").args(["-c", &line]).uid(NOBODY).stderr(Stdio::null()).status().unwrap();
    assert!(!foreign.success(), "it was answered");
    run(SENDER, &endpoint, &["good"]).success();
    assert_eq!(ended(mine).1, b"good\n");
    // Who has our port: gets nothing.
    let (theirs, endpoint) = ready(command(RECEIVER, "127.0.0.1:0").uid(NOBODY).spawn().unwrap());
    let said = said(&run(SENDER, &endpoint, &["secret"]).code(1));
    assert!(said.contains("another user's process has this port"), "{said}");
    let good = command(SENDER, &endpoint).arg("good").uid(NOBODY).spawn().unwrap();
    assert_eq!(ended(good).0, Some(0));
    assert_eq!(ended(theirs).1, b"good\n");
}

/// A process can send to 127.0.0.1 from any address of its machine.
#[test]
#[ignore = "needs root, to be two users and to have a network of its own"]
fn another_user_is_turned_away_whatever_address_it_comes_from() {
    port::in_a_network_with_two_addresses(|address| {
        let (mine, endpoint) = receiver();
        let (_, number) = endpoint.rsplit_once(':').unwrap();
        let script = format!(
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(0.3)\n\
             s.bind(('{address}', 0)); s.connect(('127.0.0.1', {number})); s.send(b'\\2' + bytes(8)); s.recv(9)"
        );
        let foreign = Command::new("python3").args(["-c", &script]).uid(NOBODY).output().unwrap();
        let said_by_it = String::from_utf8_lossy(&foreign.stderr);
        assert!(said_by_it.contains("timed out"), "it was answered: {said_by_it}");
        run(SENDER, &endpoint, &["good"]).success();
        assert_eq!(ended(mine).1, b"good\n");
    });
}

/// A port is free when its process is gone. Who has it then reads what comes, and its report counts for nothing.
#[test]
#[ignore = "needs root, to be two users"]
fn another_users_report_is_not_believed() {
    let (mut mine, endpoint) = receiver();
    let (_, number) = endpoint.rsplit_once(':').unwrap();
    let mut sender = command(SENDER, &endpoint).stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = sender.stdin.take().unwrap();
    lines.write_all(b"one\n").unwrap();
    mine.stdout.as_mut().unwrap().read_exact(&mut [0; 4]).unwrap();
    mine.kill().unwrap();
    mine.wait().unwrap();
    // It reports two messages for each that comes, the end's answer among them.
    let script = format!(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', {number}))\n\
         print('bound', flush=True)\n\
         while True: _, who = s.recvfrom(99); s.sendto(b'\\4' + (2).to_bytes(8, 'big'), who)"
    );
    let mut thief = Command::new("python3");
    thief.args(["-c", &script]).uid(NOBODY).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut thief = thief.spawn().unwrap();
    thief.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    lines.write_all(b"two\n").unwrap();
    drop(lines);
    let (code, _, said) = ended(sender);
    thief.kill().unwrap();
    thief.wait().unwrap();
    assert!(code == Some(1) && said.contains("another user's process has this port"), "{code:?} {said}");
}

#[test]
fn an_interrupt_ends_the_wait_for_a_receiver() {
    port::an_interrupt_ends_the_wait_for_a_receiver(SENDER, &nobody_there(2));
}
