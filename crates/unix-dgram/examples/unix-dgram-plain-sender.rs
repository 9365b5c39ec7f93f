//! Puts three datagrams into the socket at a path. The last one is empty, which its partner takes for the end.
//!
//! ```sh
//! cargo run -p unix-dgram --example unix-dgram-plain-sender -- /tmp/talk.sock
//! ```
//!
//! Its partner, `unix-dgram-plain-receiver`, must have been started first.

use std::io;
use std::path::PathBuf;

use unix_dgram::unix_dgram::{connect, put};

fn main() -> io::Result<()> {
    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or("/tmp/talk.sock".into()));
    let socket = connect(&path)?;
    for datagram in ["this is too long for its buffer", "two", ""] {
        put(&socket, datagram.as_bytes())?;
    }
    Ok(())
}
