//! Prints what comes by two signals: the mechanism and nothing else. Its partner is `signal-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p signal --example signal-plain-receiver -- /tmp/my.pid
//! terminal 2   cargo run -p signal --example signal-plain-sender -- /tmp/my.pid hello
//! ```
//!
//! A byte 0 is the end: a signal cannot be closed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;
use std::{env, process};

use signal::signal;

fn main() -> io::Result<()> {
    let path = PathBuf::from(env::args_os().nth(1).expect("usage: signal-plain-receiver PID-FILE"));
    // First of all: once the pid can be read, a signal may come, and unblocked it would kill.
    signal::block()?;
    writeln!(File::create_new(&path)?, "{}", process::id())?;
    let reader = signal::Reader::accept(|pid| signal::Peer::open(pid).map(Some));
    fs::remove_file(&path)?;
    for byte in BufReader::new(reader?).bytes() {
        match byte? {
            0 => break,
            byte => io::stdout().write_all(&[byte])?,
        }
    }
    Ok(())
}
