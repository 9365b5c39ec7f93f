//! The command line, the same for every program.

use std::ffi::OsString;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::{Endpoint, Error, Reach, Result, Role, Technique, endpoint};

/// An option that only one technique has.
#[derive(Clone, Copy, Debug)]
pub struct Extra {
    /// Long name, without the dashes.
    pub name: &'static str,
    /// The name of its value, or `None` for a flag.
    pub value: Option<&'static str>,
    /// Which of the two programs has it.
    pub role: Role,
    /// One line for `--help`.
    pub help: &'static str,
}

impl Extra {
    /// `--spin`, for techniques that can wait without sleeping.
    pub const SPIN: [Extra; 2] = {
        let help = "Never sleep while waiting, but look again and again; it takes a core for each end";
        let sender = Extra { name: "spin", value: None, role: Role::Sender, help };
        [sender, Extra { role: Role::Receiver, ..sender }]
    };
}

/// What the command line said, for one end of one technique.
#[derive(Clone, Debug)]
pub struct Args {
    /// The technique.
    pub technique: &'static Technique,
    /// The end.
    pub role: Role,
    /// Where to meet; the technique's own place where nothing was said.
    pub endpoint: Option<String>,
    /// How long a single wait may last.
    pub timeout: Option<Duration>,
    /// No narration.
    pub quiet: bool,
    /// Sender: the messages, each sent with a newline behind it.
    pub messages: Vec<OsString>,
    /// Sender: a file to send in chunks; `-` is standard input.
    pub file: Option<PathBuf>,
    /// Sender: how often to send the messages, or how many to make up.
    pub count: Option<u64>,
    /// Sender: bytes in each made-up message or chunk.
    pub size: Option<usize>,
    /// Sender: pause after each message.
    pub interval: Option<Duration>,
    /// Sender: made-up messages carry the time of sending.
    pub stamp: bool,
    /// Receiver: where the payload goes; standard output where nothing was said.
    pub output: Option<PathBuf>,
    /// Receiver: print figures at the end.
    pub stats: bool,
    extras: Vec<(&'static str, String)>,
    pub(crate) death: Death,
}

/// What returns when a wait has become hopeless; see [`Args::end_waits_after`].
#[derive(Clone, Default)]
pub(crate) struct Death(pub(crate) Option<Arc<dyn Fn() -> io::Result<()> + Send + Sync>>);

impl fmt::Debug for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Death(..)" } else { "Death" })
    }
}

/// What to do besides running: print a text and end well.
pub(crate) enum Parsed {
    Run(Box<Args>),
    Print(String),
}

impl Args {
    /// The arguments of an end that runs inside another program, such as a test or a benchmark.
    pub fn new(technique: &'static Technique, role: Role) -> Args {
        Args {
            technique,
            role,
            endpoint: None,
            timeout: None,
            quiet: true,
            messages: Vec::new(),
            file: None,
            count: None,
            size: None,
            interval: None,
            stamp: false,
            output: None,
            stats: false,
            extras: Vec::new(),
            death: Death::default(),
        }
    }

    /// `fifo-sender`, the name that stands before every line of narration.
    pub fn program(&self) -> String {
        program_name(self.technique, self.role)
    }

    /// Where to meet, as a person writes it: what `--endpoint` said, else this user's place for the technique.
    ///
    /// # Errors
    /// [`Error::Usage`] where the text cannot name an endpoint of this kind.
    pub fn endpoint(&self) -> Result<String> {
        endpoint::of(self)
    }

