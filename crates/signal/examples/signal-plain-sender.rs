//! Sends its arguments by two signals: the mechanism and nothing else. Its partner is `signal-plain-receiver`,
//! which makes the pid file and therefore starts first; its header shows how.

use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::{env, fs};

use signal::signal;

fn main() -> io::Result<()> {
    let mut args = env::args_os().skip(1);
    let path = args.next().expect("usage: signal-plain-sender PID-FILE [TEXT]...");
    let pid = fs::read_to_string(path)?.trim().parse().expect("a pid in the file");
    // The acknowledgements are signals too.
    signal::block()?;
    let mut writer = signal::Writer::new(signal::Peer::open(pid)?);
    for text in args {
        let mut line = text.into_vec();
        line.push(b'\n');
        writer.write_all(&line)?;
    }
    writer.write_all(&[0])
}
