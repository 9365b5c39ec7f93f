//! The sum through every technique; workers that are killed or cannot be forked; and nothing is left.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use catalog::TECHNIQUES;
use common::{Delivery, Technique};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, geteuid};

const LONG: Duration = Duration::from_secs(20);
const TOTAL: &str = "50005000";
/// Nobody lives to see the end of this sum.
const FOREVER: [&str; 2] = ["--to", "18446744073709551615"];

type Result<T = (), E = Failed> = std::result::Result<T, E>;

macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+).into());
        }
    };
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Where every user can start it. Copied before there is a second thread: what a thread has open to write while
    // another one forks cannot be executed (ETXTBSY).
    let place = tempfile::tempdir()?;
    fs::set_permissions(place.path(), Permissions::from_mode(0o755))?;
    let program = place.path().join("parallel-sum");
    fs::copy(env!("CARGO_BIN_EXE_parallel-sum"), &program)?;
    let _ = PROGRAM.set(program);
    // What loses its parent becomes ours, so that it can be seen.
    set_child_subreaper(true)?;

    let mut trials = vec![
        Trial::test("all_techniques_in_a_table", all),
        Trial::test("without_communication_the_parent_knows_nothing", none),
        Trial::test("shares_need_not_be_equal", unequal),
        Trial::test("ten_thousand_numbers_are_faster_alone", faster_alone),
        Trial::test("sums_of_more_than_64_bits", wide),
        Trial::test("bad_input_is_told_in_one_line", bad_input),
        Trial::ignorable_test("a_fork_that_is_refused", no_fork),
        Trial::ignorable_test("ten_message_queues_within_a_low_limit", few_queues),
        Trial::ignorable_test("what_the_machine_does_not_offer_is_skipped", unsupported),
        Trial::test("a_technique_that_fails_is_told_of", failing),
        Trial::test("what_does_not_add_up_is_told", lies),
        Trial::test("a_worker_that_dies_while_it_waits_for_its_turn", dies_waiting),
        Trial::test("no_worker_outlives_its_parent", orphans),
        Trial::test("a_signal_ends_all_processes", interrupted),
        Trial::test("a_signal_ends_all_processes_of_a_table", interrupted_table),
        Trial::test("a_caller_that_ignores_sigchld", ignored_sigchld),
        Trial::test("output_that_nobody_reads_is_no_failure", closed_output),
        Trial::test("output_that_cannot_be_written_is", full_output),
    ];
    for technique in TECHNIQUES {
        let name = technique.name;
        trials.push(Trial::ignorable_test(format!("sum_through::{name}"), || sum(technique)));
        trials.push(Trial::ignorable_test(format!("killed_worker::{name}"), || killed(technique)));
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    place.close()?;
    conclusion.exit()
}

fn program() -> &'static Path {
    PROGRAM.get().expect("main has set it")
}

/// The program, run by another one that runs others, or by none.
fn command_of(runner: &[&str], words: &[&str]) -> Command {
    let mut command = match runner {
        [] => Command::new(program()),
        [name, options @ ..] => {
            let mut command = Command::new(name);
            command.args(options).arg(program());
            command
        }
    };
    // In a process group of its own, so that whoever is left of it can be found.
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

fn command(words: &[&str]) -> Command {
    command_of(&[], words)
}

/// A shell's `&` starts programs with SIGINT ignored, and these tests may have been started like that.
const LISTENS: [&str; 2] = ["env", "--default-signal=INT,TERM,HUP"];

/// How it ended, what it said, and that nothing is left of it.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(command: Command) -> Result<Ended> {
    let mut command = command;
    end_of(command.spawn()?)
}

fn end_of(child: Child) -> Result<Ended> {
    let id = child.id();
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    nothing_left(id)?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ended { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) })
}

