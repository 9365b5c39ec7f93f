//! The receiver's part in a conversation: it welcomes the first sender, hears that one alone, sorts out what comes twice
//! or too late, and reports in the end how many messages have arrived.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use crate::numbers::{HEADER, Kind, Tally, header, parse};
use crate::peer_user::{Peer, udp_peer};
use crate::udp;

/// A receiver.
pub struct Listener {
    socket: UdpSocket,
    /// Where answers are sent from, in a group: its members share an address and a port.
    member: Option<UdpSocket>,
    sender: Option<SocketAddr>,
    /// All that was sent before the socket was connected has been taken.
    alone: bool,
    tally: Tally,
    buffer: Vec<u8>,
}

/// What the sender has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message of so many bytes, which [`Listener::message`] lends.
    Message(usize),
    /// That there are no more than the so many messages that it has sent.
    End(u64),
}

impl Listener {
    /// A receiver over this socket, which is bound and not connected.
    pub fn new(socket: UdpSocket) -> Listener {
        // One byte more, so that a longer one, which IPv6 could carry, is not taken for one of this length.
        let buffer = vec![0; udp::LONGEST + 1];
        Listener { socket, member: None, sender: None, alone: false, tally: Tally::new(0), buffer }
    }

    /// A receiver over this socket, which has joined a group at the interface with this address.
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` where there is no such interface.
    pub fn member(socket: UdpSocket, interface: Ipv4Addr) -> io::Result<Listener> {
        let member = UdpSocket::bind((interface, 0))?;
        Ok(Listener { member: Some(member), ..Listener::new(socket) })
    }

    /// Where to send to.
    ///
    /// # Errors
    /// None for a bound socket.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Never sleeps: [`hear`](Self::hear) fails with `EAGAIN` instead.
    ///
    /// # Errors
    /// None for an open socket.
    pub fn spin(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Waits for one datagram.
    ///
    /// # Errors
    /// `EAGAIN` after [`spin`](Self::spin), where there is none; `EINTR` after a signal, and after a datagram that is nothing for the caller: it may wait again.
    pub fn hear(&mut self) -> io::Result<Heard> {
        let (len, from) = match self.sender {
            Some(sender) if self.alone => (udp::take_known(&self.socket, &mut self.buffer)?, sender),
            _ => udp::take(&self.socket, &mut self.buffer)?,
        };
        let datagram = if len > udp::LONGEST { None } else { parse(&self.buffer[..len]) };
        match (datagram, self.sender) {
            (Some((Kind::Hello, first)), None) if self.is_possible(from)? => self.welcome(first, from),
            // What others had sent before the socket was connected is still in the queue.
            (Some((kind, number)), Some(sender)) if from == sender => match kind {
                Kind::Message if self.tally.take(number) => {
                    // It was sent after the welcome, which was sent after the connect.
                    self.alone = true;
                    return Ok(Heard::Message(len - HEADER));
                }
                Kind::End => {
                    if let Some(sent) = self.tally.sent(number) {
                        self.answer(Kind::Report, self.tally.arrived());
                        return Ok(Heard::End(sent));
                    }
                }
                // It says hello again, so the welcome was lost. Nobody else may learn the number.
                Kind::Hello if number == self.tally.first() => self.answer(Kind::Welcome, number),
                _ => {}
            },
            _ => {}
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// The message that has just been heard.
    pub fn message(&self, len: usize) -> &[u8] {
        &self.buffer[HEADER..HEADER + len]
    }

    /// Which messages have come.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    fn is_possible(&self, from: SocketAddr) -> io::Result<bool> {
        // Anybody can send anything. An address to which no way leads is no reason to fail.
        let Ok(here) = udp::address_towards(self.member.as_ref().unwrap_or(&self.socket), from) else {
            return Ok(false);
        };
        Ok(matches!(udp_peer(from, here)?, Peer::Own | Peer::Remote))
    }

    fn welcome(&mut self, first: u64, sender: SocketAddr) {
        // From now on the kernel drops what comes from elsewhere, and tells its sender so.
        if self.member.iter().chain([&self.socket]).all(|socket| socket.connect(sender).is_ok()) {
            self.sender = Some(sender);
            self.tally = Tally::new(first);
            self.answer(Kind::Welcome, first);
        }
    }

    fn answer(&self, kind: Kind, number: u64) {
        let socket = self.member.as_ref().unwrap_or(&self.socket);
        // If it is lost, or cannot be sent, the sender asks again or is gone.
        let _ = udp::put(socket, None, &[IoSlice::new(&header(kind, number))]);
    }
}
