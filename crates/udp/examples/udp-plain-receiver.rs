//! Hears one sender, tells the number of each message, and in the end how many did not arrive.
//!
//! ```sh
//! cargo run -p udp --example udp-plain-receiver -- 127.0.0.1:20002     # terminal 1
//! cargo run -p udp --example udp-plain-sender -- 127.0.0.1:20002       # terminal 2
//! ```
//!
//! It may be started second: the sender says hello until it is welcome.

use std::io::{self, Write};
use std::net::ToSocketAddrs;

use udp::listener::{Heard, Listener};
use udp::udp::bind;

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:20002".to_owned());
    let addresses: Vec<_> = address.to_socket_addrs()?.collect();
    let mut listener = Listener::new(bind(&addresses)?);
    let mut stdout = io::stdout();
    loop {
        match listener.hear() {
            Ok(Heard::Message(len)) => {
                let number = listener.tally().next() - 1;
                writeln!(stdout, "{number}: {}", listener.message(len).escape_ascii())?;
            }
            Ok(Heard::End(sent)) => {
                return writeln!(stdout, "{} of {sent} messages were lost", sent - listener.tally().arrived());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