/// Neither a process, running or a zombie, nor an object with a name.
fn nothing_left(id: u32) -> Result {
    let group = Pid::from_raw(id as i32);
    // An orphan has become our child. Whoever was not reaped by its parent shows here.
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    ensure!(waitid(Id::PGid(group), look) == Err(Errno::ECHILD), "a process of group {group} was left behind");
    ensure!(killpg(group, None) == Err(Errno::ESRCH), "process group {group} still has members");
    nothing_named(id)
}

fn nothing_named(id: u32) -> Result {
    for dir in ["/dev/shm", "/dev/mqueue", "/tmp"] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!(!(name.contains("ipc-lab") && name.contains(&format!("-{id}-"))), "{dir}/{name} was left behind");
        }
    }
    Ok(())
}

/// The rows of the table: worker, process, from, to, sum.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|words| words.len() == 6 && words[0].parse::<u32>().is_ok()).collect()
}

fn total(text: &str) -> Option<&str> {
    let mut totals = text.lines().filter_map(|line| line.trim_start().strip_prefix("total "));
    let total = totals.next()?.split_whitespace().next();
    // Once, whatever was in the buffers when the workers were forked.
    if totals.next().is_some() { None } else { total }
}

fn sum(technique: &Technique) -> Result<Completion> {
    let Ended { code, stdout, stderr } = run(command(&["--via", technique.name]))?;
    if code == Some(77) {
        return Ok(Completion::ignored_with(stderr.trim_end().to_owned()));
    }
    if technique.delivery == Delivery::BestEffort && code != Some(0) {
        ensure!(stdout.is_empty() && stderr.starts_with("parallel-sum: "), "{code:?}\n{stdout}{stderr}");
        return Ok(Completion::ignored_with(format!("what is best effort has failed clearly: {}", stderr.trim_end())));
    }
    ensure!(code == Some(0) && stderr.is_empty(), "{code:?}\n{stdout}{stderr}");
    ensure!(total(&stdout) == Some(TOTAL), "{stdout}");
    ensure!(stdout.contains(&format!("n(n+1)/2 says {TOTAL}: the same\n")), "{stdout}");
    ensure!(stdout.contains(&format!("through {}: {}\n", technique.name, technique.kernel_object)), "{stdout}");
    let rows = rows(&stdout);
    ensure!(rows.len() == 10, "{stdout}");
    let mut pids = Vec::new();
    for (number, row) in (0_u64..).zip(&rows) {
        let (from, to) = (number * 1000 + 1, (number + 1) * 1000);
        let sum = (from + to) * 1000 / 2;
        let expected = [(number + 1).to_string(), from.to_string(), to.to_string(), sum.to_string()];
        ensure!([row[0], row[2], row[3], row[4]] == expected.each_ref().map(String::as_str), "{stdout}");
        pids.push(row[1]);
    }
    pids.sort_unstable();
    pids.dedup();
    ensure!(pids.len() == 10, "ten workers are ten processes: {stdout}");
    ensure!(stdout.lines().filter(|line| line.contains("times as fast")).count() == 1, "{stdout}");
    Ok(Completion::Completed)
}

/// The workers of a running program, in the order in which they were forked.
fn workers(child: &Child, count: usize) -> Result<Vec<Pid>> {
    let id = child.id();
    let begin = Instant::now();
    loop {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let pids: Vec<Pid> =
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect();
        if pids.len() == count {
            return Ok(pids);
        }
        ensure!(begin.elapsed() < LONG, "{} of {count} workers came", pids.len());
        thread::yield_now();
    }
}

fn stat(pid: Pid) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").map_or(String::new(), |(_, rest)| rest.to_owned())
}

/// Kills a program that does not end by itself: a trial that fails must not leave it behind.
struct Guard(Option<Child>);

impl Guard {
    fn child(&self) -> &Child {
        self.0.as_ref().expect("it is taken at the end only")
    }

