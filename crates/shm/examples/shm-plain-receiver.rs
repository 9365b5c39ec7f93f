//! Prints what comes through shared memory: the mechanism and nothing else. Its partner is `shm-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p shm --example shm-plain-receiver -- /my-ring
//! terminal 2   cargo run -p shm --example shm-plain-sender -- /my-ring hello
//! ```

use std::env;
use std::io::{self, Write};

use ::shm::shm;

fn main() -> io::Result<()> {
    let name = env::args().nth(1).expect("usage: shm-plain-receiver /NAME");
    let mut reader = shm::create(&name)?;
    loop {
        reader.fill()?;
        match reader.take() {
            Some(message) => io::stdout().write_all(message)?,
            None => return shm::remove(&name),
        }
    }
}
