//! Whose process is at the other end of a connection, where that is on this machine?
//!
//! A port belongs to nobody: every user may connect to 127.0.0.1, and listen there before you do. TCP knows no
//! users, but the kernel lists all its sockets with their owners in `/proc/net/tcp` and `/proc/net/tcp6`.
//!
//! Manual pages: proc_pid_net(5), `SO_PEERCRED` in unix(7), which asks the same of a Unix domain socket.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use nix::unistd::geteuid;

/// Is it another user's process of this machine? One on another machine is not, for nobody can tell.
///
/// Ask while both ends have the connection open. Where the other one has closed it already, its owner is forgotten
/// and the answer is yes.
///
/// # Errors
/// Those of reading `/proc/net/tcp`.
pub fn is_foreign(stream: &TcpStream) -> io::Result<bool> {
    let (here, there) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
    if !there.ip().is_loopback() && there.ip() != here.ip() {
        return Ok(false);
    }
    // The table changes while it is read, and a line that is there may be missed.
    for _ in 0..3 {
        let found = sockets()?.into_iter().find(|socket| socket.local == there && socket.remote == here);
        if let Some(socket) = found {
            return Ok(socket.user != geteuid().as_raw());
        }
    }
    Ok(true)
}

/// Is it another user's process that listens at this address of the loopback interface?
///
/// # Errors
/// As [`is_foreign`].
pub fn listener_is_foreign(address: SocketAddr) -> io::Result<bool> {
    let (ip, port) = (canonical(address).ip(), address.port());
    let is_listener = |socket: &Socket| socket.remote.port() == 0 && socket.local.port() == port;
    let hears = |socket: &Socket| socket.local.ip() == ip || socket.local.ip().is_unspecified();
    let found = |socket: &Socket| is_listener(socket) && hears(socket) && socket.user != geteuid().as_raw();
    Ok(ip.is_loopback() && sockets()?.iter().any(found))
}

struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    user: u32,
}

/// All TCP sockets of this machine that a process has open.
fn sockets() -> io::Result<Vec<Socket>> {
    let mut text = fs::read_to_string("/proc/net/tcp")?;
    // Missing where the kernel has no IPv6.
    text += &fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    Ok(text.lines().filter_map(socket).collect())
}

fn socket(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, remote, _, _, _, _, user, _, inode, ..] = fields[..] else { return None };
    // Inode 0: no process has it open, and the user need not be the one that it was made by.
    if inode == "0" {
        return None;
    }
    Some(Socket { local: address(local)?, remote: address(remote)?, user: user.parse().ok()? })
}

/// `0100007F:4E20` is 127.0.0.1:20000: words of 32 bits as they lie in memory, and the port as a number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match ip.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        _ => {
            IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from([word(0)?, word(1)?, word(2)?, word(3)?].concat()).ok()?))
        }
    };
    Some(canonical(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?)))
}

/// ::ffff:127.0.0.1 is 127.0.0.1, seen from a socket that speaks both protocols. Scopes are not in the table.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
