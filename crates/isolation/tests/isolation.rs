//! Each sentence of the lesson, as root and as a user; machines that forbid something, and machines that lie.

use std::fs::{self, File, Permissions};
use std::io::{self, PipeReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, SysconfVar, geteuid, sysconf};

const NOBODY: u32 = 65534;
const LONG: Duration = Duration::from_secs(10);
/// capabilities(7): sees frames.
const CAP_SYS_ADMIN: u64 = 1 << 21;

type Result<T = (), E = Failed> = std::result::Result<T, E>;

macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(format!($($text)+).into());
        }
    };
}

fn main() -> io::Result<()> {
    // Where every user can start it. Copied before there is a second thread: what a thread has open to write while
    // another one forks cannot be executed (ETXTBSY).
    let place = tempfile::tempdir()?;
    fs::set_permissions(place.path(), Permissions::from_mode(0o755))?;
    let program = place.path().join("isolation");
    fs::copy(env!("CARGO_BIN_EXE_isolation"), &program)?;
    let _ = PROGRAM.set(program);
    let trials = vec![
        Trial::ignorable_test("root_sees_everything", root),
        Trial::test("a_user_sees_the_rest_and_is_told_what_needs_privilege", user),
        Trial::test("a_machine_that_contradicts_the_lesson_is_told_of", lies),
        Trial::test("a_call_that_is_forbidden_to_all_proves_nothing", forbidden_to_all),
        Trial::ignorable_test("in_a_user_namespace", user_namespace),
        Trial::ignorable_test("where_no_other_user_is", pid_namespace),
        Trial::ignorable_test("without_proc", without_proc),
        Trial::test("lines_are_no_longer_than_the_terminal_is_wide", widths),
        Trial::test("plain_where_there_is_no_terminal", plain),
        Trial::test("output_that_nobody_reads_is_no_failure", closed_output),
        Trial::test("output_that_cannot_be_written_is", full_output),
        Trial::ignorable_test("a_fork_that_is_refused", no_fork),
        Trial::test("the_command_line", command_line),
        Trial::test("no_child_is_left", no_child_left),
        Trial::test("a_parent_that_ignores_its_children_is_no_hindrance", ignored_children),
        Trial::test("no_child_outlives_a_parent_that_is_killed", killed),
    ];
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    place.close()?;
    conclusion.exit()
}

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

fn program() -> &'static Path {
    PROGRAM.get().expect("main has set it")
}

/// As the user who runs the tests.
fn isolation() -> Command {
    let mut command = Command::new(program());
    command.stdin(Stdio::null());
    command
}

/// As a user without privileges.
fn as_user() -> Command {
    unprivileged(isolation())
}

fn unprivileged(mut command: Command) -> Command {
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A run in which nothing contradicts the lesson.
fn good(mut command: Command) -> Result<String> {
    let output = command.output()?;
    let text = text(&output);
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{text}");
    ensure!(text.contains(" as expected, 0 not as expected"), "{text}");
    ensure!(!text.contains("NOT AS EXPECTED"), "{text}");
    Ok(text)
}

/// The text of one step.
fn step(text: &str, number: u32) -> Result<&str> {
    let (start, end) = (format!("{number}. "), format!("\n\n{}. ", number + 1));
    let start = text.find(&start).ok_or_else(|| format!("no step {number} in:\n{text}"))?;
    Ok(text[start..].split(&end).next().unwrap_or_default())
}

/// The figures of parent and child in the rows that begin like this.
fn figures<'a>(step: &'a str, label: &str) -> Vec<[&'a str; 2]> {
    let rows = step.lines().filter_map(|line| line.trim_start().strip_prefix(label));
    rows.filter_map(|rest| {
        let mut words = rest.trim().split("  ").map(str::trim).filter(|word| !word.is_empty());
        Some([words.next()?, words.next()?])
    })
    .collect()
}

fn privileges(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("not shown: ")).collect()
}

