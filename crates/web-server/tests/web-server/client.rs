//! A client that sends any bytes and reads replies, with a deadline on everything.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::sockopt::RcvBuf;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, setsockopt, socket};

use crate::Result;

/// Longer than any reply takes on a busy machine.
pub const LONG: Duration = Duration::from_secs(20);

/// A reply, taken apart.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    /// The head, as it was sent.
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header; `None` where there is none.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LONG))?;
        stream.set_write_timeout(Some(LONG))?;
        Ok(Client { stream, buffer: Vec::new() })
    }

    /// Connects, with so little room for what comes that the server has to wait for its client to read.
    pub fn connect_slow(address: SocketAddr) -> Result<Client> {
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&socket, RcvBuf, &(16 << 10))?;
        connect(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(LONG))?;
        Ok(Client { stream, buffer: Vec::new() })
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result {
        Ok(self.stream.write_all(bytes.as_ref())?)
    }

    /// Asks for a target and reads the reply; the connection stays open.
    pub fn get(&mut self, target: &str) -> Result<Reply> {
        self.ask("GET", target, "")
    }

    /// Sends a request with more header lines, each with its line end, and reads the reply.
    pub fn ask(&mut self, method: &str, target: &str, headers: &str) -> Result<Reply> {
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"))?;
        self.reply(method == "HEAD")
    }

    /// Reads one reply. Without a body for HEAD, and for 304.
    pub fn reply(&mut self, head_only: bool) -> Result<Reply> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.read()? == 0 {
                return Err(format!("the connection ended after {:?}", String::from_utf8_lossy(&self.buffer)).into());
            }
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect())?;
        let status = head.split(' ').nth(1).ok_or("no status")?.parse()?;
        let mut reply = Reply { status, head, body: Vec::new() };
        let len = match reply.header("Content-Length") {
            Some(len) if !head_only => len.parse()?,
            _ => 0,
        };
        while self.buffer.len() < len {
            if self.read()? == 0 {
                return Err(format!("{} of {len} bytes came", self.buffer.len()).into());
            }
        }
        reply.body = self.buffer.drain(..len).collect();
        Ok(reply)
    }

    /// Reads to the end of the connection.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        while self.read()? > 0 {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Has the other end closed the connection, without a word?
    pub fn is_closed(&mut self) -> bool {
        matches!(self.read(), Ok(0))
    }

    fn read(&mut self) -> Result<usize> {
        let mut chunk = [0; 64 << 10];
        let count = match self.stream.read(&mut chunk) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err("nothing came for a long time".into()),
            other => other?,
        };
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr, target: &str) -> Result<Reply> {
    Client::connect(address)?.ask("GET", target, "Connection: close\r\n")
}
