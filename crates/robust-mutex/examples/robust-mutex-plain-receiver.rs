//! Prints what is put into a bounded buffer: the mechanism and nothing else. Its partner is
//! `robust-mutex-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p robust-mutex --example robust-mutex-plain-receiver -- /my-buffer
//! terminal 2   cargo run -p robust-mutex --example robust-mutex-plain-sender -- /my-buffer hello
//! ```

use std::env;
use std::io::{self, Write};

use ::robust_mutex::robust_mutex::{self, Buffer, MAX};

fn main() -> io::Result<()> {
    let name = env::args().nth(1).expect("usage: robust-mutex-plain-receiver /NAME");
    let mut buffer = Buffer::create(&name)?;
    let mut record = [0; MAX];
    while let Some(len) = buffer.take(&mut record)? {
        io::stdout().write_all(&record[..len])?;
    }
    robust_mutex::remove(&name)
}
