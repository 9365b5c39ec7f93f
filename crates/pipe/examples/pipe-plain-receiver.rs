//! Tells what each read from the pipe on standard input brings.
//!
//! ```sh
//! echo hello | cargo run -p pipe --example pipe-plain-receiver
//! ```
//!
//! Its partner, `pipe-plain-sender`, can start it; see there. Two writes may arrive as one read, and one as two:
//! `seq 30000 | pipe-plain-receiver` shows it.

use std::io::{self, Read, Write};

use pipe::pipe::Reader;

fn main() -> io::Result<()> {
    let mut reader = Reader::from_stdin()?;
    let mut stdout = io::stdout();
    let mut buffer = [0; 4096];
    loop {
        match reader.read(&mut buffer)? {
            0 => return writeln!(stdout, "end of file"),
            len => writeln!(stdout, "{len} bytes: {}", buffer[..len.min(20)].escape_ascii())?,
        }
    }
}
