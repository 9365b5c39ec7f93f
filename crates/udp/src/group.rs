//! Multicast: one datagram for all who have joined a group. A group is an address, from 224.0.0.0 to 239.255.255.255,
//! and whoever joins it gets what is sent there, through the interface at which he joined.
//!
//! Manual pages: ip(7).

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::ReuseAddr;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket};

use crate::udp::make_room;

/// Joins a group at the interface that has this address. Port 0 takes a free one.
///
/// # Errors
/// `ENODEV` where no interface has the address; `EADDRINUSE` where somebody has the port and does not share it.
pub fn join(group: SocketAddrV4, interface: Ipv4Addr) -> io::Result<UdpSocket> {
    let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // Here SO_REUSEADDR is right: every member gets each datagram, and so nobody takes it from another.
    setsockopt(&fd, ReuseAddr, &true)?;
    // Bound to the group: what is sent to this port at any other address does not get in.
    bind(fd.as_raw_fd(), &SockaddrIn::from(group))?;
    let socket = UdpSocket::from(fd);
    socket.join_multicast_v4(group.ip(), &interface)?; // IP_ADD_MEMBERSHIP
    make_room(&socket)?;
    Ok(socket)
}

/// Makes a socket that sends to groups through the interface that has this address.
///
/// # Errors
/// `EADDRNOTAVAIL` where no interface has it.
pub fn sender(interface: Ipv4Addr) -> io::Result<UdpSocket> {
    // No route leads to a group. A bound address says through which interface to send, as IP_MULTICAST_IF would; it is
    // also where the members answer.
    let socket = UdpSocket::bind((interface, 0))?;
    socket.set_multicast_loop_v4(true)?; // IP_MULTICAST_LOOP: members on this machine get it as well
    socket.set_multicast_ttl_v4(1)?; // IP_MULTICAST_TTL: no router passes it on
    Ok(socket)
}
