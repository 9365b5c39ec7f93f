//! Listens at an address and tells what each read from the first connection brings.
//!
//! ```sh
//! cargo run -p tcp --example tcp-plain-receiver -- 127.0.0.1:20001     # terminal 1
//! cargo run -p tcp --example tcp-plain-sender -- 127.0.0.1:20001       # terminal 2
//! ```
//!
//! A connection has two directions: it answers with how many bytes it has read.

use std::io::{self, Read, Write};
use std::net::ToSocketAddrs;

use tcp::peer_user::{Peer, peer};
use tcp::tcp::{accept, listen};

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:20001".to_owned());
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    let mut stream = accept(&listen(&addresses)?)?;
    if peer(&stream)? == Peer::Foreign {
        return Err(io::Error::other("another user has connected"));
    }
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
