//! Prints what is put into a bounded buffer: the mechanism and nothing else. Its partner is
//! `posix-sem-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p posix-sem --example posix-sem-plain-receiver -- /my-buffer
//! terminal 2   cargo run -p posix-sem --example posix-sem-plain-sender -- /my-buffer hello
//! ```

use std::env;
use std::io::{self, Write};

use ::posix_sem::posix_sem::{self, Buffer, MAX};

fn main() -> io::Result<()> {
    let name = env::args().nth(1).expect("usage: posix-sem-plain-receiver /NAME");
    let mut buffer = Buffer::create(&name)?;
    let mut record = [0; MAX];
    while let Some(len) = buffer.take(&mut record)? {
        io::stdout().write_all(&record[..len])?;
    }
    posix_sem::remove(&name)
}
