//! Puts a text into sealed memory and sends its descriptor: the mechanism and nothing else. Its partner is
//! `memfd-plain-receiver`, which listens and therefore starts first; its header shows how.

use std::io;
use std::os::fd::AsRawFd;

use memfd::memfd::sealed;
use memfd::scm_rights::send;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

fn main() -> io::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let path = args.next().expect("usage: memfd-plain-sender PATH [TEXT]");
    let text = args.next().unwrap_or("hello".into()).into_encoded_bytes();

    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(&path[..])?)?;
    let memfd = sealed(&text)?;
    send(&socket, [&(text.len() as u32).to_be_bytes(), &[]], Some(&memfd))
}
