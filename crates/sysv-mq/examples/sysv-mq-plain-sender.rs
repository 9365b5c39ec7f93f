//! Puts its arguments into a message queue: the mechanism and nothing else. Its partner is
//! `sysv-mq-plain-receiver`, which makes the queue and therefore starts first; its header shows how.

use std::{env, io};

use sysv_mq::sysv_mq::{Message, Queue};

fn main() -> io::Result<()> {
    let usage = "usage: sysv-mq-plain-sender 0xKEY TYPE [TEXT]...";
    let mut args = env::args().skip(1);
    let key = args.next().and_then(|text| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()).expect(usage);
    let mtype = args.next().and_then(|text| text.parse().ok()).expect(usage);
    let queue = Queue::open(key.cast_signed())?;
    let mut message = Message::empty();
    for text in args {
        message.set(mtype, text.as_bytes())?;
        queue.put(&message)?;
    }
    Ok(())
}