/// What everybody is shown.
fn shown_to_all(text: &str) -> Result {
    let first = step(text, 1)?;
    let addresses = figures(first, "address of the variable");
    ensure!(addresses.len() == 1 && addresses[0][0] == addresses[0][1], "{first}");
    ensure!(addresses[0][0].starts_with("0x7"), "an address on the stack: {first}");
    ensure!(figures(first, "value, when the child wrote 2") == [["1", "2"]], "{first}");

    let second = step(text, 2)?;
    ensure!(figures(second, "value before the write") == [["1", "1"]], "{second}");
    ensure!(figures(second, "value after it") == [["1", "2"]], "{second}");
    let kib = sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(0) / 1024;
    let (shared, private) = (format!("{kib} shared, 0 private"), format!("0 shared, {kib} private"));
    let smaps = |step| figures(step, "KiB of memory (smaps)");
    ensure!(smaps(second) == [[&shared; 2], [&private; 2]], "{second}");

    let third = step(text, 3)?;
    ensure!(figures(third, "value before the write") == [["1", "1"]], "{third}");
    ensure!(figures(third, "value, when the child wrote 2") == [["2", "2"]], "{third}");
    ensure!(smaps(third) == [[&shared; 2]; 2], "{third}");

    let fourth = step(text, 4)?;
    ensure!(fourth.contains("by its parent: 42\n"), "{fourth}");
    ensure!(fourth.contains(&format!("by user {NOBODY}: EPERM: Operation not permitted\n")), "{fourth}");

    let fifth = step(text, 5)?;
    let own = fifth.lines().find(|line| line.contains(" own page")).unwrap_or_default();
    ensure!(own.split_whitespace().filter(|word| *word == "done").count() == 2, "{fifth}");
    let kernel = fifth.lines().find(|line| line.contains(" kernel ")).unwrap_or_default();
    ensure!(kernel.split_whitespace().filter(|word| *word == "SIGSEGV").count() == 2, "{fifth}");
    let address = kernel.split_whitespace().next().unwrap_or_default().trim_start_matches("0x");
    ensure!(u64::from_str_radix(address, 16)? > u64::MAX / 2, "the upper half: {fifth}");
    drawing(step(text, 6)?)
}

/// The two columns, and one box above both.
fn drawing(sixth: &str) -> Result {
    let columns = |name: &str| -> Vec<[String; 2]> {
        let lines: Vec<&str> = sixth.lines().collect();
        let found = lines.iter().enumerate().filter(|(_, line)| line.contains(name));
        let cells = |line: &str| -> Vec<String> {
            line.split('│')
                .map(|cell| cell.trim().to_owned())
                .enumerate()
                .filter(|(at, _)| at % 2 == 1)
                .map(|(_, cell)| cell)
                .collect()
        };
        found
            .filter_map(|(at, line)| {
                let (cells, notes) = (cells(line), cells(lines.get(at + 1)?));
                let of = |side: usize| Some(format!("{}|{}", cells.get(side)?, notes.get(side)?));
                Some([of(0)?, of(1)?])
            })
            .collect()
    };
    let value = |cell: &str, value: &str| {
        cell.split_once('|').is_some_and(|(_, note)| note == value || note.starts_with(&format!("{value} in frame 0x")))
    };
    let [private] = &columns(" private page ")[..] else { return Err(sixth.into()) };
    ensure!(value(&private[0], "1") && value(&private[1], "2"), "{private:?}\n{sixth}");
    let [shared] = &columns(" shared page ")[..] else { return Err(sixth.into()) };
    ensure!(value(&shared[0], "2") && shared[0] == shared[1], "{shared:?}\n{sixth}");
    let [own] = &columns("the child's own page")[..] else { return Err(sixth.into()) };
    ensure!(own[0] == "|" && value(&own[1], "3"), "{own:?}\n{sixth}");
    for name in ["[stack]", "[heap]", "libc.so.6", "isolation "] {
        let lines: Vec<&str> = sixth.lines().filter(|line| line.contains('│') && line.contains(name)).collect();
        ensure!(lines.len() == 1 && lines[0].matches(name).count() == 2, "{name}: {lines:?}");
    }
    let kernel = sixth.lines().find(|line| line.contains("│ the kernel")).unwrap_or_default();
    ensure!(kernel.matches('│').count() == 2, "one box for both: {sixth}");
    Ok(())
}