    /// Its end, under a deadline.
    fn end(mut self) -> Result<Ended> {
        let id = Pid::from_raw(self.child().id() as i32);
        let begin = Instant::now();
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while waitid(Id::Pid(id), look)?.pid().is_none() {
            ensure!(begin.elapsed() < LONG, "it does not end");
            thread::sleep(Duration::from_millis(2));
        }
        end_of(self.0.take().ok_or("taken")?)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let group = Pid::from_raw(child.id() as i32);
            // It may have names to remove.
            let _ = kill(group, Signal::SIGTERM);
            thread::sleep(Duration::from_millis(500));
            let _ = killpg(group, Signal::SIGKILL);
            let _ = child.wait();
            while waitpid(Pid::from_raw(-group.as_raw()), None).is_ok() {}
            let _ = remove_folders(child.id());
        }
    }
}

/// Four workers that add for ever. One is killed.
fn killed(technique: &Technique) -> Result<Completion> {
    let words = [&FOREVER[..], &["--workers", "4", "--via", technique.name]].concat();
    let running = Guard(Some(command(&words).spawn()?));
    let pids = match workers(running.child(), 4) {
        Ok(pids) => pids,
        Err(failed) => match running.end() {
            Ok(Ended { code: Some(77), stderr, .. }) => {
                return Ok(Completion::ignored_with(stderr.trim_end().to_owned()));
            }
            _ => return Err(failed),
        },
    };
    kill(pids[2], Signal::SIGKILL)?;
    let Ended { code, stdout, stderr } = running.end()?;
    if code == Some(77) {
        return Ok(Completion::ignored_with(stderr.trim_end().to_owned()));
    }
    ensure!(code == Some(3) && stdout.is_empty(), "{code:?}\n{stdout}{stderr}");
    let line = format!("parallel-sum: worker 3 (process {}) was ended by SIGKILL: there is no total\n", pids[2]);
    ensure!(stderr == line, "{stderr}");
    Ok(Completion::Completed)
}

/// The first worker is stopped, the others have added and wait for their turns. One of them is killed.
fn dies_waiting() -> Result {
    for via in ["fifo", "posix-mq", "signal", "tcp"] {
        let words = ["--from", "1", "--to", "3000000000", "--workers", "3", "--via", via];
        let running = Guard(Some(command(&words).spawn()?));
        let pids = workers(running.child(), 3)?;
        kill(pids[0], Signal::SIGSTOP)?;
        let begin = Instant::now();
        // Asleep: it has a thread by then, which looks after its waits.
        while fs::read_dir(format!("/proc/{}/task", pids[1]))?.count() < 2 && !stat(pids[1]).starts_with('S') {
            ensure!(begin.elapsed() < 3 * LONG, "worker 2 is not done");
            thread::sleep(Duration::from_millis(2));
        }
        kill(pids[1], Signal::SIGKILL)?;
        let Ended { code, stdout, stderr } = running.end()?;
        ensure!(code == Some(3) && stdout.is_empty(), "{via}: {code:?}\n{stdout}{stderr}");
        let line = format!("parallel-sum: worker 2 (process {}) was ended by SIGKILL: there is no total\n", pids[1]);
        ensure!(stderr == line, "{via}: {stderr}");
    }
    Ok(())
}

/// The row of a technique in a table: the total, the verdict, and what is behind it.
fn row<'a>(table: &'a str, name: &str) -> Option<(&'a str, &'a str, String)> {
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let words = rows.find(|words| words.len() > 4 && words[0] == name)?;
    Some((words[1], words[3], words[4..].join(" ")))
}

fn all() -> Result {
    let Ended { code, stdout, stderr } = run(command(&["--via", "all"]))?;
    let (mut right, mut failed, mut skipped) = (0, 0, 0);
    for technique in TECHNIQUES {
        let lost = technique.delivery == Delivery::BestEffort;
        match row(&stdout, technique.name) {
            Some((TOTAL, "right", object)) if object == technique.kernel_object => right += 1,
            Some(("-", "FAILED", _)) if lost => failed += 1,
            Some(("-", "skipped", _)) => skipped += 1,
            other => return Err(format!("{}: {other:?}\n{stdout}", technique.name).into()),
        }
    }
    let last = format!("{} techniques: {right} right, {failed} failed, {skipped} skipped\n", TECHNIQUES.len());
    ensure!(stdout.ends_with(&last), "{stdout}");
    ensure!(code == Some(i32::from(failed > 0)) && stderr.is_empty() == (failed == 0), "{code:?}\n{stderr}");
    Ok(())
}

