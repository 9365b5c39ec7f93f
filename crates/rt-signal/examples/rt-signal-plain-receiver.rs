//! Prints what comes by realtime signals: the mechanism and nothing else. Its partner is `rt-signal-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p rt-signal --example rt-signal-plain-receiver -- /tmp/my.pid
//! terminal 2   cargo run -p rt-signal --example rt-signal-plain-sender -- /tmp/my.pid hello
//! ```
//!
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::{env, process};

use rt_signal::parts::{Came, Message, Reader};
use rt_signal::rt_signal::{self as rt, Peer};

fn main() -> io::Result<()> {
    let path = PathBuf::from(env::args_os().nth(1).expect("usage: rt-signal-plain-receiver PID-FILE"));
    // First of all: once the pid can be read, a signal may come, and unblocked it would kill.
    rt::block()?;
    writeln!(File::create_new(&path)?, "{}", process::id())?;
    // Whoever comes first is the writer.
    let mut reader = Reader::new(|pid| Peer::open(pid).map(Some))?;
    let mut message = Message::default();
    loop {
        let Some(part) = reader.next_part() else {
            reader.fill()?;
            continue;
        };
        match message.add(part)? {
            Came::More => {}
            Came::Whole => io::stdout().write_all(&[message.bytes(), b"\n"].concat())?,
            Came::End => break,
        }
    }
    fs::remove_file(path)
}
