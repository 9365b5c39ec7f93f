//! Puts its arguments into a mailbox: the mechanism and nothing else. Its partner is `sysv-sem-plain-receiver`, which
//! makes the mailbox and therefore starts first; its header shows how.

use std::{env, io};

use sysv_sem::sysv_sem::Mailbox;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    let key = args.next().expect("usage: sysv-sem-plain-sender 0xKEY [TEXT]...");
    let key = i32::from_str_radix(key.trim_start_matches("0x"), 16).expect("a hexadecimal number");
    let mailbox = Mailbox::open(key)?;
    for text in args {
        mailbox.put(format!("{text}\n").as_bytes())?;
    }
    mailbox.put_end()
}