fn root() -> Result<Completion> {
    let status = fs::read_to_string("/proc/self/status")?;
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("0");
    if u64::from_str_radix(bits.trim(), 16)? & CAP_SYS_ADMIN == 0 || !geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root, with CAP_SYS_ADMIN"));
    }
    let text = good(isolation())?;
    shown_to_all(&text)?;
    ensure!(privileges(&text).is_empty(), "{text}");
    let second = step(&text, 2)?;
    let [before, after] = figures(second, "frame (pagemap)")[..] else { return Err(second.into()) };
    ensure!(before[0] == before[1] && before[0].starts_with("0x"), "{second}");
    ensure!(after[0] != after[1] && after[1] != before[1], "{second}");
    let third = step(&text, 3)?;
    let [before, after] = figures(third, "frame (pagemap)")[..] else { return Err(third.into()) };
    ensure!([before[1], after[0], after[1]] == [before[0]; 3] && before[0].starts_with("0x"), "{third}");

    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let code = symbols.lines().find_map(|line| line.strip_suffix(" T _stext")).unwrap_or("no _stext");
    let fifth = step(&text, 5)?;
    let line = fifth.lines().find(|line| line.contains(" its code")).unwrap_or_default();
    ensure!(line.contains(code) && line.matches("SIGSEGV").count() == 2, "{code}: {fifth}");
    ensure!(step(&text, 6)?.matches(" in frame 0x").count() == 5, "{text}");
    Ok(Completion::Completed)
}

fn user() -> Result {
    let text = good(as_user())?;
    if geteuid().is_root() {
        shown_to_all(&text)?;
    }
    ensure!(figures(step(&text, 2)?, "frame (pagemap)") == [["hidden"; 2]; 2], "{text}");
    ensure!(figures(step(&text, 3)?, "frame (pagemap)") == [["hidden"; 2]; 2], "{text}");
    ensure!(!text.contains(" in frame "), "{text}");
    let told = privileges(&text);
    ensure!(told.len() == 3, "{told:?}");
    ensure!(told[..2].iter().all(|line| line.contains("CAP_SYS_ADMIN")), "{told:?}");
    ensure!(told[2].contains("/proc/kallsyms"), "{told:?}");
    Ok(())
}

/// The library that makes the machine lie.
fn liar() -> Result<(tempfile::TempDir, PathBuf)> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755))?;
    let library = dir.path().join("lie.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lie.c");
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status()?;
    ensure!(status.success(), "cc: {status}");
    Ok((dir, library))
}

fn lies() -> Result {
    let (_dir, library) = liar()?;
    let told = |lie: &str, root: bool| -> Result<(Option<i32>, String, String)> {
        let mut command = if root { isolation() } else { as_user() };
        let output = command.env("LD_PRELOAD", &library).env("LIE", lie).output()?;
        Ok((output.status.code(), text(&output), String::from_utf8_lossy(&output.stderr).into_owned()))
    };
    let cases: [(&str, &[u32], u32); 6] = [
        ("none", &[], 0),
        ("the child's variable is elsewhere", &[1], 1),
        ("private memory is shared", &[2, 6], 4),
        ("shared memory is private", &[3, 6], 3),
        ("everybody may read", &[4], 1),
        ("the kernel is open", &[5], 1),
    ];
    for root in [false, true] {
        for (lie, steps, at_least) in cases {
            let (code, text, stderr) = told(lie, root)?;
            let broken = text.matches("NOT AS EXPECTED: ").count() as u32;
            ensure!(broken >= at_least && (broken == 0) == steps.is_empty(), "{lie}, {broken} times:\n{text}");
            ensure!(code == Some(i32::from(broken > 0)), "{lie}: {code:?}\n{text}");
            for number in steps {
                ensure!(step(&text, *number)?.contains("NOT AS EXPECTED"), "{lie}, step {number}:\n{text}");
            }
            let line = format!("isolation: this machine: it contradicts the lesson in {broken} points\n");
            ensure!(stderr == if broken > 0 { line } else { String::new() }, "{lie}: {stderr}");
            // All steps are shown whatever one of them finds.
            step(&text, 6)?;
        }
    }
    Ok(())
}