    /// The addresses that an endpoint of the form `ADDRESS:PORT` stands for; at least one.
    ///
    /// # Errors
    /// [`Error::Usage`] as for [`endpoint`](Self::endpoint); [`Error::System`] where nobody knows the host's name.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>> {
        endpoint::addresses(self)
    }

    /// The key that an endpoint of the form `0xKEY` stands for (ftok(3) makes such numbers too).
    ///
    /// # Errors
    /// [`Error::Usage`] as for [`endpoint`](Self::endpoint).
    pub fn key(&self) -> Result<i32> {
        endpoint::key(self)
    }

    /// The value of one of the technique's own options; an empty text for a flag that was given.
    pub fn extra(&self, name: &str) -> Option<&str> {
        self.extras.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// The numbers, separated by commas, that one of the technique's own options lists; `None` where it was not given.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything that is not a number in `range`.
    pub fn numbers<T>(&self, name: &str, range: RangeInclusive<T>) -> Result<Option<Vec<T>>>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(list) = self.extra(name) else { return Ok(None) };
        let parse = |text: &str| text.trim().parse().ok().filter(|number| range.contains(number));
        let numbers: Option<_> = list.split(',').map(parse).collect();
        let (low, high) = (range.start(), range.end());
        numbers
            .map(Some)
            .ok_or_else(|| Error::Usage(format!("--{name} {list}: numbers from {low} to {high} are needed")))
    }

    /// Says something to the person at the terminal, unless `--quiet`.
    pub fn narrate(&self, text: &str) {
        if !self.quiet {
            crate::program::complain(&self.program(), text);
        }
    }

    /// Was `--spin` given, to a technique that has it?
    pub fn spins(&self) -> bool {
        self.extra("spin").is_some()
    }

    /// With `--spin`, makes a call on `fd` fail with `EAGAIN` where it would have to wait; [`Link::wait`](crate::Link::wait)
    /// then makes it again at once.
    ///
    /// # Errors
    /// None for an open descriptor; see fcntl(2).
    pub fn spin_on(&self, fd: impl AsFd) -> io::Result<()> {
        if self.spins() {
            let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
            fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        }
        Ok(())
    }

    /// Sets one of the technique's own options, as the command line would; an empty text for a flag.
    pub fn set_extra(&mut self, name: &'static str, value: impl Into<String>) {
        self.extras.push((name, value.into()));
    }

    /// For a program that knows its peer before the two have met, because it has forked it: `death` returns when the
    /// peer is gone, and ends every wait of this end, as the death of a peer does that has come. It runs in a thread
    /// of its own.
    pub fn end_waits_after(&mut self, death: impl Fn() -> io::Result<()> + Send + Sync + 'static) {
        self.death = Death(Some(Arc::new(death)));
    }

    pub(crate) fn parse(
        technique: &'static Technique,
        role: Role,
        words: impl IntoIterator<Item = OsString>,
    ) -> Result<Parsed> {
        match command(technique, role).try_get_matches_from(words) {
            Ok(matches) if matches.get_flag("describe") => Ok(Parsed::Print(technique.to_string())),
            Ok(matches) => Ok(Parsed::Run(Box::new(read(technique, role, &matches)))),
            Err(answer) if !answer.use_stderr() => Ok(Parsed::Print(answer.to_string())),
            Err(error) => Err(usage(&error)),
        }
    }
}

/// What clap says in several lines, in one.
pub(crate) fn usage(error: &clap::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    Error::Usage(line.trim_start_matches("error: ").to_owned())
}

/// Does this end take the options of `role`? In a family the sender starts the receiver and passes them on.
fn takes(technique: &Technique, end: Role, role: Role) -> bool {
    end == role || (technique.reach == Reach::Family && end == Role::Sender)
}