fn none() -> Result {
    let Ended { code, stdout, stderr } = run(command(&["--via", "none"]))?;
    ensure!(code == Some(0) && stderr.is_empty(), "{code:?}\n{stdout}{stderr}");
    ensure!(total(&stdout) == Some("0"), "{stdout}");
    ensure!(stdout.contains(&format!("n(n+1)/2 says {TOTAL}; the parent knows 0\n")), "{stdout}");
    ensure!(rows(&stdout).len() == 10 && rows(&stdout).iter().all(|row| row[4] == "?"), "{stdout}");
    // A worker that is killed is a failure all the same.
    let running = Guard(Some(command(&[&FOREVER[..], &["--workers", "2", "--via", "none"]].concat()).spawn()?));
    kill(workers(running.child(), 2)?[0], Signal::SIGKILL)?;
    // The other one would go on for ever.
    let Ended { code, stdout, stderr } = running.end()?;
    ensure!(code == Some(3) && stdout.is_empty() && stderr.contains("worker 1 "), "{code:?}\n{stdout}{stderr}");
    Ok(())
}

/// The lesson's three times, and its longer sum.
fn faster_alone() -> Result {
    let times = |words: &[&str], total_is: &str| -> Result<[f64; 2]> {
        let Ended { code, stdout, stderr } = run(command(words))?;
        ensure!(code == Some(0) && total(&stdout) == Some(total_is), "{code:?}\n{stdout}{stderr}");
        ensure!(stdout.ends_with(" times as fast as one process\n"), "{stdout}");
        let after = |what: &str| stdout.split_once(what)?.1.split_whitespace().next()?.parse::<f64>().ok();
        let times = after("one process alone: ").zip(after(" workers: "));
        times.map(|(alone, workers)| [alone, workers]).ok_or_else(|| format!("no times in:\n{stdout}").into())
    };
    let [alone, workers] = times(&[], TOTAL)?;
    let is_slower = workers > alone;
    ensure!(is_slower, "alone {alone} s, ten workers {workers} s");
    times(&["--to", "2000000000", "--workers", "2"], "2000000001000000000").map(drop)
}

fn unequal() -> Result {
    let Ended { code, stdout, .. } = run(command(&["--from", "3", "--to", "12", "--workers", "4"]))?;
    let shares: Vec<[&str; 3]> = rows(&stdout).iter().map(|row| [row[2], row[3], row[4]]).collect();
    let expected = [["3", "4", "7"], ["5", "7", "18"], ["8", "9", "17"], ["10", "12", "33"]];
    ensure!(code == Some(0) && shares == expected && total(&stdout) == Some("75"), "{stdout}");
    for words in [&["--from", "0", "--to", "0", "--workers", "1"][..], &["--to", "7", "--workers", "7"]] {
        let Ended { code, stdout, stderr } = run(command(words))?;
        ensure!(code == Some(0) && stdout.contains(": the same\n"), "{words:?}: {stdout}{stderr}");
    }
    Ok(())
}

fn wide() -> Result {
    let last = ["--from", "18446744073709551606", "--to", "18446744073709551615"];
    for (workers, via) in [("1", "pipe"), ("3", "posix-mq"), ("10", "shm")] {
        let Ended { code, stdout, .. } = run(command(&[&last[..], &["--workers", workers, "--via", via]].concat()))?;
        ensure!(code == Some(0) && total(&stdout) == Some("184467440737095516105"), "{stdout}");
    }
    Ok(())
}

