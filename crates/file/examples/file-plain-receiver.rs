//! Prints what is appended to a file: the mechanism and nothing else. Its partner is `file-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p file --example file-plain-receiver -- /tmp/my-file
//! terminal 2   cargo run -p file --example file-plain-sender -- /tmp/my-file hello .
//! ```
//!
//! A line with nothing but a dot is the last one: the end of a file says only that there is no more yet.

use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::{env, fs};

use file::file;

fn main() -> io::Result<()> {
    let path = PathBuf::from(env::args_os().nth(1).expect("usage: file-plain-receiver PATH"));
    file::create(&path)?;
    let mut lines = BufReader::new(file::Follower::woken(&path)?);
    let mut line = Vec::new();
    while line != b".\n" {
        io::stdout().write_all(&line)?;
        line.clear();
        lines.read_until(b'\n', &mut line)?;
    }
    fs::remove_file(&path)
}
