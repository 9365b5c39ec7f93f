//! Puts its arguments into a message queue: the mechanism and nothing else. Its partner is
//! `posix-mq-plain-receiver`, which makes the queue and therefore starts first; its header shows how.

use std::{env, io};

use posix_mq::posix_mq::Queue;

fn main() -> io::Result<()> {
    let usage = "usage: posix-mq-plain-sender /NAME PRIORITY [TEXT]...";
    let mut args = env::args().skip(1);
    let queue = Queue::open(&args.next().expect(usage))?;
    let priority = args.next().and_then(|text| text.parse().ok()).expect(usage);
    for text in args {
        queue.put(priority, text.as_bytes())?;
    }
    Ok(())
}