fn bad_input() -> Result {
    let cases: [(&[&str], &str); 12] = [
        (&["--from", "5", "--to", "4"], "--from 5 is above --to 4"),
        (&["--workers", "0"], "not a whole number from 1 to 1000"),
        (&["--workers", "1001"], "not a whole number from 1 to 1000"),
        (&["--workers", "-1"], "not a whole number from 1 to 1000"),
        (&["--to", "3"], "10 workers, but only 3 numbers to add"),
        (&["--to", "18446744073709551616"], "not a whole number from 0 to 18446744073709551615"),
        (&["--to", "1e6"], "not a whole number"),
        (&["--from", "-1"], "not a whole number"),
        (&["--from", ""], "not a whole number"),
        (&["--via", "telepathy"], "there are file, "),
        (&["--via"], "a value is required"),
        (&["10000"], "unexpected argument"),
    ];
    for (words, why) in cases {
        let Ended { code, stdout, stderr } = run(command(words))?;
        ensure!(code == Some(2) && stdout.is_empty(), "{words:?}: {code:?}\n{stdout}{stderr}");
        ensure!(stderr.starts_with("parallel-sum: ") && stderr.contains(why), "{words:?}: {stderr}");
        ensure!(stderr.lines().count() == 1 && stderr.ends_with("; see --help\n"), "{words:?}: {stderr}");
    }
    for (word, begin) in [("--help", "Adds up a range of numbers"), ("--version", "parallel-sum 0.")] {
        let Ended { code, stdout, .. } = run(command(&[word]))?;
        ensure!(code == Some(0) && stdout.starts_with(begin), "{stdout}");
    }
    Ok(())
}

/// A user who has no other processes; `None` where we may not become one.
fn as_somebody(mut command: Command, number: u32) -> Option<Command> {
    geteuid().is_root().then(|| {
        let id = 50_000 + (std::process::id() * 8 + number) % 10_000;
        command.uid(id).gid(id);
        command
    })
}

const NEEDS_ROOT: &str = "needs root, to be a user who runs nothing else";

/// With a limit of its own.
fn limited(limit: &str, words: &[&str]) -> Command {
    command_of(&["prlimit", limit], words)
}

fn no_fork() -> Result<Completion> {
    for (number, via) in (0..).zip(["pipe", "fifo", "none"]) {
        // The parent and three workers.
        let Some(command) = as_somebody(limited("--nproc=4", &["--via", via]), number) else {
            return Ok(Completion::ignored_with(NEEDS_ROOT));
        };
        let Ended { code, stdout, stderr } = run(command)?;
        ensure!(code == Some(1) && stdout.is_empty(), "{via}: {code:?}\n{stdout}{stderr}");
        ensure!(
            stderr.starts_with("parallel-sum: fork parallel-sum: worker 4: EAGAIN: Try again (see ulimit -u"),
            "{stderr}"
        );
        ensure!(stderr.lines().count() == 1, "{stderr}");
    }
    Ok(Completion::Completed)
}

fn few_queues() -> Result<Completion> {
    // Room for one queue of ten messages of 8 KiB, and not for two.
    let command = limited("--msgqueue=120000", &["--via", "posix-mq"]);
    let Some(command) = as_somebody(command, 4) else { return Ok(Completion::ignored_with(NEEDS_ROOT)) };
    let Ended { code, stdout, stderr } = run(command)?;
    if code == Some(77) {
        return Ok(Completion::ignored_with(stderr.trim_end().to_owned()));
    }
    ensure!(code == Some(0) && total(&stdout) == Some(TOTAL), "{code:?}\n{stdout}{stderr}");
    // It is the limit that is tested, and not nothing.
    let limit = limited("--msgqueue=1000", &["--via", "posix-mq"]);
    let Some(command) = as_somebody(limit, 5) else { return Ok(Completion::ignored_with(NEEDS_ROOT)) };
    let Ended { code, stdout, stderr } = run(command)?;
    ensure!(
        code == Some(1) && stdout.is_empty() && stderr.contains("RLIMIT_MSGQUEUE is 1000"),
        "{code:?}\n{stdout}{stderr}"
    );
    Ok(Completion::Completed)
}

