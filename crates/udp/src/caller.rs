//! The sender's part in a conversation: it makes sure of being heard, numbers its messages, and asks in the end how many
//! have arrived. All three take datagrams that may be lost as well, so what wants an answer is said again until one comes.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

use crate::numbers::{HEADER, Kind, header, parse};
use crate::peer_user::{Peer, Protocol, listener_is_foreign, udp_peer};
use crate::udp;

/// To copy a message of so many bytes takes less time than to tell the kernel of two parts and an address.
const SHORT: usize = 4096;

/// A sender.
pub struct Caller {
    socket: UdpSocket,
    /// Where to send to, if the socket is not connected.
    group: Option<SocketAddr>,
    first: u64,
    next: u64,
    /// A header and a short message, side by side.
    joined: Vec<u8>,
    /// Who has said welcome, and then how many messages have arrived there. In a group there may be several.
    receivers: Vec<(SocketAddr, Option<u64>)>,
}

impl Caller {
    /// A sender over this socket, which is connected to the receiver, or is to send to a `group`. Its first message will
    /// have the number `first`. A random one keeps others from guessing it, and so from going on in our place.
    pub fn new(socket: UdpSocket, group: Option<SocketAddr>, first: u64) -> Caller {
        Caller { socket, group, first, next: first, joined: Vec::new(), receivers: Vec::new() }
    }

    /// Never sleeps: [`message`](Self::message) fails with `EAGAIN` instead, and a wait for an answer looks again and again.
    ///
    /// # Errors
    /// None for an open socket.
    pub fn spin(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Says hello, and waits so long for a welcome; in a group, for those of all who are there.
    ///
    /// # Errors
    /// `ECONNREFUSED`, after the wait, where nobody has the port; `EAGAIN` where no answer came; `EINTR` after a signal;
    /// that the port is another user's.
    pub fn hello(&mut self, wait: Duration) -> io::Result<()> {
        let until = Instant::now() + wait;
        self.must_not_be_foreign()?;
        let welcomed = self.put(Kind::Hello, self.first, &[]).and_then(|()| self.welcomes(until));
        if is_refused(&welcomed) {
            // The refusal came at once. Somebody may bind the port later, and nothing but to ask again tells of it.
            let left = until.saturating_duration_since(Instant::now());
            poll(&mut [], PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX))?;
        }
        welcomed
    }

    /// A port is free as soon as its process is gone, and then anybody's.
    fn must_not_be_foreign(&self) -> io::Result<()> {
        if self.group.is_none() && listener_is_foreign(Protocol::Udp, self.socket.peer_addr()?)? {
            return Err(io::Error::other("another user's process has this port"));
        }
        Ok(())
    }

    fn welcomes(&mut self, until: Instant) -> io::Result<()> {
        while self.receivers.is_empty() || self.group.is_some() {
            match self.answer(until) {
                Ok((kind, number, from)) => self.note(kind, number, from)?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.receivers.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends the next message.
    ///
    /// # Errors
    /// As [`udp::put`]; then it has no number, and may be sent again.
    pub fn message(&mut self, message: &[u8]) -> io::Result<()> {
        if self.group.is_none() && message.len() <= SHORT {
            self.joined.clear();
            self.joined.extend_from_slice(&header(Kind::Message, self.next));
            self.joined.extend_from_slice(message);
            udp::put_whole(&self.socket, &self.joined)?;
        } else {
            self.put(Kind::Message, self.next, message)?;
        }
        self.next = self.next.wrapping_add(1);
        Ok(())
    }

    /// How many messages have been sent.
    pub fn sent(&self) -> u64 {
        self.next.wrapping_sub(self.first)
    }

    /// Says the end, and waits so long for the report of each receiver. Returns how many messages have arrived, at the
    /// receiver that has the fewest.
    ///
    /// # Errors
    /// `EAGAIN` where a report did not come in time; `ECONNREFUSED` where a receiver is gone and has not left one; `EINTR`
    /// after a signal; that the port is another user's by now.
    pub fn end(&mut self, wait: Duration) -> io::Result<u64> {
        let until = Instant::now() + wait;
        self.must_not_be_foreign()?;
        // Asked before the answers are read: who has answered may be gone.
        let mut gone = self.a_member_is_gone()?;
        let said = self.put(Kind::End, self.next, &[]);
        gone |= is_refused(&said);
        if !gone {
            said?;
        }
        loop {
            let reports: Option<Vec<u64>> = self.receivers.iter().map(|(_, arrived)| *arrived).collect();
            if let Some(arrived) = reports.and_then(|reports| reports.into_iter().min()) {
                return Ok(arrived);
            }
            let answer = self.answer(until);
            match answer {
                Ok((kind, number, from)) => self.note(kind, number, from)?,
                // A refusal overtakes the answers that wait in the queue, so they come first.
                Err(_) if is_refused(&answer) => gone = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && gone => {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// No refusal comes from a group. But the kernel knows which sockets of its own are open.
    fn a_member_is_gone(&self) -> io::Result<bool> {
        let here = self.socket.local_addr()?;
        for (member, _) in self.receivers.iter().filter(|(_, arrived)| self.group.is_some() && arrived.is_none()) {
            if udp_peer(*member, here)? == Peer::Gone {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn note(&mut self, kind: Kind, number: u64, from: SocketAddr) -> io::Result<()> {
        let sent = self.sent();
        let known = self.receivers.iter_mut().find(|(address, _)| *address == from);
        match (kind, known) {
            (Kind::Welcome, None) if number == self.first => {
                if matches!(udp_peer(from, self.socket.local_addr()?)?, Peer::Own | Peer::Remote) {
                    self.receivers.push((from, None));
                }
            }
            (Kind::Report, Some((_, arrived)))
                if number <= sent && udp_peer(from, self.socket.local_addr()?)? != Peer::Foreign =>
            {
                *arrived = Some(number);
            }
            _ => {}
        }
        Ok(())
    }

    fn put(&self, kind: Kind, number: u64, message: &[u8]) -> io::Result<()> {
        let header = header(kind, number);
        udp::put(&self.socket, self.group, &[IoSlice::new(&header), IoSlice::new(message)])
    }

    /// The next datagram that comes in time.
    fn answer(&self, until: Instant) -> io::Result<(Kind, u64, SocketAddr)> {
        let mut buffer = [0; HEADER + 1];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.socket.set_read_timeout(Some(left))?;
            let (len, from) = match udp::take(&self.socket, &mut buffer) {
                // The time is up; or this socket does not wait.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                other => other?,
            };
            if let Some((kind, number)) = parse(&buffer[..len]) {
                return Ok((kind, number, from));
            }
        }
    }
}

fn is_refused<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}
