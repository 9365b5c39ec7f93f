//! Prints what is put into a mailbox: the mechanism and nothing else. Its partner is `sysv-sem-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p sysv-sem --example sysv-sem-plain-receiver -- 0x5e3a
//! terminal 2   cargo run -p sysv-sem --example sysv-sem-plain-sender -- 0x5e3a hello
//! ```

use std::env;
use std::io::{self, Write};

use ::sysv_sem::sysv_sem::{self, MAX, Mailbox};

fn main() -> io::Result<()> {
    let key = env::args().nth(1).expect("usage: sysv-sem-plain-receiver 0xKEY");
    let key = i32::from_str_radix(key.trim_start_matches("0x"), 16).expect("a hexadecimal number");
    let mailbox = Mailbox::create(key)?;
    let mut record = [0; MAX];
    while let Some(len) = mailbox.take(&mut record)? {
        io::stdout().write_all(&record[..len])?;
    }
    sysv_sem::remove(key)
}
