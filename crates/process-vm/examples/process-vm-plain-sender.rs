//! Lets another process read its arguments: the mechanism and nothing else. Its partner is
//! `process-vm-plain-receiver`, which listens and therefore starts first; its header shows how.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use process_vm::process_vm::Writer;

fn main() -> io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let path = args.next().expect("usage: process-vm-plain-sender PATH [TEXT]...");

    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(&path[..])?)?;
    let writer = Writer::new(socket)?;
    for text in args {
        let message = text.as_encoded_bytes();
        writeln!(io::stdout(), "process {}: {} bytes at {:p}", std::process::id(), message.len(), message.as_ptr())?;
        writer.offer(message)?.taken()?;
    }
    writer.end()
}
