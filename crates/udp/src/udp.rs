//! UDP: datagrams between two sockets that may be on two machines.
//!
//! A socket is bound to an address and a port, and whoever knows them can send there. A datagram arrives whole or not at
//! all: the network may lose it, and so does the receiver's own kernel where its queue is full. Nobody is told. The
//! network may also deliver datagrams in another order, or one of them twice.
//!
//! ```text
//! sender  socket, connect ─▶ send ─────▶ ~ network, may lose ~ ──▶ [datagram] [datagram] ──▶ recv      receiver
//!                                                                  a full queue: dropped        socket, bind
//! ```
//!
//! `connect(2)` sends nothing and asks nobody. It notes where to send to, from whom alone to take, and that the program
//! wants to hear of it if the other machine says that nobody has that port.
//!
//! Manual pages: udp(7), ip(7), socket(7), bind(2), connect(2), send(2), sendmsg(2), recv(2), recvfrom(2).

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{MsgFlags, SockaddrStorage, sendmsg, setsockopt};

/// Bytes in the longest datagram: the 65,535 of an IP packet, less 20 for its header and 8 for UDP's. (IPv6 does not
/// count its header, and would carry 20 more.)
pub const LONGEST: usize = 65_507;
/// Bytes that a receiver wants its queue to hold.
const ROOM: usize = 4 << 20;

/// Binds the first of the addresses that is possible. Port 0 takes a free one: ask `local_addr` which.
///
/// # Errors
/// `EADDRINUSE` where another socket has the port; `EADDRNOTAVAIL` where no interface of this machine has the address;
/// `EACCES` for ports below 1024.
pub fn bind(addresses: &[SocketAddr]) -> io::Result<UdpSocket> {
    // No SO_REUSEADDR. There is no TIME_WAIT here to wait for, and a second process that also sets it would be bound
    // to the same port and get all that comes from then on.
    let socket = UdpSocket::bind(addresses)?;
    make_room(&socket)?;
    Ok(socket)
}

/// Makes the queue longer, as far as net.core.rmem_max allows: what does not fit is lost.
pub(crate) fn make_room(socket: &UdpSocket) -> io::Result<()> {
    Ok(setsockopt(socket, RcvBuf, &ROOM)?)
}

/// Makes a socket that sends to this address and takes from it alone.
///
/// # Errors
/// `ENETUNREACH` where no way leads there. That nobody is there is no error yet.
pub fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    if socket.local_addr()?.port() == address.port() {
        // Nobody has that port, and so the kernel has given it to us: we would talk to ourselves, and keep out
        // whoever is still to come. While this socket has it, another one gets another.
        return connect(address);
    }
    socket.connect(address)?;
    Ok(socket)
}

/// The address at which `there` hears what this socket sends. A socket that is bound to any address has, for each other
/// end, the one that the way there begins at.
///
/// # Errors
/// As [`connect`].
pub fn address_towards(socket: &UdpSocket, there: SocketAddr) -> io::Result<SocketAddr> {
    let mut here = socket.local_addr()?;
    if here.ip().is_unspecified() {
        here.set_ip(connect(there)?.local_addr()?.ip());
    }
    Ok(here)
}

/// Sends one datagram, made of the parts, to an address or to where the socket is connected to. It never waits for a
/// receiver, and success says that it has been handed to the network, no more.
///
/// # Errors
/// `EMSGSIZE` above [`LONGEST`]; `ECONNREFUSED`, from a connected socket, where it is known by now that nobody had the
/// port when an *earlier* one came there, and then this one was not sent; `EINTR` after a signal.
pub fn put(socket: &UdpSocket, to: Option<SocketAddr>, parts: &[IoSlice<'_>]) -> io::Result<()> {
    let to = to.map(SockaddrStorage::from);
    // One call for all parts: no copy to join them.
    sendmsg(socket.as_raw_fd(), parts, &[], MsgFlags::empty(), to.as_ref())?;
    Ok(())
}

/// As [`put`], from a connected socket, of one part: one thing less to tell the kernel.
///
/// # Errors
/// As [`put`].
pub fn put_whole(socket: &UdpSocket, datagram: &[u8]) -> io::Result<()> {
    socket.send(datagram).map(drop)
}

/// Takes one datagram out of the queue and returns its length and where it came from; blocks while there is none. What
/// does not fit into `buffer` is gone without a word.
///
/// # Errors
/// `ECONNREFUSED` as for [`put`]; `EINTR` after a signal; `EAGAIN` after a time limit (`set_read_timeout`).
pub fn take(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    socket.recv_from(buffer)
}

/// As [`take`], where it is known who has sent it: one thing less to ask the kernel for.
///
/// # Errors
/// As [`take`].
pub fn take_known(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<usize> {
    socket.recv(buffer)
}
