//! Takes messages out of a message queue by type: the mechanism and nothing else. Its partner is
//! `sysv-mq-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p sysv-mq --example sysv-mq-plain-receiver -- 0xcafe 2 -9 0
//! terminal 2   cargo run -p sysv-mq --example sysv-mq-plain-sender -- 0xcafe 3 three
//! terminal 2   cargo run -p sysv-mq --example sysv-mq-plain-sender -- 0xcafe 1 one
//! terminal 2   cargo run -p sysv-mq --example sysv-mq-plain-sender -- 0xcafe 2 two
//! ```
//!
//! Behind the key it is told what to ask for, once for each message: 2 waits for one of type 2, whatever else is
//! there; -9 takes the lowest type up to 9; 0 takes the oldest. So it prints `two`, `one`, `three`, removes the
//! queue and ends.

use std::env;
use std::io::{self, Write};

use sysv_mq::sysv_mq::{self as mq, Message, Queue};

fn main() -> io::Result<()> {
    let usage = "usage: sysv-mq-plain-receiver 0xKEY [MSGTYP]...";
    let mut args = env::args().skip(1);
    let key = args.next().and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()).expect(usage);
    let queue = Queue::create(key.cast_signed())?;
    let mut message = Message::empty();
    for msgtyp in args {
        queue.take(msgtyp.parse().expect(usage), &mut message)?;
        writeln!(io::stdout(), "type {}: {}", message.mtype(), String::from_utf8_lossy(message.text()))?;
    }
    mq::remove(key.cast_signed())
}
