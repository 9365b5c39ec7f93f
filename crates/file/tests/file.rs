//! What is special about a file as a channel, seen through the two programs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const SENDER: &str = env!("CARGO_BIN_EXE_file-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_file-receiver");

/// A path that nothing stands at.
fn endpoint(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("file-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn command(program: &str, endpoint: &Path, args: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--timeout", "20", "--endpoint"]).arg(endpoint).args(args.split_whitespace());
    command
}

/// Starts a receiver and waits until it is ready.
fn receiver(endpoint: &Path, args: &str) -> Child {
    let mut child =
        command(RECEIVER, endpoint, args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("receiver");
    let mut ready = [0; 1];
    // The file comes before the line that says so; a byte of the line is enough.
    std::io::Read::read_exact(child.stderr.as_mut().expect("piped"), &mut ready).expect("the receiver's first line");
    child
}

fn end(child: Child) -> (Output, String) {
    let output = child.wait_with_output().expect("wait");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, stderr)
}

/// The number behind `key=` in the line of `--stats`.
fn figure(stats: &str, key: &str) -> f64 {
    let (_, rest) = stats.split_once(&format!(" {key}=")).unwrap_or_else(|| panic!("no {key} in {stats}"));
    rest.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn every_pace_carries_every_message() {
    for (name, pace) in [("woken", ""), ("slow", "--poll 30"), ("fast", "--poll 1"), ("spin", "--poll 0")] {
        let endpoint = endpoint(name);
        let child = receiver(&endpoint, pace);
        assert_cmd::Command::from_std(command(SENDER, &endpoint, "--count 20000 --size 7")).assert().success();
        let (output, stderr) = end(child);
        assert!(output.status.success(), "{pace}: {stderr}");
        assert_eq!(output.stdout.len(), 140_000, "{pace}");
        assert!(!endpoint.exists());
    }
}

#[test]
fn polling_is_not_real_time() {
    let median = |name: &str, pace: &str| {
        let endpoint = endpoint(name);
        let child = receiver(&endpoint, &format!("--stats {pace}"));
        let mut sender = command(SENDER, &endpoint, "--count 15 --size 64 --stamp --interval 0.03");
        assert!(sender.status().expect("sender").success());
        figure(&end(child).1, "delay_us_median")
    };
    let (woken, polled) = (median("m-woken", ""), median("m-polled", "--poll 200"));
    assert!(polled > 10_000.0, "a look every 200 ms is late by 100 ms, not {polled} us");
    assert!(woken < polled, "woken {woken} us, polled {polled} us");
}

#[test]
fn a_poll_that_is_no_number_is_wrong_usage() {
    for bad in ["soon", "-1", "1.5", "99999999999", ""] {
        let mut receiver = assert_cmd::Command::new(RECEIVER);
        receiver.arg(format!("--poll={bad}")).assert().code(2);
    }
}

#[test]
fn any_program_can_be_the_sender() {
    let endpoint = endpoint("shell");
    let child = receiver(&endpoint, "");
    let script = r#"printf '\0\0\0\6hello\n\377\377\377\377' >> "$0""#;
    assert!(Command::new("sh").arg("-c").arg(script).arg(&endpoint).status().expect("sh").success());
    let (output, stderr) = end(child);
    assert_eq!(output.stdout, b"hello\n", "{stderr}");
}

/// What a reader of the bare file sees while the sender is at work looks like a whole file.
#[test]
fn half_a_file_looks_complete() {
    let endpoint = endpoint("half");
    let child = receiver(&endpoint, "");
    let mut sender = command(SENDER, &endpoint, "").stdin(Stdio::piped()).spawn().expect("sender");
    let stdin = sender.stdin.as_mut().expect("piped");
    stdin.write_all(b"first half\n").expect("write");
    while fs::metadata(&endpoint).expect("stat").len() < 15 {
        std::thread::yield_now();
    }
    let cat = Command::new("cat").arg(&endpoint).output().expect("cat");
    assert!(cat.status.success());
    assert_eq!(cat.stdout, b"\0\0\0\x0bfirst half\n");
    stdin.write_all(b"second half\n").expect("write");
    assert!(sender.wait_with_output().expect("wait").status.success());
    assert_eq!(end(child).0.stdout, b"first half\nsecond half\n");
}

#[test]
fn a_file_cut_short_is_told() {
    let endpoint = endpoint("cut");
    let mut child = receiver(&endpoint, "");
    File::options().append(true).open(&endpoint).and_then(|mut file| file.write_all(b"\0\0\0\x02a\n")).expect("append");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("read");
    assert_eq!(line, "a\n");
    File::options().write(true).open(&endpoint).and_then(|file| file.set_len(0)).expect("truncate");
    let (output, stderr) = end(child);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("truncated"), "{stderr}");
}

#[test]
fn a_limit_on_file_size_is_an_error_and_not_a_death() {
    let endpoint = endpoint("limit");
    let child = receiver(&endpoint, "");
    let script = r#"ulimit -f 8; exec "$0" --timeout 20 --endpoint "$1" --count 1000 --size 1000"#;
    let sender = Command::new("sh").args(["-c", script, SENDER]).arg(&endpoint).output().expect("sh");
    let said = String::from_utf8_lossy(&sender.stderr);
    assert_eq!(sender.status.code(), Some(1), "{said}");
    assert!(said.contains("EFBIG") && said.contains("ulimit -f"), "{said}");
    assert_eq!(end(child).0.status.code(), Some(3));
    assert!(!endpoint.exists());
}

#[test]
fn a_file_of_somebody_elses_making_is_left_alone() {
    let endpoint = endpoint("thesis");
    fs::write(&endpoint, "three years of work").expect("write");
    let refused = assert_cmd::Command::from_std(command(RECEIVER, &endpoint, "")).assert().code(1);
    let said = String::from_utf8_lossy(&refused.get_output().stderr);
    assert!(said.contains("EEXIST"), "{said}");
    assert_eq!(fs::read(&endpoint).expect("read"), b"three years of work");
    fs::remove_file(&endpoint).expect("unlink");
}