/// The library that lies.
fn liar() -> Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    let library = dir.path().join("lie.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lie.c");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status()?;
    ensure!(status.success(), "cc: {status}");
    Ok((dir, library))
}

fn unsupported() -> Result<Completion> {
    const NAME: &str = "process-vm";
    if !TECHNIQUES.iter().any(|technique| technique.name == NAME) {
        return Ok(Completion::ignored_with("no technique here is one that a machine could lack"));
    }
    let (_dir, library) = liar()?;
    let mut one = command(&["--via", NAME]);
    one.env("LD_PRELOAD", &library).env("LIE", "an old kernel");
    let Ended { code, stdout, stderr } = run(one)?;
    ensure!(code == Some(77) && stdout.is_empty(), "{code:?}\n{stdout}{stderr}");
    let mut table = command(&["--via", "all"]);
    table.env("LD_PRELOAD", &library).env("LIE", "an old kernel");
    let Ended { code, stdout, stderr } = run(table)?;
    ensure!(matches!(row(&stdout, NAME), Some(("-", "skipped", _))), "{stdout}{stderr}");
    ensure!(code == Some(0) && stdout.contains(" 0 failed, 1 skipped\n"), "{code:?}\n{stdout}{stderr}");
    Ok(Completion::Completed)
}

/// A table goes on after a failure, and tells of it in the end.
fn failing() -> Result {
    let Ended { code, stdout, stderr } = run(limited("--msgqueue=1000", &["--via", "all"]))?;
    let told = |why: &str| why.contains("RLIMIT_MSGQUEUE is 1000");
    ensure!(matches!(row(&stdout, "posix-mq"), Some(("-", "FAILED", why)) if told(&why)), "{stdout}");
    ensure!(code == Some(1) && stderr.contains("techniques failed\n"), "{code:?}\n{stderr}");
    ensure!(matches!(row(&stdout, "unix-stream"), Some((TOTAL, "right", _))), "{stdout}");
    Ok(())
}

fn lies() -> Result {
    let (_dir, library) = liar()?;
    let cases = [
        ("nothing", 0, ""),
        ("another sum", 1, "parallel-sum: check: the total is wrong\n"),
        ("another worker", 1, "parallel-sum: what worker 1 says: invalid data\n"),
        ("not a number", 1, "parallel-sum: what worker 1 says: invalid data\n"),
    ];
    for (lie, expected, line) in cases {
        let mut command = command(&["--via", "pipe"]);
        command.env("LD_PRELOAD", &library).env("LIE", lie);
        let Ended { code, stdout, stderr } = run(command)?;
        ensure!(code == Some(expected) && stderr == line, "{lie}: {code:?}\n{stdout}{stderr}");
        ensure!(expected == 0 || !stdout.contains(&format!("{TOTAL}: the same")), "{lie}: {stdout}");
    }
    Ok(())
}

/// Neither the workers of one technique, nor what stands between in a table.
fn orphans() -> Result {
    for via in ["pipe", "fifo", "none"] {
        let words = [&FOREVER[..], &["--workers", "4", "--via", via]].concat();
        let mut running = Guard(Some(command(&words).spawn()?));
        let pids = workers(running.child(), 4)?;
        kill(Pid::from_raw(running.child().id() as i32), Signal::SIGKILL)?;
        // They have become our children, and we learn how they ended.
        let begin = Instant::now();
        for pid in pids {
            let how = loop {
                match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                    // They are still their parent's.
                    Err(Errno::ECHILD) => {}
                    Ok(WaitStatus::StillAlive) => {}
                    other => break other?,
                }
                ensure!(begin.elapsed() < LONG, "worker {pid} lives on");
                thread::sleep(Duration::from_millis(2));
            };
            // The last one may find out by itself, before it has asked the kernel to be told.
            let expected = [WaitStatus::Signaled(pid, Signal::SIGKILL, false), WaitStatus::Exited(pid, 3)];
            ensure!(expected.contains(&how), "{how:?}");
        }
        let child = running.0.take().ok_or("taken")?;
        let id = child.id();
        child.wait_with_output()?;
        remove_folders(id)?;
        nothing_left(id)?;
    }
    Ok(())
}

