//! Listens at a path and tells the length of each record from the first connection, up to one of length 0.
//!
//! ```sh
//! cargo run -p unix-seqpacket --example unix-seqpacket-plain-receiver -- /tmp/talk.sock     # terminal 1
//! cargo run -p unix-seqpacket --example unix-seqpacket-plain-sender -- /tmp/talk.sock       # terminal 2
//! ```
//!
//! Of the sender's three records, the second is empty. This receiver takes it for the end, as many a program does.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use unix_seqpacket::unix_seqpacket::{accept, create, is_own, remove, take};

fn main() -> io::Result<()> {
    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or("/tmp/talk.sock".into()));
    let listener = create(&path)?;
    let result = accept(&listener).and_then(|socket| if is_own(&socket)? { listen_to(&socket) } else { Ok(()) });
    // The name does not go away by itself, and bind(2) would fail the next time.
    remove(&path)?;
    result
}

fn listen_to(socket: &OwnedFd) -> io::Result<()> {
    let mut stdout = io::stdout();
    let mut buffer = [0; 16];
    loop {
        match take(socket, &mut buffer)? {
            0 => return writeln!(stdout, "0 bytes: the end, or an empty record?"),
            len if len > buffer.len() => writeln!(stdout, "{len} bytes, {} of them cut off", len - buffer.len())?,
            len => writeln!(stdout, "{len} bytes: {}", buffer[..len].escape_ascii())?,
        }
    }
}
