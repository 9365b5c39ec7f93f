//! Prints what comes through a message queue: the mechanism and nothing else. Its partner is
//! `posix-mq-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p posix-mq --example posix-mq-plain-receiver -- /my-queue
//! terminal 2   cargo run -p posix-mq --example posix-mq-plain-sender -- /my-queue 5 hello
//! terminal 2   cargo run -p posix-mq --example posix-mq-plain-sender -- /my-queue 0 bye
//! ```
//!
//! A message of priority 0 ends it.

use std::env;
use std::io::{self, Write};

use posix_mq::posix_mq::{self as mq, MAX_MESSAGE, Queue};

fn main() -> io::Result<()> {
    let name = env::args().nth(1).expect("usage: posix-mq-plain-receiver /NAME");
    let queue = Queue::create(&name)?;
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let (priority, len) = queue.take(&mut buffer)?;
        writeln!(io::stdout(), "priority {priority}: {}", String::from_utf8_lossy(&buffer[..len]))?;
        if priority == 0 {
            return mq::remove(&name);
        }
    }
}
