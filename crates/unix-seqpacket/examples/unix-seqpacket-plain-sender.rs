//! Connects to a path and puts three records in, the second of which is empty.
//!
//! ```sh
//! cargo run -p unix-seqpacket --example unix-seqpacket-plain-sender -- /tmp/talk.sock
//! ```
//!
//! Its partner, `unix-seqpacket-plain-receiver`, must have been started first.

use std::io;
use std::path::PathBuf;

use unix_seqpacket::unix_seqpacket::{connect, put};

fn main() -> io::Result<()> {
    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or("/tmp/talk.sock".into()));
    let socket = connect(&path)?;
    for record in ["this is too long for its buffer", "", "three"] {
        put(&socket, record.as_bytes())?;
    }
    Ok(())
}
