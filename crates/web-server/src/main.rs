//! `web-server --root DIR`: the command line, and what the shell sees at the end.

use std::ffi::OsString;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use common::{Error, Result};
use web_server::server::{self, Mode, Options};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let line = format!("web-server: {}\n", error.to_string().replace('\n', " "));
            // A line that cannot be written is no reason to fail otherwise.
            let _ = io::stderr().lock().write_all(line.as_bytes());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<()> {
    match parse(std::env::args_os()) {
        Ok(matches) => server::run(options(&matches)),
        Err(answer) if !answer.use_stderr() => {
            // Nobody reads it? Then nothing is lost.
            let _ = io::stdout().lock().write_all(answer.to_string().as_bytes());
            Ok(())
        }
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Err(Error::Usage(line.trim_start_matches("error: ").to_owned()))
        }
    }
}

fn parse(words: impl IntoIterator<Item = OsString>) -> clap::error::Result<ArgMatches> {
    let count = || value_parser!(u16).range(1..=4096);
    Command::new("web-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .arg(value("root", "DIR", "Serve the files below this directory", value_parser!(PathBuf)).required(true))
        .arg(value("listen", "ADDRESS", "Listen at this address [default: 127.0.0.1]", value_parser!(IpAddr)))
        .arg(value("port", "N", "Listen at this port; 0 takes a free one [default: 8080]", value_parser!(u16)))
        .arg(
            value("mode", "MODE", "fork: a process for each connection; prefork: a pool [default: fork]", MODES)
                .hide_possible_values(true),
        )
        .arg(value("workers", "N", "Processes in prefork mode [default: one for each CPU, at least 2]", count()))
        .arg(value("max-children", "N", "Processes in fork mode; 503 beyond [default: 256]", count()))
        .arg(value(
            "timeout",
            "SECONDS",
            "How long a client may keep silent, take for a request, or not take an answer [default: 10]",
            ValueParser::new(seconds),
        ))
        .arg(value(
            "grace",
            "SECONDS",
            "How long answers under way may take when the server is to stop [default: 30]",
            ValueParser::new(seconds),
        ))
        .arg(Arg::new("verbose").long("verbose").action(ArgAction::SetTrue).help("Print a line for each request"))
        .try_get_matches_from(words)
}

const MODES: [&str; 2] = ["fork", "prefork"];

fn value(name: &'static str, metavar: &'static str, help: &'static str, parser: impl Into<ValueParser>) -> Arg {
    Arg::new(name).long(name).value_name(metavar).value_parser(parser.into()).help(help)
}

fn options(matches: &ArgMatches) -> Options {
    let address = matches.get_one("listen").copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let count = |name: &str| matches.get_one::<u16>(name).map(|&count| usize::from(count));
    let time = |name: &str, default| matches.get_one(name).copied().unwrap_or(Duration::from_secs(default));
    Options {
        root: matches.get_one::<PathBuf>("root").cloned().unwrap_or_default(),
        address: SocketAddr::new(address, matches.get_one("port").copied().unwrap_or(8080)),
        mode: match matches.get_one::<String>("mode").map(String::as_str) {
            Some("prefork") => Mode::Prefork,
            _ => Mode::Fork,
        },
        workers: count("workers").unwrap_or_else(|| available_parallelism().map_or(2, usize::from).max(2)),
        max_children: count("max-children").unwrap_or(256),
        timeout: time("timeout", 10),
        grace: time("grace", 30),
        verbose: matches.get_flag("verbose"),
    }
}

/// Seconds above 0, at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86400.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("not a number of seconds above 0".to_owned()),
    }
}
