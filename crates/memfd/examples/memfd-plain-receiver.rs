//! Receives one memfd, tries to change it, and prints what it contains: the mechanism and nothing else. Its partner
//! is `memfd-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p memfd --example memfd-plain-receiver -- /tmp/memfd.sock
//! terminal 2   cargo run -p memfd --example memfd-plain-sender -- /tmp/memfd.sock hello
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use memfd::memfd::Mapping;
use memfd::scm_rights::recv;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};

fn main() -> io::Result<()> {
    let path = std::env::args_os().nth(1).expect("usage: memfd-plain-receiver PATH");
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(&path[..])?)?;
    listen(&listener, Backlog::new(1)?)?;
    let (socket, _) = UnixListener::from(listener).accept()?;
    fs::remove_file(&path)?;

    // The record itself is the length; the memfd comes with it.
    let mut len = [0; 4];
    let (_, memfd) = recv(&socket.into(), &mut len)?;
    let memfd: OwnedFd = memfd.ok_or(io::ErrorKind::InvalidData)?;

    let mut stdout = io::stdout();
    let mut file = File::from(memfd.try_clone()?);
    writeln!(stdout, "write:  {:?}", file.write(b"something else"))?;
    writeln!(stdout, "shrink: {:?}", file.set_len(1))?;
    writeln!(stdout, "grow:   {:?}", file.set_len(1 << 20))?;
    let message = Mapping::new(memfd, u32::from_be_bytes(len) as usize)?;
    writeln!(stdout, "it contains \"{}\"", message.escape_ascii())
}