fn forbidden_to_all() -> Result {
    let mut command = as_user();
    let (_dir, library) = liar()?;
    command.env("LD_PRELOAD", &library).env("LIE", "nobody may read");
    let text = good(command)?;
    let fourth = step(&text, 4)?;
    ensure!(privileges(fourth).len() == 2 && !fourth.contains("as expected"), "{fourth}");
    Ok(())
}

fn ignored_children() -> Result {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(program()).stdin(Stdio::null());
    good(command).map(drop)
}

/// A command that unshare(1) runs; `None` where that is forbidden.
fn unshared(options: &[&str], script: &str) -> Result<Option<Command>> {
    let command = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(options).args(["sh", "-c", script]).stdin(Stdio::null());
        unprivileged(command)
    };
    let allowed = command("true").stderr(Stdio::null()).status()?.success();
    Ok(allowed.then(|| command(script)))
}

const FORBIDDEN: &str = "unprivileged user namespaces are forbidden here";

/// Root in a container without a second user.
fn user_namespace() -> Result<Completion> {
    let script = format!("exec {}", program().display());
    let Some(command) = unshared(&["--user", "--map-root-user"], &script)? else {
        return Ok(Completion::ignored_with(FORBIDDEN));
    };
    let text = good(command)?;
    let fourth = step(&text, 4)?;
    ensure!(fourth.contains("by user 0: EPERM"), "{fourth}");
    Ok(Completion::Completed)
}

fn pid_namespace() -> Result<Completion> {
    let script = format!("exec {}", program().display());
    let options = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    let command = format!("`unshare {} target/debug/isolation`", options.join(" "));
    ensure!(include_str!("../README.md").contains(&command), "the lesson does not show {command}");
    let Some(command) = unshared(&options, &script)? else {
        return Ok(Completion::ignored_with(FORBIDDEN));
    };
    let text = good(command)?;
    let fourth = step(&text, 4)?;
    ensure!(fourth.contains("not shown: that another user may not: there is no process here"), "{fourth}");
    Ok(Completion::Completed)
}

fn without_proc() -> Result<Completion> {
    let script = format!("mount -t tmpfs none /proc && exec {}", program().display());
    let Some(command) = unshared(&["--user", "--map-root-user", "--mount"], &script)? else {
        return Ok(Completion::ignored_with(FORBIDDEN));
    };
    let text = good(command)?;
    let told = privileges(&text);
    ensure!(told.iter().filter(|line| line.contains("/proc/PID/smaps cannot be read")).count() == 2, "{told:?}");
    ensure!(told.iter().filter(|line| line.contains("/proc/PID/pagemap cannot be read")).count() == 2, "{told:?}");
    ensure!(told.iter().any(|line| line.contains("the address spaces")), "{told:?}");
    Ok(Completion::Completed)
}

/// What the program writes to a terminal so many columns wide.
fn on_terminal(columns: u16, environment: &[(&str, &str)]) -> Result<String> {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None)?;
    let mut command = isolation();
    command.env("TERM", "xterm").env_remove("NO_COLOR").env_remove("CLICOLOR").env_remove("CLICOLOR_FORCE");
    command.envs(environment.iter().copied()).stdout(pty.slave);
    let mut child = command.spawn()?;
    drop(command);
    let mut bytes = Vec::new();
    // The end of a terminal whose last user has closed it is EIO.
    match File::from(pty.master).read_to_end(&mut bytes) {
        Err(error) if error.raw_os_error() != Some(Errno::EIO as i32) => return Err(error.into()),
        _ => {}
    }
    ensure!(child.wait()?.success(), "{}", String::from_utf8_lossy(&bytes));
    Ok(String::from_utf8(bytes)?)
}

fn widths() -> Result {
    for columns in [1, 20, 40, 79, 80, 200] {
        let text = on_terminal(columns, &[("NO_COLOR", "1")])?;
        let longest = text.lines().map(|line| line.trim_end_matches('\r').chars().count()).max().unwrap_or(0);
        ensure!(longest <= columns.into(), "{longest} of {columns}:\n{text}");
        ensure!(columns < 80 || longest == usize::from(columns.min(100)), "{longest} of {columns}:\n{text}");
    }
    Ok(())
}