fn command(technique: &'static Technique, role: Role) -> Command {
    let name = program_name(technique, role);
    let mut command = Command::new(technique.name)
        .display_name(&name)
        .bin_name(name)
        .version(env!("CARGO_PKG_VERSION"))
        .about(technique.summary)
        .disable_help_subcommand(true)
        .arg(value("endpoint", "ENDPOINT", endpoint_help(technique), value_parser!(String)))
        .arg(value(
            "timeout",
            "SECONDS",
            "Give up when a single wait for the other end lasts longer",
            ValueParser::new(seconds),
        ))
        .arg(flag("quiet", "Print errors only"))
        .arg(flag("describe", "Print what the technique is and can do, and end"));
    if takes(technique, role, Role::Sender) {
        command = command
            .arg(
                Arg::new("message")
                    .value_name("MESSAGE")
                    .num_args(0..)
                    .value_parser(value_parser!(OsString))
                    .conflicts_with("file")
                    .help("Messages, each sent as a line [default: the lines of standard input]"),
            )
            .arg(value(
                "file",
                "PATH",
                "Send a file of any bytes in chunks; - is standard input",
                value_parser!(PathBuf),
            ))
            .arg(
                value("count", "N", "Send the messages N times, or make up N messages", value_parser!(u64))
                    .conflicts_with("file"),
            )
            .arg(
                value("size", "BYTES", "Bytes in each made-up message or chunk", value_parser!(usize))
                    .conflicts_with("message"),
            )
            .arg(value("interval", "SECONDS", "Pause after each message", ValueParser::new(seconds)))
            .arg(
                flag("stamp", "Made-up messages carry the time of sending, for the receiver's --stats")
                    .requires("count"),
            );
    }
    if takes(technique, role, Role::Receiver) {
        command = command
            .arg(value("output", "PATH", "Write the payload to a new file", value_parser!(PathBuf)))
            .arg(flag("stats", "Print messages, bytes, time, delays and CPU time at the end"));
    }
    let options = technique.options;
    for (at, extra) in options.iter().enumerate().filter(|(_, extra)| takes(technique, role, extra.role)) {
        // A family's sender takes an option of both ends once.
        if options[..at].iter().any(|other| other.name == extra.name && takes(technique, role, other.role)) {
            continue;
        }
        command = command.arg(match extra.value {
            Some(name) => value(extra.name, name, extra.help, value_parser!(String)),
            None => flag(extra.name, extra.help),
        });
    }
    command
}

fn read(technique: &'static Technique, role: Role, matches: &ArgMatches) -> Args {
    let has = |name: &str| matches.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or(false);
    let extras = technique.options.iter().filter_map(|extra| match extra.value {
        Some(_) => Some((extra.name, matches.try_get_one::<String>(extra.name).ok()??.clone())),
        None => has(extra.name).then(|| (extra.name, String::new())),
    });
    Args {
        technique,
        role,
        endpoint: get(matches, "endpoint"),
        timeout: get(matches, "timeout"),
        quiet: has("quiet"),
        messages: matches
            .try_get_many::<OsString>("message")
            .ok()
            .flatten()
            .map(|messages| messages.cloned().collect())
            .unwrap_or_default(),
        file: get(matches, "file"),
        count: get(matches, "count"),
        size: get(matches, "size"),
        interval: get(matches, "interval"),
        stamp: has("stamp"),
        output: get(matches, "output"),
        stats: has("stats"),
        extras: extras.collect(),
        death: Death::default(),
    }
}

fn get<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one::<T>(name).ok().flatten().cloned()
}

fn value(name: &'static str, metavar: &'static str, help: impl Into<String>, parser: impl Into<ValueParser>) -> Arg {
    Arg::new(name).long(name).value_name(metavar).value_parser(parser.into()).help(help.into())
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn endpoint_help(technique: &Technique) -> String {
    match technique.endpoint {
        Endpoint::Path => "Path of the meeting point [default: in this user's runtime folder]",
        Endpoint::Name => "Name of the meeting point, with one slash in front [default: this user's own]",
        Endpoint::Key => "System V key, as 0x and hexadecimal digits [default: this user's own]",
        Endpoint::Pid => "Pid file of the receiver [default: in this user's runtime folder]",
        Endpoint::Address => "ADDRESS:PORT; port 0 takes a free one [default: this user's port on 127.0.0.1]",
        Endpoint::Inherited => {
            "- talks through standard output (sender) and standard input (receiver) [default: the sender starts the receiver]"
        }
    }
    .to_owned()
}

/// Seconds above 0, at most a thousand million.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        // Less than a nanosecond could be rounded to none.
        Ok(seconds) if (1e-9..=1e9).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}

fn program_name(technique: &Technique, role: Role) -> String {
    format!("{}-{role}", technique.name)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn seconds_are_positive_and_finite() {
        assert_eq!(seconds("0.5").unwrap().as_millis(), 500);
        for bad in ["0", "1e-10", "-1", "nan", "inf", "1e10", "soon", ""] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }
}
