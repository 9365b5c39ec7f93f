//! What is special about a mapped file: what was stored in it survives both processes, and msync(2) is what it takes
//! to survive the machine.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use harness::strace;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use mmap_file::mmap_file::Writer;

const RECEIVER: &str = env!("CARGO_BIN_EXE_mmap-file-receiver");
const SENDER: &str = env!("CARGO_BIN_EXE_mmap-file-sender");

fn main() {
    let trials = vec![
        Trial::test("what_was_stored_survives_a_kill_of_both", survives),
        Trial::test("a_hostile_length_is_refused", hostile_length),
        Trial::ignorable_test("with_sync_each_message_costs_an_msync", syncs),
        Trial::ignorable_test("a_full_disk_is_an_error_at_once", full_disk),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn command(program: &str, path: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--endpoint").arg(path).args(["--timeout", "20"]);
    command
}

/// The lesson's `xxd` after a crash.
fn survives() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("ring");
    let mut receiver = command(RECEIVER, &path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(receiver.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    assert!(line.contains("ready"), "{line}");
    let mut sender = command(SENDER, &path).arg("--quiet").stdin(Stdio::piped()).spawn()?;
    sender.stdin.as_mut().ok_or("no standard input")?.write_all(b"remember me\n")?;
    let mut came = [0; 12];
    receiver.stdout.as_mut().ok_or("no standard output")?.read_exact(&mut came)?;
    for child in [&mut sender, &mut receiver] {
        child.kill()?;
    }
    sender.wait()?;
    receiver.wait()?;
    let bytes = fs::read(&path)?;
    // Its length, in the first round; and in the first cell the message.
    assert_eq!(bytes[4096..4100], (1_u32 << 31 | 12).to_ne_bytes());
    assert_eq!(&bytes[266_240..266_252], b"remember me\n");
    Ok(())
}

/// Behind a message there is the word of one that nobody has room for, and whoever has put it there lives on.
fn hostile_length() -> Result<(), Failed> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("ring");
    let mut receiver = command(RECEIVER, &path).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(receiver.stderr.take().ok_or("no standard error")?);
    said.read_line(&mut String::new())?;
    // The receiver has the file's pages in its memory, and so it sees what write(2) does.
    File::options().write(true).open(&path)?.write_all_at(&0xffff_fffe_u32.to_ne_bytes(), 4100)?;
    let mut writer = Writer::open(&path, false)?;
    writer.put_all(b"hello")?;
    let output = receiver.wait_with_output()?;
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b"hello"[..]));
    let mut line = String::new();
    said.read_to_string(&mut line)?;
    assert!(line.contains("nonsense"), "{line}");
    Ok(())
}

fn syncs() -> Result<Completion, Failed> {
    if !strace::works() {
        return Ok(Completion::ignored_with(strace::NONE));
    }
    let dir = tempfile::tempdir()?;
    let (path, calls) = (dir.path().join("ring"), dir.path().join("calls"));
    let mut receiver = command(RECEIVER, &path).args(["--quiet", "--output", "/dev/null"]).spawn()?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=msync", "-o"]).arg(&calls).arg(SENDER).arg("--endpoint").arg(&path);
    let sent = strace.args(["--timeout", "20", "--quiet", "--sync", "--count", "10"]).status()?;
    assert!(sent.success() && receiver.wait()?.success());
    let text = fs::read_to_string(&calls)?;
    assert_eq!(text.matches("msync(").count(), 11, "ten messages and the end:\n{text}");
    Ok(Completion::Completed)
}

fn full_disk() -> Result<Completion, Failed> {
    let dir = tempfile::tempdir()?;
    let script = "mount -t tmpfs -o size=64k none \"$1\" || exit 99; shift; \"$@\"; code=$?; ls \"$0\"; exit $code";
    let place = dir.path().display().to_string();
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, &place, &place, RECEIVER])
        .args(["--timeout", "1", "--endpoint", &format!("{place}/ring")])
        .output();
    let Ok(output) = output else { return Ok(Completion::ignored_with("unshare is not installed")) };
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("unshare:") || output.status.code() == Some(99) {
        return Ok(Completion::ignored_with(format!("no private mounts here: {}", error.trim())));
    }
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("ENOSPC"), "{error}");
    assert!(output.stdout.is_empty(), "left behind: {}", String::from_utf8_lossy(&output.stdout));
    Ok(Completion::Completed)
}
