//! Lessons (`crates/X/README.md`): a command that a lesson shows is run as it stands there, and has to print what is shown.
//!
//! A block of a lesson that begins with ```` ```console ```` shows commands, each behind `$ `, with what they print below. There `…` stands
//! for what depends on the machine or the moment: for some text within a line, or, as a line of its own, for some lines.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fmt, fs, thread};

use libtest_mimic::{Arguments, Completion, Failed};

use crate::{EndpointKind, Pair, Result, Trial, ensure, strace};

/// How long a trial may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How many seconds a command may: cargo may have to build something first.
const COMMAND: &str = "240";

/// A trial of what a lesson says.
pub type Run = fn(&Lesson) -> Result;

/// The lesson of the pair that is on trial.
pub struct Lesson<'t> {
    /// The trial, which tells where the two ends meet.
    pub trial: &'t Trial,
    text: String,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Printed {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Printed {
    /// How many calls of this name, or of all names (`total`), `strace -c` says that there were.
    ///
    /// # Errors
    /// Where it says nothing of them.
    pub fn calls(&self, name: &str) -> Result<u64> {
        let found = self.stderr.lines().filter_map(strace::count).find(|(counted, _)| counted == name);
        Ok(found.ok_or_else(|| format!("no calls of {name}: {self:?}"))?.1)
    }
}

/// What this machine lacks for a trial, which is then ignored.
#[derive(Debug)]
pub struct Lacking(pub String);

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lacking {}

/// The `main` of a test: runs the trials, and besides each `cargo run` that the lesson in `folder` shows with its output.
pub fn main(folder: &str, sender: &str, receiver: &str, trials: &[(&str, Run)]) -> ! {
    let pair = Pair::new(sender.into(), receiver.into()).expect("--describe");
    let text = fs::read_to_string(Path::new(folder).join("README.md")).expect("a lesson");
    let trial = |name: &str, run: Box<dyn Fn(&Lesson) -> Result + Send>| {
        let (pair, text) = (pair.clone(), text.clone());
        libtest_mimic::Trial::ignorable_test(name, move || {
            let trial = Trial::of(&pair, DEADLINE)?;
            let lesson = Lesson { trial: &trial, text };
            let result = lesson.wrap_programs().and_then(|()| run(&lesson)).and_then(|()| trial.finish());
            match result {
                Ok(()) => Ok(Completion::Completed),
                Err(error) if error.is::<Lacking>() => Ok(Completion::ignored_with(error.to_string())),
                Err(error) => Err(Failed::from(format!("{error}\n{}", trial.report()))),
            }
        })
    };
    let mut all: Vec<_> = trials.iter().map(|&(name, run)| trial(name, Box::new(run))).collect();
    for (command, _) in console(&text).into_iter().filter(|(command, _)| command.starts_with("cargo run ")) {
        let run = command.clone();
        all.push(trial(&command, Box::new(move |lesson| lesson.prints(&run, &[]))));
    }
    libtest_mimic::run(&Arguments::from_args(), all).exit()
}

impl Lesson<'_> {
    /// Demands that the lesson says this, so that nobody changes the one without the other.
    ///
    /// # Errors
    /// Where it does not.
    pub fn says(&self, text: &str) -> Result {
        ensure!(one_line(&self.text).contains(&one_line(text)), "the lesson does not say {text:?}");
        Ok(())
    }

    /// The block of code that has these words in it, as a script for [`Lesson::run`].
    ///
    /// # Errors
    /// Where there is none.
    pub fn block(&self, with: &str) -> Result<String> {
        let found = blocks(&self.text).into_iter().find(|block| block.contains(with));
        found.ok_or_else(|| format!("no block of the lesson has {with:?} in it").into())
    }

    /// Runs a command of the lesson's with the shell, with some of its words replaced. The two programs are found by
    /// their names, and meet where this trial does. An example that `cargo run` would build is built already.
    ///
    /// # Errors
    /// Where the lesson does not show it, or it cannot be run.
    pub fn run(&self, command: &str, replace: &[(&str, &str)]) -> Result<Printed> {
        ensure!(shows(&self.text, command), "the lesson does not show {command:?}");
        let examples = self.trial.pair.sender.with_file_name("examples").display().to_string();
        let parts = command.split("target/debug/examples").map(|part| part.replace("target/debug/", ""));
        let mut script = parts.collect::<Vec<_>>().join(&examples);
        for (shown, meant) in replace {
            ensure!(script.contains(shown), "there is no {shown:?} in {script:?}");
            script = script.replace(shown, meant);
        }
        if let (EndpointKind::Name, Some(name)) = (self.trial.pair.can.endpoint, self.trial.endpoint()) {
            script = script.replace(&format!("/ipc-lab-$(id -u)-{}", self.trial.pair.name), name);
        }
        let script = built(&script, &examples);
        let path = format!("{}:{}", self.trial.path("bin").display(), env::var("PATH")?);
        let output = Command::new("timeout")
            .args([COMMAND, "bash", "-c", &script])
            .envs([("PATH", path), ("XDG_RUNTIME_DIR", self.trial.runtime_dir().display().to_string())])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
            .output()?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let printed =
            Printed { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) };
        if printed.code == Some(127) {
            return Err(Lacking(printed.stderr.lines().last().unwrap_or_default().to_owned()).into());
        }
        if script.contains("strace ") && printed.stderr.contains("strace: ") && !printed.stderr.contains(" attached") {
            return Err(Lacking(format!("strace does not work here: {}", printed.stderr.trim())).into());
        }
        Ok(printed)
    }

    /// Runs a command of the lesson's as [`Lesson::run`] does and compares what it prints with what is shown below it.
    ///
    /// # Errors
    /// Where it is something else, or the command fails.
    pub fn prints(&self, command: &str, replace: &[(&str, &str)]) -> Result {
        let found = console(&self.text).into_iter().find(|(shown, _)| shown == command);
        let (_, expected) = found.ok_or_else(|| format!("the lesson does not show what {command:?} prints"))?;
        let printed = self.run(command, replace)?;
        ensure!(printed.code == Some(0), "{command}: {printed:?}");
        let is_same = like(&expected, &printed.stdout);
        ensure!(is_same, "{command}: the lesson shows\n{expected}and it prints\n{}", printed.stdout);
        Ok(())
    }

    /// Looks again and again until something is true, for what no event tells of.
    ///
    /// # Errors
    /// Where it is not true within 20 seconds.
    pub fn until(&self, what: &str, mut is_true: impl FnMut() -> Result<bool>) -> Result {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_true()? {
            ensure!(Instant::now() < deadline, "it does not happen that {what}");
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The two programs in a folder of the trial's, told where to meet. A shell writes them: what a thread has open to
    /// write while another one forks cannot be executed (ETXTBSY).
    fn wrap_programs(&self) -> Result {
        let folder = self.trial.path("bin");
        fs::create_dir(&folder)?;
        let place = self.trial.endpoint().map_or(String::new(), |endpoint| {
            format!("case \" $* \" in *' --endpoint '*) ;; *) set -- --endpoint '{endpoint}' \"$@\" ;; esac\n")
        });
        for program in [&self.trial.pair.sender, &self.trial.pair.receiver] {
            let script = format!("#!/bin/sh\n{place}exec '{}' \"$@\"\n", program.display());
            let wrapper = folder.join(program.file_name().ok_or("a program without a name")?);
            let write = "printf %s \"$1\" > \"$0\" && chmod 700 \"$0\"";
            let status = Command::new("sh").args(["-c", write]).arg(wrapper).arg(script).status()?;
            ensure!(status.success(), "the programs cannot be wrapped: {status}");
        }
        Ok(())
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A script in which `cargo run … --example NAME -- …` is the program of that name in the folder `examples`, if it is there. For
/// one package alone cargo would compile much of what it needs anew, with fewer features.
fn built(script: &str, examples: &str) -> String {
    let line = |line: &str| {
        let (before, command) = line.split_once("cargo run ")?;
        let (_, example) = command.split_once("--example ")?;
        let end = example.find([' ', ';']).unwrap_or(example.len());
        let (name, rest) = example.split_at(end);
        let program = format!("{examples}/{name}");
        let is_there = Path::new(&program).exists();
        is_there.then(|| format!("{before}{program}{}", rest.strip_prefix(" --").unwrap_or(rest)))
    };
    script.lines().map(|shown| line(shown).unwrap_or_else(|| shown.to_owned())).collect::<Vec<_>>().join("\n")
}

/// Does a lesson show this command, between backquotes or on a line of its own?
pub fn shows(lesson: &str, command: &str) -> bool {
    let is_line = |line: &str| {
        let line = line.trim();
        line.strip_prefix("$ ").unwrap_or(line).split("  ").next() == Some(command)
    };
    one_line(lesson).contains(&format!("`{command}`"))
        || lesson.lines().any(is_line)
        || blocks(lesson).iter().any(|block| block == command)
}

/// The blocks of code, without what they are indented by.
fn blocks(lesson: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in lesson.lines() {
        let is_fence = line.trim_start().starts_with("```");
        open = match open {
            None if is_fence => Some((line.find('`').unwrap_or(0), String::new())),
            Some((_, block)) if is_fence => {
                found.push(block);
                None
            }
            Some((indent, block)) => Some((indent, block + line.get(indent..).unwrap_or_default() + "\n")),
            None => None,
        };
    }
    found
}

/// The commands of a lesson's console blocks, each with the output below it.
pub fn console(lesson: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut indent = None;
    for line in lesson.lines() {
        match indent {
            None if line.trim_start() == "```console" => indent = line.find('`'),
            None => {}
            Some(_) if line.trim_start() == "```" => indent = None,
            Some(width) => {
                let line = line.get(width..).unwrap_or_default();
                match (line.strip_prefix("$ "), found.last_mut()) {
                    (Some(command), _) => found.push((command.to_owned(), String::new())),
                    (None, Some((_, output))) => *output += &format!("{line}\n"),
                    (None, None) => {}
                }
            }
        }
    }
    found
}

/// Does it look as it is shown? `…` stands for some text, or for some lines; in a line with it, spaces are one space.
pub fn like(shown: &str, printed: &str) -> bool {
    let (shown, printed): (Vec<_>, Vec<_>) = (shown.lines().collect(), printed.lines().collect());
    like_lines(&shown, &printed)
}

fn like_lines(shown: &[&str], printed: &[&str]) -> bool {
    match shown {
        [] => printed.is_empty(),
        ["…", rest @ ..] => (0..=printed.len()).any(|skipped| like_lines(rest, &printed[skipped..])),
        [line, rest @ ..] => printed.split_first().is_some_and(|(first, more)| {
            let same = if line.contains('…') { like_line(line, first) } else { line.trim_end() == first.trim_end() };
            same && like_lines(rest, more)
        }),
    }
}

fn like_line(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (one_line(shown), one_line(printed));
    let mut pieces = shown.split('…');
    let Some(mut left) = printed.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let Some(last) = pieces.next_back() else { return left.is_empty() };
    for piece in pieces {
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LESSON: &str = "# x\n\n```console\n$ one --a  b\nout  1\n\nend\n$ two\n```\n\n* Try:\n\n  ```console\n  $ three\n    in\n  ```\n\n`ipcs -s -i\nID` says. `x`\n";

    #[test]
    fn a_block_is_commands_with_what_they_print() {
        let expected = [("one --a  b", "out  1\n\nend\n"), ("two", ""), ("three", "  in\n")];
        assert_eq!(console(LESSON), expected.map(|(command, output)| (command.to_owned(), output.to_owned())));
    }

    #[test]
    fn what_is_built_is_not_built_again() {
        let script = |command: &str| built(&format!("cd /\nA=1 {command}; echo $?\nend"), "/usr/bin");
        for command in ["cargo run -p x --example env --", "cargo run --release -p x --example env"] {
            assert_eq!(script(&format!("{command} a b")), "cd /\nA=1 /usr/bin/env a b; echo $?\nend");
            assert_eq!(script(command), "cd /\nA=1 /usr/bin/env; echo $?\nend");
        }
        for command in ["cargo run -p x --example is-not-there a", "cargo run -p x"] {
            assert_eq!(script(command), format!("cd /\nA=1 {command}; echo $?\nend"));
        }
    }

    #[test]
    fn a_command_is_shown_whole_or_not_at_all() {
        for command in ["ipcs -s -i ID", "two", "three", "x", "$ three\n  in\n"] {
            assert!(shows(LESSON, command), "{command}");
        }
        for command in ["ipcs -s", "tw", "thre", "four"] {
            assert!(!shows(LESSON, command), "{command}");
        }
    }

    #[test]
    fn dots_stand_for_what_varies_and_for_nothing_else() {
        for (shown, printed, same) in [
            ("a b\n", "a b\n", true),
            ("a b\n", "a  b\n", false),
            ("a b\n", "a b\nc\n", false),
            ("a b\nc\n", "a b\n", false),
            ("a … c\n", "a   17  c\n", true),
            ("a … c\n", "a 17 d\n", false),
            ("… b … d …\n", "1 b 2 d 3\n", true),
            ("… b … d …\n", "1 d 2 b 3\n", false),
            ("…\nb\n…\n", "a\na\nb\n", true),
            ("…\nb\n", "a\nb\nc\n", false),
            ("…\n", "", true),
            ("a…a\n", "a\n", false),
        ] {
            assert_eq!(like(shown, printed), same, "{shown:?} and {printed:?}");
        }
    }
}
