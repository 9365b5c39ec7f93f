//! What is special about message queues: priorities, limits, and messages that outlive the processes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use harness::pid;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use posix_mq::posix_mq::{self as mq, Queue};

const SENDER: &str = env!("CARGO_BIN_EXE_posix-mq-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_posix-mq-receiver");

type Result<T = (), E = Failed> = std::result::Result<T, E>;

fn main() {
    let trials = vec![
        Trial::test("the_highest_priority_is_taken_first", priorities),
        Trial::test("a_priority_that_does_not_exist_is_refused", bad_priority),
        Trial::test("a_new_receiver_does_not_deliver_a_dead_ones_messages", stale_messages),
        Trial::test("a_low_rlimit_is_named", low_rlimit),
        Trial::ignorable_test("a_low_sysctl_is_named", low_sysctl),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A runtime folder and a queue name of a test's own.
struct Place(tempfile::TempDir, String);

impl Place {
    fn new(test: &str) -> Result<Place> {
        Ok(Place(tempfile::tempdir()?, format!("/ipc-lab-test-{}-{test}", std::process::id())))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("XDG_RUNTIME_DIR", self.0.path()).args(["--endpoint", &self.1, "--timeout", "10"]);
        command
    }

    /// Starts a receiver and waits until it is ready.
    fn receiver(&self) -> Result<Child> {
        let mut child = self.command(RECEIVER).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stderr) = child.stderr.as_mut() {
            BufReader::new(stderr).read_line(&mut line)?;
        }
        if line.contains("ready") { Ok(child) } else { Err(format!("not ready: {line}").into()) }
    }

    fn sender(&self, args: &[&str]) -> assert_cmd::assert::Assert {
        assert_cmd::Command::from_std(self.command(SENDER)).args(args).assert()
    }
}

fn output(mut child: Child) -> Result<String> {
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    child.wait()?;
    Ok(text)
}

fn priorities() -> Result {
    let place = Place::new("priorities")?;
    let receiver = place.receiver()?;
    pid::stop(&receiver);
    place.sender(&["--priority", "1,9,5,9", "low", "high", "middle", "next high"]).success();
    pid::go_on(&receiver);
    let text = output(receiver)?;
    if text == "high\nnext high\nmiddle\nlow\n" { Ok(()) } else { Err(format!("{text:?}").into()) }
}

fn bad_priority() -> Result {
    let place = Place::new("bad")?;
    for bad in ["0", "32768", "-1", "1,,2", "high"] {
        let error = place.sender(&[&format!("--priority={bad}"), "x"]).code(2).get_output().stderr.clone();
        let error = String::from_utf8_lossy(&error).into_owned();
        if error.lines().count() != 1 || !error.contains("1 to 32767") {
            return Err(format!("{bad}: {error}").into());
        }
    }
    Ok(())
}

fn stale_messages() -> Result {
    let place = Place::new("stale")?;
    let mut dead = place.receiver()?;
    pid::stop(&dead);
    place.sender(&["old"]).success();
    dead.kill()?;
    dead.wait()?;
    // The wrong way: the queue opens as if it were new, and the dead program's message is in it.
    let old = Queue::open(&place.1)?;
    mq::stop_blocking(&old)?;
    old.put(1, b"still there")?;
    let receiver = place.receiver()?;
    place.sender(&["new"]).success();
    let text = output(receiver)?;
    if text == "new\n" { Ok(()) } else { Err(format!("{text:?}").into()) }
}

/// Runs a shell script with the receiver's command line behind it, and returns what it says.
fn scripted(place: &Place, wrapper: &[&str], script: &str) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(format!("{script} && exec \"$@\"")).args(["sh", RECEIVER]);
    command.args(["--endpoint", &place.1, "--timeout", "1"]).env("XDG_RUNTIME_DIR", place.0.path());
    let output = command.output()?;
    let _ = mq::remove(&place.1);
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn low_rlimit() -> Result {
    let place = Place::new("rlimit")?;
    let (code, error) = scripted(&place, &["bash", "-c"], "ulimit -q 50000")?;
    if code == Some(1) && error.contains("RLIMIT_MSGQUEUE is 50000") && error.contains("ulimit -q") {
        return Ok(());
    }
    Err(format!("{code:?}: {error}").into())
}

fn low_sysctl() -> Result<Completion> {
    let place = Place::new("sysctl")?;
    let wrapper = ["unshare", "--user", "--map-root-user", "--ipc", "sh", "-c"];
    let script = "echo 4096 2>/dev/null >/proc/sys/fs/mqueue/msgsize_max || exit 99";
    match scripted(&place, &wrapper, script) {
        Ok((Some(1), error)) if error.contains("fs.mqueue.msgsize_max is 4096") && error.contains("sysctl") => {
            Ok(Completion::Completed)
        }
        Ok((Some(1), error)) if error.starts_with("unshare:") => {
            Ok(Completion::ignored_with(format!("no private IPC namespace here: {}", error.trim())))
        }
        Ok((Some(99 | 2), _)) => {
            Ok(Completion::ignored_with("the limits of a private IPC namespace cannot be set here"))
        }
        Err(_) => Ok(Completion::ignored_with("unshare is not installed")),
        Ok(other) => Err(format!("{other:?}").into()),
    }
}
