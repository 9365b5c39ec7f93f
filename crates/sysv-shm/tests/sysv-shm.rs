//! What is special about System V shared memory: once both ends have it attached, nothing can be left behind.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

const RECEIVER: &str = env!("CARGO_BIN_EXE_sysv-shm-receiver");
const SENDER: &str = env!("CARGO_BIN_EXE_sysv-shm-sender");

type Result<T = (), E = Box<dyn Error>> = std::result::Result<T, E>;

/// What `ipcs -m` would list of this process's making: key, and how many have it attached.
fn segments_of(pid: u32) -> Result<Vec<(i32, u32)>> {
    const KEY: usize = 0;
    const CREATOR: usize = 4;
    const ATTACHED: usize = 6;
    let text = fs::read_to_string("/proc/sysvipc/shm")?;
    let mut found = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[CREATOR] == pid.to_string() {
            found.push((words[KEY].parse()?, words[ATTACHED].parse()?));
        }
    }
    Ok(found)
}

#[test]
fn what_both_have_attached_has_no_key_and_does_not_outlive_a_kill_of_both() -> Result {
    let key = std::process::id() << 8 | 0x51;
    let command = |program| {
        let mut command = Command::new(program);
        command.args(["--endpoint", &format!("{key:#x}"), "--timeout", "20"]);
        command
    };
    let mut receiver = command(RECEIVER).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(receiver.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    said.read_line(&mut line)?;
    assert!(line.contains("ready"), "{line}");
    // The lesson's first `ipcs -m` …
    assert_eq!(segments_of(receiver.id())?, [(key as i32, 1)]);

    let mut sender = command(SENDER).arg("--quiet").stdin(Stdio::piped()).spawn()?;
    sender.stdin.as_mut().ok_or("no standard input")?.write_all(b"hello\n")?;
    let mut came = [0; 6];
    receiver.stdout.as_mut().ok_or("no standard output")?.read_exact(&mut came)?;
    assert_eq!(&came, b"hello\n");
    // … and its second: no key, two processes.
    assert_eq!(segments_of(receiver.id())?, [(0, 2)]);

    for child in [&mut sender, &mut receiver] {
        child.kill()?;
    }
    sender.wait()?;
    receiver.wait()?;
    assert_eq!(segments_of(receiver.id())?, []);
    // What remains is the lock file, which the next receiver would replace.
    fs::remove_file(format!("/dev/shm/{key:#x}.sysv-shm.lock"))?;
    Ok(())
}
