//! Connects to an address, writes three lines and prints the answer.
//!
//! ```sh
//! cargo run -p tcp --example tcp-plain-sender -- 127.0.0.1:20001
//! ```
//!
//! Its partner, `tcp-plain-receiver`, must have been started first.

use std::io::{self, Read, Write};
use std::net::{Shutdown, ToSocketAddrs};

use tcp::tcp::{finish_connect, start_connect};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:20001".to_owned());
    let address = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let mut stream = start_connect(address)?;
    finish_connect(&stream)?;
    for word in ["one\n", "two\n", "three\n"] {
        stream.write_all(word.as_bytes())?;
    }
    // Closes one direction: the other end reads the end of file, and its answer can still come.
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    write!(io::stdout(), "the receiver has read {answer}")
}
