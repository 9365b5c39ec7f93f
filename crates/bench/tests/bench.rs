//! The program as a person runs it. No test asserts a time.
#![expect(unsafe_code, reason = "setting affinity before exec")]

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use harness::pid;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

/// Libraries of somebody else's.
#[cfg(feature = "peers")]
const PEERS: &[&str] = &["iceoryx2", "ipc-channel", "interprocess"];
#[cfg(not(feature = "peers"))]
const PEERS: &[&str] = &[];

fn bench(words: &[&str]) -> Command {
    // A shell's `&` starts programs with SIGINT ignored, and these tests may have been started like that.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT,TERM,HUP").arg(assert_cmd::cargo::cargo_bin!("ipc-bench"));
    command.args(words).stdin(Stdio::null());
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs to the end, and returns what it wrote as JSON.
fn measure(words: &[&str]) -> (Output, Value) {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("results.json");
    let output = bench(words).arg("--json").arg(&json).output().unwrap();
    let text = fs::read(&json).unwrap_or_else(|_| panic!("no results: {}{}", stdout(&output), stderr(&output)));
    (output, serde_json::from_slice(&text).unwrap())
}

/// Every row has rounds, or says why it has none and nothing is wrong; at least one row of each technique has some.
fn assert_measured(output: &Output, results: &Value) {
    let text = format!("{}{}", stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(0), "{text}");
    for row in results["rows"].as_array().unwrap() {
        let rounds = row["rounds"].as_array().unwrap();
        match &row["status"] {
            Value::String(status) => {
                assert_eq!(status, "measured");
                assert!(!rounds.is_empty(), "{row}\n{text}");
            }
            status => assert!(status["skipped"].is_string() && rounds.is_empty(), "{row}\n{text}"),
        }
        for round in rounds {
            assert!(round["messages"].as_u64().unwrap() > 0, "{row}");
            assert!(round["nanos"].as_u64().unwrap() > 0, "{row}");
            assert_eq!(row["measure"] == "round-trip", round["trips"]["count"].is_u64(), "{row}");
        }
    }
    for name in stdout(&bench(&["--list"]).output().unwrap()).lines() {
        let is_measured = |row: &&Value| row["source"]["name"] == name && row["status"] == "measured";
        assert!(results["rows"].as_array().unwrap().iter().any(|row| is_measured(&row)), "{name}\n{text}");
    }
}

#[test]
fn everything_is_measured_in_a_short_run() {
    let (output, results) = measure(&["--time", "1"]);
    assert_measured(&output, &results);
    for (what, values) in results["hardware"].as_array().unwrap().iter().map(|row| (&row["what"], &row["nanos"])) {
        assert!(!values.as_array().unwrap().is_empty() || cores() < 2, "{what}\n{}", stdout(&output));
    }
    let text = stdout(&output);
    for wanted in ["ROUND TRIP, apart, block", "THROUGHPUT, apart, block", "THE MACHINE", "×twin", "unix-stream"] {
        assert!(text.contains(wanted), "{wanted:?} is missing in {text}");
    }
    assert!(!text.contains('\u{1b}'), "no colour where nobody looks");
}

/// Sizes at which headers, words and pages are cut off, every byte checked, wherever the two processes run.
#[test]
fn every_byte_of_odd_sizes_arrives() {
    for (place, sizes) in [("together", "1,15,100"), ("free", "7,8,9,16,17,4095,16385")] {
        let words = ["--time", "0.1", "--verify", "full", "--place", place, "--sizes", sizes];
        let (output, results) = measure(&words);
        assert_measured(&output, &results);
    }
}

#[test]
fn what_can_spin_does() {
    let (output, results) = measure(&["--time", "0.1", "--wait", "spin", "shm", "fifo", "signal"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    for (name, can) in [("shm", true), ("fifo", true), ("signal", false)] {
        let spun = |row: &Value| row["source"]["name"] == name && row["wait"] == "spin" && row["status"] == "measured";
        assert_eq!(results["rows"].as_array().unwrap().iter().any(spun), can, "{name}\n{}", stdout(&output));
    }
}

#[cfg(feature = "peers")]
#[test]
fn peers_have_rows_of_their_own() {
    let words = [&["--time", "0.5", "--wait", "block,spin", "--sizes", "64,4095,1048576"], PEERS].concat();
    let (output, results) = measure(&words);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let rows = results["rows"].as_array().unwrap();
    for (name, wait) in PEERS.iter().map(|name| (*name, "block")).chain([("iceoryx2", "spin")]) {
        let is_its = |row: &&Value| row["source"]["name"] == name && row["wait"] == wait;
        let its: Vec<_> = rows.iter().filter(is_its).collect();
        assert_eq!(its.len(), 6, "{name} {wait}");
        assert!(its.iter().all(|row| row["source"]["kind"] == "peer" && row["status"] == "measured"), "{text}");
        assert!(text.lines().any(|line| line.trim_start().starts_with(name)), "{text}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    for (words, wanted) in [
        (&["no-such"][..], "no technique is called \"no-such\""),
        (&["--time", "0"], "not a number of seconds"),
        (&["--sizes", "0"], "not a number from 1"),
        (&["--only", "hope"], "round-trip or throughput"),
    ] {
        let output = bench(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{words:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_run_is_compared_with_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("old.json");
    let old = json.to_str().unwrap();
    let words = ["--time", "0.1", "pipe", "--sizes", "64", "--only", "throughput"];
    let output = bench(&words).args(["--json", old]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let csv = dir.path().join("new.csv");
    let output = bench(&words).args(["--compare", old, "--csv", csv.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let line = text.lines().find(|line| line.starts_with("technique pipe")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("..") && line.contains("64 B"), "{line}");
    let csv = fs::read_to_string(csv).unwrap();
    let columns = |line: &str| line.split(',').count();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "a heading, the technique and its twin: {csv}");
    assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{csv}");

    let output = bench(&words).args(["--compare", "/no/such.json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "before anything is measured");
    fs::write(&json, "{}").unwrap();
    assert_eq!(bench(&words).args(["--compare", old]).output().unwrap().status.code(), Some(1));
}

#[test]
fn where_nothing_can_be_written_is_told_before_anything_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("index.html");
    fs::write(&page, "<p>precious").unwrap();
    let folder = dir.path().to_str().unwrap();
    for (words, wanted) in [
        (["--json", "/no/such/folder/x"], "write /no/such/folder/x: "),
        (["--csv", folder], "is a directory"),
        (["--report", folder], "index.html: there is one already that is no report"),
    ] {
        // It would take ten minutes.
        let output = bench(&["--time", "600"]).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{words:?}: {}", stderr(&output));
    }
    assert_eq!(fs::read_to_string(page).unwrap(), "<p>precious");
}

#[test]
fn what_is_written_is_the_users_and_complete_or_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let words = ["--time", "0.1", "pipe", "--sizes", "64,64", "--only", "throughput"];
    let files = ["--json", &path("json"), "--csv", &path("csv"), "--report", &path("report")];
    let output = bench(&words).args(files).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    // To ask umask(2) is to change it, for the tests beside this one, too.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:")).expect("Linux 4.7");
    let mask = u32::from_str_radix(mask.trim(), 8).unwrap();
    for name in ["json", "csv", "report/index.html"] {
        let mode = fs::metadata(path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666 & !mask, "{name}");
    }
    let rows = fs::read_to_string(path("csv")).unwrap().lines().count();
    assert_eq!(rows, 3, "a size that is named twice is measured once");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = bench(&["--from", &path("json")]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("write to standard output: ENOSPC"), "{}", stderr(&output));
    let output = bench(&["--from", &path("json"), "--only", "round-trip"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "nothing that would be ignored: {}", stderr(&output));
}

#[test]
fn several_runs_are_shown_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut rounds = 0;
    for (file, technique) in [("a", "pipe"), ("b", "pipe"), ("c", "fifo")] {
        let words = ["--time", "0.2", technique, "--sizes", "64", "--only", "throughput", "--json", &path(file)];
        let output = bench(&words).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let run: Value = serde_json::from_slice(&fs::read(path(file)).unwrap()).unwrap();
        let its = run["rows"].as_array().unwrap().iter().find(|row| row["source"]["kind"] == "technique").unwrap();
        rounds += if technique == "pipe" { its["rounds"].as_array().unwrap().len() } else { 0 };
    }
    let all = [path("a"), path("b"), path("c")].join(",");
    let output = bench(&["--from", &all, "--csv", &path("csv"), "--report", &path("report")]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let page = fs::read_to_string(path("report/index.html")).unwrap();
    assert!(["a ; ", "b ; ", "c</code>"].iter().all(|end| page.contains(&path(end))), "each run's command is named");
    let csv = fs::read_to_string(path("csv")).unwrap();
    let lines: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(lines.len(), 4, "{csv}");
    for line in lines.iter().filter(|line| line[..2] == ["technique", "pipe"]) {
        assert_eq!(line[6], rounds.to_string(), "{csv}");
    }

    let mut other: Value = serde_json::from_slice(&fs::read(path("b")).unwrap()).unwrap();
    other["machine"]["cpu"] = "another".into();
    fs::write(path("b"), other.to_string()).unwrap();
    let output = bench(&["--from", &all]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("it is of another machine: CPU another, and not "), "{}", stderr(&output));
}

fn cores() -> usize {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap()).count()
}

#[test]
fn with_one_core_nothing_is_apart() {
    let mut one = CpuSet::new();
    let mine = sched_getaffinity(Pid::from_raw(0)).unwrap();
    one.set((0..CpuSet::count()).find(|&core| mine.is_set(core).unwrap()).unwrap()).unwrap();
    for (place, code) in [("apart", 77), ("together", 0)] {
        let mut command = bench(&["--time", "0.1", "pipe", "--sizes", "64", "--place", place]);
        // SAFETY: sched_setaffinity(2) is a plain system call, and the set lies in this frame.
        unsafe { command.pre_exec(move || Ok(sched_setaffinity(Pid::from_raw(0), &one)?)) };
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stdout(&output));
        assert_eq!(stdout(&output).contains("NOT SUPPORTED, "), code == 77, "{}", stdout(&output));
    }
}

/// A run that is under way, with two processes at work.
struct Running {
    bench: Child,
    workers: Vec<Pid>,
    dir: PathBuf,
}

/// A test that fails leaves nothing running.
impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.bench.kill();
            for &worker in &self.workers {
                let _ = kill(worker, Signal::SIGKILL);
            }
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Running {
    fn start(words: &[&str]) -> Running {
        let bench = bench(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running = Running { bench, workers: Vec::new(), dir: PathBuf::new() };
        running.workers =
            pid::wait_for("two processes at work", || Some(running.children()).filter(|all| all.len() == 2));
        running.dir = running.find_dir().expect("a private folder");
        running
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.bench.id() as i32)
    }

    fn children(&self) -> Vec<Pid> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
    }

    /// It holds the folder open.
    fn find_dir(&self) -> Option<PathBuf> {
        let fds = fs::read_dir(format!("/proc/{}/fd", self.pid())).ok()?;
        let prefix = format!("/tmp/ipc-lab-{}-run-bench-", geteuid());
        fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok())
            .find(|path| path.to_str().is_some_and(|path| path.starts_with(&prefix)))
    }

    fn end(&mut self) -> Output {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        self.bench.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        self.bench.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
        Output { status: self.bench.wait().unwrap(), stdout, stderr }
    }
}

fn wait_for_the_end_of(worker: Pid) {
    pid::wait_for_the_end_of(worker.as_raw().cast_unsigned());
}

/// What is left with the number of the process `id` in its name.
fn left_by(id: Pid) -> Vec<PathBuf> {
    let prefix = format!("ipc-lab-{}-{id}-", geteuid());
    let shared = fs::read_dir("/dev/shm").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    shared.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(&prefix))).collect()
}

fn assert_nothing_left(bench: Pid, workers: &[Pid], dir: &Path) {
    for &worker in workers {
        wait_for_the_end_of(worker);
    }
    assert!(!dir.exists(), "{}", dir.display());
    assert_eq!(left_by(bench), Vec::<PathBuf>::new());
    // A peer's names in shared memory begin with the folder's, shortened.
    let prefix = dir.file_name().unwrap().to_string_lossy().replace("run-bench-", "");
    let shared = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = shared.filter(|name| name.to_string_lossy().starts_with(&prefix)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn signals_end_it_and_leave_nothing() {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        for name in ["shm", "fifo", "posix-sem"].iter().chain(PEERS) {
            let mut running = Running::start(&["--time", "600", name]);
            let (pid, workers, dir) = (running.pid(), running.workers.clone(), running.dir.clone());
            kill(pid, signal).unwrap();
            let output = running.end();
            assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
            assert!(stderr(&output).contains(&format!("ended by {signal}")), "{}", stderr(&output));
            assert_nothing_left(pid, &workers, &dir);
        }
    }
}

/// A process that dies is a row that failed; the others are measured, and what it left is removed.
#[test]
fn a_killed_process_is_told_and_tidied() {
    for name in ["shm", "fifo"].iter().chain(PEERS) {
        let words = ["--time", "2", name, "--only", "throughput", "--sizes", "64,128", "--twins", "none"];
        let mut running = Running::start(&words);
        let (pid, dir) = (running.pid(), running.dir.clone());
        let workers = running.workers.clone();
        for &worker in &workers {
            let _ = kill(worker, Signal::SIGKILL);
        }
        let output = running.end();
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("FAILED, throughput") && text.contains("SIGKILL"), "{text}");
        assert_nothing_left(pid, &workers, &dir);
    }
}

#[test]
fn its_death_is_the_end_of_its_processes() {
    let mut running = Running::start(&["--time", "600", "shm", "--only", "throughput"]);
    let (pid, workers, dir) = (running.pid(), running.workers.clone(), running.dir.clone());
    // While one is stopped the other waits for it, and would do so for ever.
    kill(workers[0], Signal::SIGSTOP).unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    // Not its output: they would keep it open.
    running.bench.wait().unwrap();
    wait_for_the_end_of(workers[1]);
    kill(workers[0], Signal::SIGCONT).unwrap();
    wait_for_the_end_of(workers[0]);
    assert_eq!(left_by(pid), Vec::<PathBuf>::new(), "they clean up what they have made");
    // Nobody is left to remove the folder; scripts/leftovers.sh --clean is.
    fs::remove_dir_all(dir).unwrap();
}
