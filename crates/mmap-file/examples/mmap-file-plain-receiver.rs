//! Prints what comes through a mapped file: the mechanism and nothing else. Its partner is `mmap-file-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p mmap-file --example mmap-file-plain-receiver -- /tmp/my-ring
//! terminal 2   cargo run -p mmap-file --example mmap-file-plain-sender -- /tmp/my-ring hello
//! ```
//!
//! A ring has no end of file, so a zero byte ends it.

use std::env;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use mmap_file::mmap_file;

fn main() -> io::Result<()> {
    let path = PathBuf::from(env::args_os().nth(1).expect("usage: mmap-file-plain-receiver PATH"));
    let mut reader = mmap_file::create(&path)?;
    let mut buffer = [0; 4096];
    loop {
        let len = reader.read(&mut buffer)?;
        let end = buffer[..len].iter().position(|&byte| byte == 0);
        io::stdout().write_all(&buffer[..end.unwrap_or(len)])?;
        if end.is_some() {
            return mmap_file::remove(&path);
        }
    }
}
