//! Prints what comes through a mapped file: the mechanism and nothing else. Its partner is `mmap-file-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p mmap-file --example mmap-file-plain-receiver -- /tmp/my-ring
//! terminal 2   cargo run -p mmap-file --example mmap-file-plain-sender -- /tmp/my-ring hello
//! ```

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

use mmap_file::mmap_file;

fn main() -> io::Result<()> {
    let path = PathBuf::from(env::args_os().nth(1).expect("usage: mmap-file-plain-receiver PATH"));
    let mut reader = mmap_file::create(&path)?;
    loop {
        reader.fill()?;
        match reader.take() {
            Some(message) => io::stdout().write_all(message)?,
            None => return mmap_file::remove(&path),
        }
    }
}
