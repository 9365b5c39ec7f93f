//! Prints what is put into a bounded buffer: the mechanism and nothing else. Its partner, `eventfd-plain-sender`,
//! makes the buffer, starts it, and passes the buffer on to it.
//!
//! ```sh
//! cargo run -p eventfd --example eventfd-plain-sender -- cargo run --quiet -p eventfd --example eventfd-plain-receiver
//! ```

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use eventfd::eventfd::{Buffer, MAX};
use eventfd::scm_rights;

fn main() -> io::Result<()> {
    // The socket that it was started with.
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut buffer = Buffer::open(scm_rights::receive(&socket)?)?;
    let mut record = [0; MAX];
    while let Some(len) = buffer.take(&mut record)? {
        io::stdout().write_all(&record[..len])?;
    }
    Ok(())
}
