//! Writes its arguments into shared memory: the mechanism and nothing else. Its partner is `shm-plain-receiver`,
//! which makes the memory and therefore starts first; its header shows how.

use std::env;
use std::io;

use ::shm::shm;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let mut writer = shm::open(&args.next().expect("usage: shm-plain-sender /NAME [TEXT]..."))?;
    for text in args {
        writer.put_all(format!("{text}\n").as_bytes())?;
    }
    writer.end()
}
