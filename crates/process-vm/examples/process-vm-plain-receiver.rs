//! Reads messages out of another process and prints them: the mechanism and nothing else. Its partner is
//! `process-vm-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p process-vm --example process-vm-plain-receiver -- /tmp/process-vm.sock
//! terminal 2   cargo run -p process-vm --example process-vm-plain-sender -- /tmp/process-vm.sock hello world
//! ```

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use process_vm::process_vm::{MAX_MESSAGE, Reader};

fn main() -> io::Result<()> {
    let path = std::env::args_os().nth(1).expect("usage: process-vm-plain-receiver PATH");
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(&path[..])?)?;
    listen(&listener, Backlog::new(1)?)?;
    let (socket, _) = UnixListener::from(listener).accept()?;
    fs::remove_file(&path)?;

    let reader = Reader::new(socket.into())?;
    let mut buffer = vec![0; MAX_MESSAGE];
    while let Some(len) = reader.take(&mut buffer)? {
        writeln!(io::stdout(), "in process {} it says \"{}\"", reader.sender(), buffer[..len].escape_ascii())?;
    }
    Ok(())
}
