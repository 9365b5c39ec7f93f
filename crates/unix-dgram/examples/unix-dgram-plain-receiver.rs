//! Makes a socket at a path and tells the length of each datagram, up to an empty one.
//!
//! ```sh
//! cargo run -p unix-dgram --example unix-dgram-plain-receiver -- /tmp/talk.sock     # terminal 1
//! cargo run -p unix-dgram --example unix-dgram-plain-sender -- /tmp/talk.sock       # terminal 2
//! ```
//!
//! That an empty datagram is the end is agreed between the two; the kernel knows no end.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use unix_dgram::unix_dgram::{create, remove, take};

fn main() -> io::Result<()> {
    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or("/tmp/talk.sock".into()));
    let socket = create(&path)?;
    let result = listen_to(&socket);
    // The name does not go away by itself, and bind(2) would fail the next time.
    remove(&path)?;
    result
}

fn listen_to(socket: &UnixDatagram) -> io::Result<()> {
    let mut stdout = io::stdout();
    let mut buffer = [0; 16];
    loop {
        match take(socket, &mut buffer)? {
            (0, _) => return writeln!(stdout, "0 bytes: the end, as agreed"),
            (len, _) if len > buffer.len() => writeln!(stdout, "{len} bytes, {} of them cut off", len - buffer.len())?,
            (len, _) => writeln!(stdout, "{len} bytes: {}", buffer[..len].escape_ascii())?,
        }
    }
}
