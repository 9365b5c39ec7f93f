//! Sends its arguments by realtime signals: the mechanism and nothing else. Its partner is `rt-signal-plain-receiver`,
//! which makes the pid file and therefore starts first; its header shows how.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::{env, fs};

use rt_signal::parts::{Part, Writer};
use rt_signal::rt_signal::{self as rt, Peer};

fn main() -> io::Result<()> {
    let mut args = env::args_os().skip(1);
    let path = args.next().expect("usage: rt-signal-plain-sender PID-FILE [TEXT]...");
    let pid = fs::read_to_string(path)?.trim().parse().expect("a pid in the file");
    // The reader's answers are signals too.
    rt::block()?;
    let mut writer = Writer::new(Peer::open(pid)?)?;
    for text in args {
        Part::all(text.as_bytes()).try_for_each(|part| writer.put(part))?;
    }
    writer.put(Part::END)?;
    // Until the reader has taken it: it cannot find a process that has ended.
    writer.flush()
}
