//! Puts its arguments into a bounded buffer: the mechanism and nothing else. Its partner is
//! `robust-mutex-plain-receiver`, which makes the buffer and therefore starts first; its header shows how.

use std::{env, io};

use robust_mutex::robust_mutex::Buffer;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let name = args.next().expect("usage: robust-mutex-plain-sender /NAME [TEXT]...");
    let mut buffer = Buffer::open(&name)?;
    for text in args {
        buffer.put(format!("{text}\n").as_bytes())?;
    }
    buffer.put_end()
}
