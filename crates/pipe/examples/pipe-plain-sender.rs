//! Makes a pipe, starts a program with the reading end as its standard input, and writes three lines.
//!
//! Any program that reads its standard input can be at the other end:
//!
//! ```sh
//! cargo run -p pipe --example pipe-plain-sender -- wc --bytes
//! ```
//!
//! The partner is one, too. Build it first, and say where it is:
//!
//! ```sh
//! cargo build -p pipe --example pipe-plain-receiver
//! cargo run -p pipe --example pipe-plain-sender -- PATH/OF/pipe-plain-receiver
//! ```
//!
//! Without a program it writes to its standard output, as in `pipe-plain-sender | pipe-plain-receiver`.

use std::io::{self, Write};
use std::process::Command;
use std::{env, thread, time::Duration};

use pipe::pipe::{Writer, create};

fn main() -> io::Result<()> {
    let mut words = env::args_os().skip(1);
    let Some(program) = words.next() else {
        return talk(Writer::from_stdout()?);
    };
    let (reader, writer) = create()?;
    // `command` holds the reading end until it is dropped, which is before the first write.
    let mut child = Command::new(program).args(words).stdin(reader).spawn()?;
    talk(writer)?;
    // `talk` has dropped the writer: that is the end of file. Waiting before it would be waiting for ever.
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

fn talk(mut writer: Writer) -> io::Result<()> {
    for word in ["one\n", "two\n", "three\n"] {
        writer.write_all(word.as_bytes())?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
