//! Appends its arguments to a file: the mechanism and nothing else. Its partner is `file-plain-receiver`, which
//! makes the file and therefore starts first; its header shows how.

use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::{env, path::PathBuf};

use file::file;

fn main() -> io::Result<()> {
    let mut args = env::args_os().skip(1);
    let path = PathBuf::from(args.next().expect("usage: file-plain-sender PATH [TEXT]..."));
    let mut appender = file::open_appender(&path)?;
    for text in args {
        let mut line = text.into_vec();
        line.push(b'\n');
        appender.write_all(&line)?;
    }
    Ok(())
}
