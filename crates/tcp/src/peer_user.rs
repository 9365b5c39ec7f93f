//! Whose process is at the other end, where that is on this machine?
//!
//! A port belongs to nobody: every user may connect or send to 127.0.0.1, and listen there before you do. TCP and UDP
//! know no users, but the kernel knows the owner of each of its sockets, and tells by sock_diag, as it does for `ss -e`.
//! The same stands in `/proc/net/tcp`, but to look there costs a walk through all that the kernel has: 14 ms instead of
//! 0.1.
//!
//! Manual pages: sock_diag(7), netlink(7), `SO_PEERCRED` in unix(7), which asks the same of a Unix domain socket.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::unistd::geteuid;

/// The protocol of a socket: IPPROTO_TCP, IPPROTO_UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Connections.
    Tcp = 6,
    /// Datagrams.
    Udp = 17,
}

/// Who has the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process of this user's.
    Own,
    /// Another user's process of this machine.
    Foreign,
    /// A process that has closed it already: then its owner is forgotten, so ask while both ends have it open.
    Gone,
    /// A process of another machine, where nobody can tell.
    Remote,
}

/// Who has the other end of this connection?
///
/// # Errors
/// Those of a netlink socket; or that this kernel does not tell.
pub fn peer(stream: &TcpStream) -> io::Result<Peer> {
    match stream.peer_addr() {
        // A reset has ended the connection.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(Peer::Gone),
        there => whose(Protocol::Tcp, there?, stream.local_addr()?),
    }
}

/// Who has the UDP socket at `there` that hears what is sent to it from `here`?
///
/// # Errors
/// As [`peer`].
pub fn udp_peer(there: SocketAddr, here: SocketAddr) -> io::Result<Peer> {
    whose(Protocol::Udp, there, here)
}

fn whose(protocol: Protocol, there: SocketAddr, here: SocketAddr) -> io::Result<Peer> {
    let (there, here) = (canonical(there), canonical(here));
    if !here.ip().is_loopback() && !is_here(there)? {
        return Ok(Peer::Remote);
    }
    match owner(protocol, there, here)? {
        Some(user) if user == geteuid().as_raw() => Ok(Peer::Own),
        Some(_) => Ok(Peer::Foreign),
        // Whoever connected may be gone, and the kernel has forgotten our end with it; or it never tells.
        None if !tells(protocol)? => {
            let option = if protocol == Protocol::Tcp { "INET_TCP_DIAG" } else { "INET_UDP_DIAG" };
            Err(io::Error::other(format!("the kernel does not tell whose a socket is ({option})")))
        }
        None => Ok(Peer::Gone),
    }
}

/// Is it another user's process that listens at this address of this machine's?
///
/// # Errors
/// As [`peer`].
pub fn listener_is_foreign(protocol: Protocol, address: SocketAddr) -> io::Result<bool> {
    let address = canonical(address);
    let user = if is_here(address)? { owner(protocol, address, nobody(address))? } else { None };
    Ok(user.is_some_and(|user| user != geteuid().as_raw()))
}

/// Is it an address of this machine's? Not only those of the loopback interface are: a process may connect from any of them
/// to any other. Only to its own can a socket be bound (but where somebody has set `ip_nonlocal_bind`).
fn is_here(address: SocketAddr) -> io::Result<bool> {
    let mut any_port = address;
    any_port.set_port(0);
    match UdpSocket::bind(any_port) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => Ok(false),
        Err(error) => Err(error),
    }
}

/// Does the kernel know a socket that is certainly there?
fn tells(protocol: Protocol) -> io::Result<bool> {
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    let address = if protocol == Protocol::Tcp { tcp.local_addr()? } else { udp.local_addr()? };
    Ok(owner(protocol, address, nobody(address))?.is_some())
}

/// The other end of a socket that is not connected.
fn nobody(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(if address.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0)
}

/// The user of the socket of this machine that is bound to `local` and hears `remote`, if a process has it open.
fn owner(protocol: Protocol, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    // About UDP the question is who would get a datagram, and that one's source stands first.
    let (first, second) = if protocol == Protocol::Tcp { (local, remote) } else { (remote, local) };
    let mut question = Vec::with_capacity(72);
    // struct nlmsghdr: length, type, flags (NLM_F_REQUEST), sequence number, port.
    question.extend(72_u32.to_ne_bytes());
    question.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    question.extend(1_u16.to_ne_bytes());
    question.extend([0; 8]);
    // struct inet_diag_req_v2: family, protocol, no extensions, all states.
    question.extend([family as u8, protocol as u8, 0, 0]);
    question.extend([0xff; 4]);
    // struct inet_diag_sockid: ports and addresses as they are on the wire, any interface, no cookie.
    question.extend([first.port().to_be_bytes(), second.port().to_be_bytes()].concat());
    question.extend([octets(first), octets(second)].concat());
    question.extend([0; 4]);
    question.extend([0xff; 8]);

    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkSockDiag)?;
    send(netlink.as_raw_fd(), &question, MsgFlags::empty())?;
    let mut answer = [0; 512];
    let len = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // Anything else than a struct inet_diag_msg is ENOENT. It ends with the user and the inode. Inode 0: no process has
    // the socket open, and the user need not be the one that it was made by.
    let word =
        |at: usize| answer[..len].get(at..at + 4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    let told = answer[4..6] == SOCK_DIAG_BY_FAMILY.to_ne_bytes() && word(84).is_some_and(|inode| inode != 0);
    Ok(word(80).filter(|_| told))
}

/// ::ffff:127.0.0.1 is 127.0.0.1, seen from a socket that speaks both protocols.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The address in the 16 bytes that have room for either kind.
fn octets(address: SocketAddr) -> [u8; 16] {
    let mut octets = [0; 16];
    match address.ip() {
        IpAddr::V4(ip) => octets[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => octets = ip.octets(),
    }
    octets
}
