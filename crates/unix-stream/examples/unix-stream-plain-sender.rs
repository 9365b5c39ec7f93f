//! Connects to a path, writes three lines and prints the answer.
//!
//! ```sh
//! cargo run -p unix-stream --example unix-stream-plain-sender -- /tmp/talk.sock
//! ```
//!
//! Its partner, `unix-stream-plain-receiver`, must have been started first.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;

use unix_stream::unix_stream::connect;

fn main() -> io::Result<()> {
    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or("/tmp/talk.sock".into()));
    let mut stream = connect(&path)?;
    for word in ["one\n", "two\n", "three\n"] {
        stream.write_all(word.as_bytes())?;
    }
    // Closes one direction: the other end reads the end of file, and its answer can still come.
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    write!(io::stdout(), "the receiver has read {answer}")
}
