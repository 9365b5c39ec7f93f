//! What surrounds every program's loop: the command line, signals, the error line and the exit code.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::OnceLock;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, umask};

use crate::args::{Parsed, usage};
use crate::{Args, Context, Error, Result, Role, Technique, interrupt};

/// The mask that the program was started with; what `--output` makes is the user's own file and obeys it.
pub(crate) static USERS_UMASK: OnceLock<Mode> = OnceLock::new();

/// Runs one end of a technique as a program: `body` is its loop.
///
/// Exit codes: 0 done, 1 the system refused, 2 usage, 3 the peer is gone, 4 timed out, 5 message too long,
/// 6 messages were lost, 77 not supported on this machine, 128+n ended by signal n.
pub fn program(technique: &'static Technique, role: Role, body: impl FnOnce(&Args) -> Result<()>) -> ExitCode {
    exit(&format!("{}-{role}", technique.name), run(technique, role, body))
}

/// How any program of this workspace ends: `name` and one line on standard error where it failed, and the exit code.
pub fn exit(name: &str, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, Error::OutputClosed) {
                complain(name, &error.to_string());
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// The command line of a program that is no end of a technique; `None` for `--help` and `--version`, which are
/// answered here.
///
/// # Errors
/// [`Error::Usage`] where it makes no sense.
pub fn command_line(command: clap::Command) -> Result<Option<clap::ArgMatches>> {
    match command.try_get_matches() {
        Ok(matches) => Ok(Some(matches)),
        Err(answer) if !answer.use_stderr() => {
            answered(&answer.to_string());
            Ok(None)
        }
        Err(error) => Err(usage(&error)),
    }
}

fn run(technique: &'static Technique, role: Role, body: impl FnOnce(&Args) -> Result<()>) -> Result<()> {
    let args = match Args::parse(technique, role, std::env::args_os())? {
        Parsed::Run(args) => args,
        Parsed::Print(text) => {
            answered(&text);
            return Ok(());
        }
    };
    // Modes are given explicitly; a mask of the user's must not take away what both ends need.
    let _ = USERS_UMASK.set(umask(Mode::from_bits_truncate(0o077)));
    interrupt::end_cleanly_on_signals(args.program(), args.quiet)?;
    body(&args)
}

fn answered(text: &str) {
    // Nobody reads it? Then nothing is lost.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Writes to standard output what a program that is no receiver has to say.
///
/// # Errors
/// [`Error::OutputClosed`] where nobody reads any more, [`Error::System`] for anything else.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Error::OutputClosed),
        other => other.doing("write to standard output"),
    }
}

/// One line on standard error. A line that cannot be written is no reason to fail.
pub fn complain(program: &str, text: &str) {
    let _ = io::stderr().lock().write_all(line(program, text).as_bytes());
}

/// The same at the end of the program, which a pipe that nobody reads must not delay. Another thread may wait for that pipe
/// with the library's lock in its hand; so this goes past it.
pub(crate) fn complain_without_waiting(program: &str, text: &str) {
    let stderr = io::stderr();
    let has_room = poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO);
    if has_room.is_ok_and(|ready| ready > 0) {
        let _ = nix::unistd::write(&stderr, line(program, text).as_bytes());
    }
}

/// For one write, so that the lines of both ends do not mix.
fn line(program: &str, text: &str) -> String {
    format!("{program}: {}\n", text.replace('\n', " "))
}
