//! Prints what comes through shared memory: the mechanism and nothing else. Its partner is `shm-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p shm --example shm-plain-receiver -- /my-ring
//! terminal 2   cargo run -p shm --example shm-plain-sender -- /my-ring hello
//! ```
//!
//! A ring has no end of file, so a zero byte ends it.

use std::env;
use std::io::{self, Read, Write};

use ::shm::shm;

fn main() -> io::Result<()> {
    let name = env::args().nth(1).expect("usage: shm-plain-receiver /NAME");
    let mut reader = shm::create(&name)?;
    let mut buffer = [0; 4096];
    loop {
        let len = reader.read(&mut buffer)?;
        let end = buffer[..len].iter().position(|&byte| byte == 0);
        io::stdout().write_all(&buffer[..end.unwrap_or(len)])?;
        if end.is_some() {
            return shm::remove(&name);
        }
    }
}
