//! Makes a bounded buffer, starts a program, passes the buffer on to it through its standard input, and puts three
//! lines in.
//!
//! Its partner is `eventfd-plain-receiver`:
//!
//! ```sh
//! cargo run -p eventfd --example eventfd-plain-sender -- cargo run --quiet -p eventfd --example eventfd-plain-receiver
//! ```

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::{env, io, thread, time::Duration};

use eventfd::eventfd::Buffer;
use eventfd::scm_rights;

fn main() -> io::Result<()> {
    let mut words = env::args_os().skip(1);
    let program = words.next().expect("usage: eventfd-plain-sender PROGRAM [ARGUMENT]...");
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = Command::new(program).args(words).stdin(OwnedFd::from(theirs)).spawn()?;
    let mut buffer = Buffer::create()?;
    scm_rights::send(&ours, &buffer.descriptors())?;
    for word in ["one\n", "two\n", "three\n"] {
        buffer.put(word.as_bytes())?;
        thread::sleep(Duration::from_millis(100));
    }
    buffer.put_end()?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}
