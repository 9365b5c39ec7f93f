//! Sends three numbered messages, and says how many of them have arrived.
//!
//! ```sh
//! cargo run -p udp --example udp-plain-sender -- 127.0.0.1:20002
//! ```
//!
//! Its partner is `udp-plain-receiver`; either may be started first.

use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::time::Duration;

use udp::caller::Caller;
use udp::udp::connect;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:20002".to_owned());
    let address = address.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    // Begun with 0, so that the numbers can be read. That anybody could guess them does no harm here.
    let mut caller = Caller::new(connect(address)?, None, 0);
    asked(|wait| caller.hello(wait))?;
    for message in ["one", "two", "three"] {
        caller.message(message.as_bytes())?;
    }
    let arrived = asked(|wait| caller.end(wait))?;
    writeln!(io::stdout(), "{arrived} of {} messages have arrived", caller.sent())
}

/// Asks until there is an answer, ten times a second and for ten seconds at most.
fn asked<T>(mut question: impl FnMut(Duration) -> io::Result<T>) -> io::Result<T> {
    let mut answer = Err(io::ErrorKind::TimedOut.into());
    for _ in 0..100 {
        answer = question(Duration::from_millis(100));
        match &answer {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            _ => break,
        }
    }
    answer
}
