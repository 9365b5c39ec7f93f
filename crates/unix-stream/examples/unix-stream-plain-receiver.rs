//! Listens at a path and tells what each read from the first connection brings.
//!
//! ```sh
//! cargo run -p unix-stream --example unix-stream-plain-receiver -- /tmp/talk.sock     # terminal 1
//! cargo run -p unix-stream --example unix-stream-plain-sender -- /tmp/talk.sock       # terminal 2
//! ```
//!
//! A connection has two directions: it answers with how many bytes it has read.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use unix_stream::unix_stream::{accept, create, is_own, remove};

fn main() -> io::Result<()> {
    let path = PathBuf::from(std::env::args_os().nth(1).unwrap_or("/tmp/talk.sock".into()));
    let listener = create(&path)?;
    let result = accept(&listener).and_then(|stream| if is_own(&stream)? { talk(stream) } else { Ok(()) });
    // The name does not go away by itself, and bind(2) would fail the next time.
    remove(&path)?;
    result
}

fn talk(mut stream: std::os::unix::net::UnixStream) -> io::Result<()> {
    let mut stdout = io::stdout();
    let mut buffer = [0; 4096];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            len => {
                writeln!(stdout, "{len} bytes: {}", buffer[..len.min(20)].escape_ascii())?;
                total += len;
            }
        }
    }
    writeln!(stream, "{total}")
}
