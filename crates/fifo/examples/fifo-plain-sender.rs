//! Writes its arguments into a FIFO: the mechanism and nothing else. Its partner is `fifo-plain-receiver`, which
//! makes the FIFO and therefore starts first; its header shows how.

use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::{env, path::PathBuf};

use fifo::fifo;

fn main() -> io::Result<()> {
    let mut args = env::args_os().skip(1);
    let path = PathBuf::from(args.next().expect("usage: fifo-plain-sender PATH [TEXT]..."));
    let mut writer = fifo::open_writer(&path)?;
    for text in args {
        let mut line = text.into_vec();
        line.push(b'\n');
        writer.write_all(&line)?;
    }
    Ok(())
}
