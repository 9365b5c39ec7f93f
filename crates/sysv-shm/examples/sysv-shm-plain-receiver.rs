//! Prints what comes through a System V segment: the mechanism and nothing else. Its partner is
//! `sysv-shm-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p sysv-shm --example sysv-shm-plain-receiver -- 0x5eed
//! terminal 2   cargo run -p sysv-shm --example sysv-shm-plain-sender -- 0x5eed hello
//! ```
//!
//! There is nothing to remove: the sender has marked the segment, and it goes with the last of the two.

use std::env;
use std::io::{self, Write};

use sysv_shm::sysv_shm;

fn main() -> io::Result<()> {
    let key = env::args().nth(1).expect("usage: sysv-shm-plain-receiver 0xKEY");
    let key = i32::from_str_radix(key.trim_start_matches("0x"), 16).expect("a hexadecimal number");
    let mut reader = sysv_shm::create(key)?;
    loop {
        reader.fill()?;
        match reader.take() {
            Some(message) => io::stdout().write_all(message)?,
            None => return Ok(()),
        }
    }
}
