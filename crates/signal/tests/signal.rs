//! What is special about signals as a channel, seen through the two programs.
#![expect(unsafe_code, reason = "a sender of one thread, which fork(2) makes")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::Duration;

use ::signal::signal;

const SENDER: &str = env!("CARGO_BIN_EXE_signal-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_signal-receiver");

/// A path that nothing stands at.
fn endpoint(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("signal-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn command(program: &str, endpoint: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["--timeout", "20", "--endpoint"]).arg(endpoint).args(args);
    command
}

/// Starts a receiver and waits until it is ready.
fn receiver(endpoint: &Path) -> (Child, BufReader<ChildStderr>) {
    let mut child =
        command(RECEIVER, endpoint, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("receiver");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    stderr.read_line(&mut line).expect("the receiver's first line");
    assert!(line.contains("ready"), "{line}");
    (child, stderr)
}

fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), pid]).status().expect("kill").success());
}

#[test]
fn the_pid_file_holds_the_receivers_pid() {
    let endpoint = endpoint("pid");
    let (mut child, _stderr) = receiver(&endpoint);
    assert_eq!(fs::read_to_string(&endpoint).expect("read"), format!("{}\n", child.id()));
    kill("TERM", &child.id().to_string());
    assert_eq!(child.wait().expect("wait").code(), Some(143));
    assert!(!endpoint.exists());
}

/// They neither end a program nor are they taken for bits or acknowledgements.
#[test]
fn signals_of_strangers_are_ignored() {
    let endpoint = endpoint("strangers");
    let (child, _stderr) = receiver(&endpoint);
    for signal in ["USR2", "USR1", "USR2"] {
        kill(signal, &child.id().to_string());
    }
    let mut sender = command(SENDER, &endpoint, &[]).stdin(Stdio::piped()).spawn().expect("sender");
    let mut stdin = sender.stdin.take().expect("piped");
    for line in ["one\n", "two\n", "three\n"] {
        stdin.write_all(line.as_bytes()).expect("write");
        // Between the lines nothing is under way that a stranger's signal could be merged with.
        thread::sleep(Duration::from_millis(200));
        for pid in [child.id(), sender.id()] {
            kill("USR2", &pid.to_string());
            kill("USR1", &pid.to_string());
        }
        thread::sleep(Duration::from_millis(50));
    }
    drop(stdin);
    assert!(sender.wait().expect("wait").success());
    let output = child.wait_with_output().expect("wait");
    assert!(output.status.success());
    assert_eq!(output.stdout, b"one\ntwo\nthree\n");
}

/// The receiver goes by the lock: a pid file that somebody has rewritten leads nobody astray.
#[test]
fn a_wrong_pid_in_the_file_is_never_signalled() {
    let endpoint = endpoint("wrong-pid");
    let (child, _stderr) = receiver(&endpoint);
    let mut bystander = Command::new("sleep").arg("60").spawn().expect("sleep");
    fs::write(&endpoint, format!("{}\n", bystander.id())).expect("write");
    assert_cmd::Command::from_std(command(SENDER, &endpoint, &["hello"])).assert().success();
    assert_eq!(child.wait_with_output().expect("wait").stdout, b"hello\n");
    assert!(bystander.try_wait().expect("wait").is_none(), "SIGUSR1 has killed a bystander");
    bystander.kill().expect("kill");
    bystander.wait().expect("wait");
}

#[test]
fn the_longest_message_has_4096_bytes() {
    let endpoint = endpoint("long");
    let mut sender = assert_cmd::Command::from_std(command(SENDER, &endpoint, &["--count", "1", "--size", "4097"]));
    sender.assert().code(5);
    let (child, _stderr) = receiver(&endpoint);
    let sender = assert_cmd::Command::from_std(command(SENDER, &endpoint, &["--count", "1", "--size", "4096"]));
    { sender }.assert().success();
    assert_eq!(child.wait_with_output().expect("wait").stdout.len(), 4096);
}

/// A sender that is none of ours, but keeps the rules of the rendezvous, announces more than is possible.
#[test]
fn a_length_that_is_too_big_is_refused() {
    let endpoint = endpoint("hostile");
    let (mut child, mut stderr) = receiver(&endpoint);
    let pid = child.id() as i32;
    signal::block().expect("block");
    let lock_path = format!("{}.lock", endpoint.display());
    // SAFETY: the child goes on with this thread only, does nothing that another thread could have locked, and
    // ends without the test harness's clean-up.
    let liar = unsafe { libc::fork() };
    if liar == 0 {
        // One that waits for ever fails, too.
        // SAFETY: the call touches no memory.
        unsafe { libc::alarm(20) };
        let lie = || {
            let mut lock = File::options().read(true).append(true).open(&lock_path)?;
            let (l_type, l_whence) = (libc::F_WRLCK as i16, libc::SEEK_SET as i16);
            let sender = libc::flock { l_type, l_whence, l_start: 2, l_len: 1, l_pid: 0 };
            // SAFETY: the descriptor is open, and `sender` is the argument that F_SETLK takes.
            if unsafe { libc::fcntl(lock.as_raw_fd(), libc::F_SETLK, &sender) } != 0 {
                return Err(std::io::Error::last_os_error());
            }
            lock.write_all(format!("sender {}\n", std::process::id()).as_bytes())?;
            signal::Writer::new(signal::Peer::open(pid)?).write_all(&(0x8000 | 4097_u16).to_be_bytes())
        };
        let code = i32::from(lie().is_err());
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(code) };
    }
    let mut said = String::new();
    stderr.read_line(&mut said).expect("read");
    assert_eq!(child.wait().expect("wait").code(), Some(5), "{said}");
    assert!(said.contains("4097"), "{said}");
    let mut status = -1;
    // SAFETY: `status` has room for the answer, and nobody else waits for this child.
    assert_eq!(unsafe { libc::waitpid(liar, &raw mut status, 0) }, liar);
    assert_eq!(status, 0);
}

/// The README's experiment: what the acknowledgements are for.
#[test]
fn without_acknowledgement_one_of_a_thousand_is_seen() {
    let script = r#"
        bash -c 'seen=0; trap "seen=\$((seen + 1))" USR1; kill -STOP $$; echo "seen: $seen"' &
        until grep -q '^State:.T' /proc/$!/status; do :; done
        for n in {1..1000}; do kill -USR1 $!; done
        kill -CONT $!; wait
    "#;
    let output = Command::new("bash").args(["-c", script]).output().expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "seen: 1\n");
}
