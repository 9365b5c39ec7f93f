//! Writes its arguments into a System V segment: the mechanism and nothing else. Its partner is
//! `sysv-shm-plain-receiver`, which makes the segment and therefore starts first; its header shows how.

use std::env;
use std::io;

use sysv_shm::sysv_shm;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let key = args.next().expect("usage: sysv-shm-plain-sender 0xKEY [TEXT]...");
    let key = i32::from_str_radix(key.trim_start_matches("0x"), 16).expect("a hexadecimal number");
    let mut writer = sysv_shm::open(key)?;
    for text in args {
        writer.put_all(format!("{text}\n").as_bytes())?;
    }
    writer.end()
}
