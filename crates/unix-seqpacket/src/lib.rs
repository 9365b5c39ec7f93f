//! How a Unix domain seqpacket socket keeps the contract: the kernel keeps the boundaries. The end is a record of its
//! own kind, for a connection that ends and an empty record both read as 0, and a sender that dies ends its connection,
//! too: two bytes that no message looks like. Each end asks the kernel whose process the other one is.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use common::sign::{DLE, Heard};
use common::{
    Args, Batch, Carries, Chapter, Context, Delivery, Endpoint, Error, Extra, Link, Notices, Reach, Receiver, Result,
    Sender, Technique, WhenFull, sign,
};
use nix::errno::Errno;
use nix::sys::socket::MultiHeaders;

pub mod unix_seqpacket;

/// The sign that is the last record: ASCII's end of text.
const END: u8 = 0x03;

/// What a Unix domain seqpacket socket is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "unix-seqpacket",
    summary: "a Unix domain seqpacket socket: a connection that keeps the boundaries of messages",
    chapter: Chapter::Socket,
    kernel_object: "a pair of connected sockets and whole records, found by a path",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    // Well below 212,960, where the kernel's default ends: more room need not be granted.
    max_message: 128 << 10,
    payload_limit: None,
    endpoint: Endpoint::Path,
    options: &Extra::SPIN,
};

/// Waits for a receiver and connects to its socket.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`]; `EPERM` where another user listens.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let path = path(args)?;
    let link = Link::attach(args)?;
    let socket = link.wait("connect", || unix_seqpacket::connect(&path))?;
    let call = || format!("connect {}", path.display());
    if !unix_seqpacket::is_own(&socket).doing(call())? {
        let refused = Err(Errno::EPERM).doing(call());
        return refused.map_err(|error| error.with_hint("another user's process listens there"));
    }
    args.spin_on(&socket).doing("fcntl")?;
    Ok(RecordSender { socket, link })
}

struct RecordSender {
    socket: OwnedFd,
    link: Link,
}

impl Sender for RecordSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > TECHNIQUE.max_message {
            return Err(Error::too_long(message.len(), TECHNIQUE.max_message));
        }
        match sign::front(message) {
            [] => self.link.wait("send", || unix_seqpacket::put(&self.socket, message)),
            front => {
                let parts = [IoSlice::new(front), IoSlice::new(message)];
                self.link.wait("send", || unix_seqpacket::put_parts(&self.socket, &parts))
            }
        }
    }

    fn finish(self) -> Result<()> {
        self.link.wait("send", || unix_seqpacket::put(&self.socket, &[DLE, END]))
    }
}

/// Listens; the first `recv` waits for the sender to connect.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let path = path(args)?;
    let remove = path.clone();
    let create = || unix_seqpacket::create(&path).map_err(not_a_receiver);
    let (link, listener) = Link::claim(args, create, move || unix_seqpacket::remove(&remove))?;
    let batch = Batch::new(1 + TECHNIQUE.max_message);
    let headers = MultiHeaders::preallocate(Batch::MOST, None);
    Ok(RecordReceiver { socket: listener, listening: true, batch, headers, finished: false, args: args.clone(), link })
}

struct RecordReceiver {
    /// First the listener, then the connection in its place: whoever connects after that is refused at once.
    socket: OwnedFd,
    listening: bool,
    batch: Batch,
    headers: MultiHeaders<()>,
    finished: bool,
    args: Args,
    link: Link,
}

impl Receiver for RecordReceiver {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        if self.listening {
            self.socket = self.link.wait("accept", || accept_own(&self.socket))?;
            self.args.spin_on(&self.socket).doing("fcntl")?;
            self.listening = false;
        }
        if self.batch.is_empty() {
            self.link.wait("recv", || {
                self.batch.fill(
                    |buffer| unix_seqpacket::take(&self.socket, buffer),
                    |buffers, lengths| unix_seqpacket::take_several(&self.socket, &mut self.headers, buffers, lengths),
                )
            })?;
        }
        let (buffer, len) = self.batch.hand_out();
        // No record of ours is empty, so the sender has closed the connection or died.
        if len == 0 {
            return Err(self.link.gone("recv", None));
        }
        match sign::received(buffer, len, TECHNIQUE.max_message)? {
            Heard::Message(message) => Ok(Some(message)),
            Heard::Sign(END) => {
                self.finished = true;
                Ok(None)
            }
            Heard::Sign(_) | Heard::Nonsense => {
                let unknown = Err(io::Error::other("a record of no known kind"));
                unknown.doing(format!("recv {}", self.link.endpoint()))
            }
        }
    }
}

/// Waits for a sender of this user's.
fn accept_own(listener: &OwnedFd) -> io::Result<OwnedFd> {
    loop {
        let socket = unix_seqpacket::accept(listener)?;
        if unix_seqpacket::is_own(&socket)? {
            return Ok(socket);
        }
    }
}

/// bind(2) says the same of a living receiver and of any other file. The lock is ours, so it is another file.
fn not_a_receiver(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::AddrInUse { Errno::EEXIST.into() } else { error }
}

/// The path, if a socket can have it.
fn path(args: &Args) -> Result<PathBuf> {
    let path = PathBuf::from(args.endpoint()?);
    let call = format!("bind {}", path.display());
    let checked = unix_seqpacket::check(&path).doing(call);
    checked.map_err(|error| error.with_hint("a socket's path has at most 107 bytes; choose a shorter --endpoint"))?;
    Ok(path)
}