/// Who is killed with -9 cannot remove a folder. (scripts/leftovers.sh does.)
fn remove_folders(id: u32) -> io::Result<()> {
    for entry in fs::read_dir("/tmp")?.flatten() {
        if entry.file_name().to_string_lossy().contains(&format!("-run-{id}-")) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A Ctrl-C reaches all processes of the terminal; kill(1) reaches one.
fn interrupted() -> Result {
    for via in ["pipe", "posix-mq", "tcp", "none"] {
        for (signal, code) in ENDING {
            let words = [&FOREVER[..], &["--workers", "4", "--via", via]].concat();
            let running = Guard(Some(command_of(&LISTENS, &words).spawn()?));
            let parent = Pid::from_raw(running.child().id() as i32);
            workers(running.child(), 4)?;
            interrupt(running, parent, signal, code)?;
        }
    }
    Ok(())
}

/// The table has processes between the one that was started and the workers. The first of them adds alone, the
/// others are the parents of the workers of one technique each.
fn interrupted_table() -> Result {
    for (to, line) in [(FOREVER[1], "n(n+1)/2 says"), ("300000000", "the kernel holds"), ("300000000", "right")] {
        for (signal, code) in ENDING {
            let mut child = command_of(&LISTENS, &["--to", to, "--workers", "3", "--via", "all"]).spawn()?;
            let mut stdout = child.stdout.take().ok_or("no output")?;
            let running = Guard(Some(child));
            let mut said = Vec::new();
            while !String::from_utf8_lossy(&said).contains(line) {
                let mut byte = [0];
                stdout.read_exact(&mut byte)?;
                said.extend(byte);
            }
            let middle = workers(running.child(), 1)?[0];
            interrupt(running, middle, signal, code)?;
        }
    }
    Ok(())
}

const ENDING: [(Signal, i32); 3] = [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)];

/// Ends a program whose workers are `middle`'s children, and looks for what is left of it.
fn interrupt(running: Guard, middle: Pid, signal: Signal, code: i32) -> Result {
    let parent = Pid::from_raw(running.child().id() as i32);
    let sent = if signal == Signal::SIGINT { killpg(parent, signal) } else { kill(parent, signal) };
    sent?;
    let Ended { code: ended, stderr, .. } = running.end()?;
    ensure!(ended == Some(code) && stderr == format!("parallel-sum: ended by {signal}\n"), "{ended:?} {stderr}");
    nothing_named(middle.as_raw() as u32)
}

fn ignored_sigchld() -> Result {
    let Ended { code, stdout, stderr } = run(command_of(&["env", "--ignore-signal=CHLD"], &["--via", "fifo"]))?;
    ensure!(code == Some(0) && total(&stdout) == Some(TOTAL), "{code:?}\n{stdout}{stderr}");
    Ok(())
}

fn closed_output() -> Result {
    for via in ["pipe", "all"] {
        let (reader, writer) = io::pipe()?;
        drop(reader);
        let mut command = command(&["--via", via]);
        command.stdout(writer);
        let child = command.spawn()?;
        drop(command);
        let Ended { code, stderr, .. } = end_of(child)?;
        ensure!(code == Some(0) && stderr.is_empty(), "{via}: {code:?} {stderr}");
    }
    Ok(())
}

fn full_output() -> Result {
    for via in ["pipe", "all"] {
        let mut command = command(&["--via", via]);
        command.stdout(File::options().write(true).open("/dev/full")?);
        let Ended { code, stderr, .. } = run(command)?;
        ensure!(code == Some(1), "{via}: {code:?} {stderr}");
        ensure!(stderr == "parallel-sum: write to standard output: ENOSPC: No space left on device\n", "{stderr}");
    }
    Ok(())
}
