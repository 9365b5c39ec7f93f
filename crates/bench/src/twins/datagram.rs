//! send(2) and recv(2) on a socket that keeps the boundaries of messages.

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use common::{Context, IoBuffer, Receiver, Result, Sender};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt};
use nix::sys::time::TimeVal;

use crate::results::Wait;
use crate::source::Setup;

/// The sending end.
pub struct Sending {
    fd: OwnedFd,
    flags: MsgFlags,
}

/// The receiving end.
pub struct Receiving {
    fd: OwnedFd,
    flags: MsgFlags,
    /// How often to look for a message without sleeping, where it may have been lost.
    tries: u32,
    buffer: IoBuffer,
}

/// How long a receiver of UDP waits for a message that may have been the last and may have been lost. It is behind
/// the last message that came, so it is not part of the time.
const SILENCE: Duration = Duration::from_millis(50);
/// As long, for one that does not sleep: each call takes 0.1 µs at least.
const TRIES: u32 = 500_000;

/// Connected datagram sockets of the Unix domain.
pub fn unix_dgram(setup: &Setup<'_>) -> Result<(Sending, Receiving)> {
    let (to, from) = UnixDatagram::pair().doing("socketpair")?;
    Ok(ends(setup, to.into(), from.into()))
}

/// Connected seqpacket sockets.
pub fn unix_seqpacket(setup: &Setup<'_>) -> Result<(Sending, Receiving)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (to, from) = pair.doing("socketpair")?;
    Ok(ends(setup, to, from))
}

/// Sockets on the loopback device. What does not fit into the receiver's buffer is lost.
pub fn udp(setup: &Setup<'_>) -> Result<(Sending, Receiving)> {
    let make = || -> io::Result<_> {
        let from = UdpSocket::bind("127.0.0.1:0")?;
        let to = UdpSocket::bind("127.0.0.1:0")?;
        to.connect(from.local_addr()?)?;
        from.connect(to.local_addr()?)?;
        setsockopt(&from, sockopt::ReceiveTimeout, &TimeVal::new(0, SILENCE.as_micros() as i64))?;
        Ok((to, from))
    };
    let (to, from) = make().doing("socket")?;
    let (sending, receiving) = ends(setup, to.into(), from.into());
    Ok((sending, Receiving { tries: TRIES, ..receiving }))
}

fn ends(setup: &Setup<'_>, to: OwnedFd, from: OwnedFd) -> (Sending, Receiving) {
    let flags = match setup.wait {
        Wait::Block => MsgFlags::empty(),
        Wait::Spin => MsgFlags::MSG_DONTWAIT,
    };
    (Sending { fd: to, flags }, Receiving { fd: from, flags, tries: u32::MAX, buffer: IoBuffer::new(setup.size) })
}

impl Sender for Sending {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        loop {
            match send(self.fd.as_raw_fd(), message, self.flags) {
                Err(nix::Error::EAGAIN) => std::hint::spin_loop(),
                other => return other.map(drop).doing("send"),
            }
        }
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Receiving {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let mut left = self.tries;
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, self.flags) {
                Err(nix::Error::EAGAIN) if self.flags.is_empty() || left == 0 => return Ok(None),
                Err(nix::Error::EAGAIN) => {
                    std::hint::spin_loop();
                    left -= 1;
                }
                other => return other.doing("recv").map(|len| Some(&self.buffer[..len])),
            }
        }
    }
}
