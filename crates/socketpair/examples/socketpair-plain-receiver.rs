//! Tells what each read from the socket on standard input brings, and answers into the same descriptor.
//!
//! Its partner, `socketpair-plain-sender`, starts it and prints the answers:
//!
//! ```sh
//! echo hello | cargo run -p socketpair --example socketpair-plain-sender -- cargo run --quiet -p socketpair --example socketpair-plain-receiver
//! ```
//!
//! What it tells goes to standard error: its standard output is the socket, too.

use std::io::{self, Read, Write};

use socketpair::socketpair::Socket;

fn main() -> io::Result<()> {
    let mut socket = Socket::from_stdin()?;
    let mut stderr = io::stderr();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer)? {
            0 => return writeln!(stderr, "end of file"),
            len => {
                writeln!(stderr, "{len} bytes: {}", buffer[..len.min(20)].escape_ascii())?;
                writeln!(socket, "it has read {len} bytes")?;
            }
        }
    }
}