fn plain() -> Result {
    ensure!(!good(isolation())?.contains('\x1b'), "colours in a pipe");
    ensure!(on_terminal(80, &[])?.contains("\x1b[1m"), "no colours on a terminal");
    ensure!(!on_terminal(80, &[("NO_COLOR", "1")])?.contains('\x1b'), "colours in spite of NO_COLOR");
    Ok(())
}

fn closed_output() -> Result {
    let (reader, writer) = io::pipe()?;
    drop(reader);
    let output = isolation().stdout(writer).stderr(Stdio::piped()).output()?;
    ensure!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    Ok(())
}

fn full_output() -> Result {
    let output = isolation().stdout(File::options().write(true).open("/dev/full")?).output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let line = "isolation: write to standard output: ENOSPC: No space left on device\n";
    ensure!(output.stderr == line.as_bytes(), "{output:?}");
    Ok(())
}

fn no_fork() -> Result<Completion> {
    if !geteuid().is_root() {
        return Ok(Completion::ignored_with("needs root, to be a user who runs nothing else"));
    }
    let mut command = Command::new("prlimit");
    // A user of its own: for others of nobody's processes count, too.
    command.args(["--nproc=1"]).arg(program()).uid(60_000 + std::process::id() % 5000).gid(NOBODY);
    let output = command.output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    ensure!(output.stderr == b"isolation: fork: EAGAIN: Try again\n", "{output:?}");
    Ok(Completion::Completed)
}

fn command_line() -> Result {
    for bad in [&["--bad"][..], &["extra"]] {
        let output = isolation().args(bad).output()?;
        ensure!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(stderr.lines().count() == 1 && stderr.ends_with("; see --help\n"), "{stderr}");
    }
    for (good, begin) in [("--help", "Shows on the running machine"), ("--version", "isolation 0.")] {
        let output = isolation().arg(good).output()?;
        ensure!(output.status.success() && text(&output).starts_with(begin), "{output:?}");
    }
    Ok(())
}

fn no_child_left() -> Result {
    let child = isolation().process_group(0).stdout(Stdio::null()).spawn()?;
    let group = Pid::from_raw(child.id() as i32);
    ensure!(child.wait_with_output()?.status.success(), "it failed");
    ensure!(killpg(group, None) == Err(Errno::ESRCH), "its process group still has members");
    Ok(())
}

/// The program is held in the middle of its second step, while it has a child, by a pipe that is full.
fn killed() -> Result {
    let text = good(isolation())?;
    let room = text.find("value before the write").ok_or("no such row")? as i32;
    let (reader, mut writer) = io::pipe()?;
    let size = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(16 << 10))?;
    writer.write_all(&vec![b'.'; (size - room) as usize])?;
    let mut parent = isolation().stdout(writer).stderr(Stdio::null()).spawn()?;

    let id = parent.id();
    let children = || fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let begin = Instant::now();
    let child = loop {
        let waiting = fs::read_to_string(format!("/proc/{id}/stat"))?.contains(") S ");
        if let Some(child) = children().split_whitespace().next().filter(|_| waiting && full(&reader, size)) {
            break Pid::from_raw(child.parse()?);
        }
        ensure!(begin.elapsed() < LONG, "it does not come to its second step");
        std::thread::yield_now();
    };
    parent.kill()?;
    ensure!(parent.wait()?.signal() == Some(Signal::SIGKILL as i32), "it was not killed");
    let lives = || kill(child, None).is_ok() && !is_zombie(child);
    while lives() && begin.elapsed() < LONG {
        std::thread::yield_now();
    }
    if lives() {
        kill(child, Signal::SIGKILL)?;
        return Err("the child lived on".into());
    }
    Ok(())
}

/// Is there hardly any room left? A line that does not fit is written in part.
fn full(pipe: &PipeReader, size: i32) -> bool {
    rustix::io::ioctl_fionread(pipe).is_ok_and(|waiting| waiting + 100 > size as u64)
}

fn is_zombie(pid: Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
