//! How a Unix domain datagram socket keeps the contract: the kernel keeps the boundaries, and datagrams that no message
//! looks like are the signs, for nothing else would tell the end. A sender says hello and waits until the receiver has
//! answered. Then the receiver has connected its socket to the sender's address, and nobody else can mix in. The kernel
//! tells a sender that its receiver died, and not the other way round; the link does.

use std::io::{self, IoSlice};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use common::sign::{DLE, Heard};
use common::{
    Args, Batch, Carries, Chapter, Context, Delivery, Endpoint, Error, Extra, Link, Notices, Reach, Receiver, Result,
    Sender, Technique, WhenFull, sign,
};
use nix::errno::Errno;
use nix::sys::socket::{MultiHeaders, UnixAddr};

pub mod unix_dgram;

/// The last datagram: ASCII's end of text.
const END: u8 = 0x03;
/// A sender's first datagram, and the receiver's answer: ASCII's enquiry.
const HELLO: u8 = 0x05;

/// What a Unix domain datagram socket is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "unix-dgram",
    summary: "a Unix domain datagram socket: whole messages, in order and never lost, without a connection",
    chapter: Chapter::Socket,
    kernel_object: "a socket with a queue of whole datagrams, found by a path",
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

/// Waits for a receiver that takes from this sender alone.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`]; `EPERM` where the receiver serves another sender.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let path = path(args)?;
    let link = Link::attach(args)?;
    let socket = link.wait("connect", || unix_dgram::connect(&path)).map_err(explain)?;
    let sender = DatagramSender { socket, link };
    sender.say(HELLO)?;
    let mut answer = [0; 2];
    sender.link.wait("wait for the answer from", || unix_dgram::take(&sender.socket, &mut answer))?;
    args.spin_on(&sender.socket).doing("fcntl")?;
    Ok(sender)
}

struct DatagramSender {
    socket: UnixDatagram,
    link: Link,
}

impl DatagramSender {
    fn say(&self, sign: u8) -> Result<()> {
        self.link.wait("send", || unix_dgram::put(&self.socket, &[DLE, sign])).map_err(explain)
    }
}

impl Sender for DatagramSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > TECHNIQUE.max_message {
            return Err(Error::too_long(message.len(), TECHNIQUE.max_message));
        }
        let put = match sign::front(message) {
            [] => self.link.wait("send", || unix_dgram::put(&self.socket, message)),
            front => {
                let parts = [IoSlice::new(front), IoSlice::new(message)];
                self.link.wait("send", || unix_dgram::put_parts(&self.socket, &parts))
            }
        };
        put.map_err(explain)
    }

    fn finish(self) -> Result<()> {
        self.say(END)
    }
}

/// Makes the socket; the first `recv` waits for the sender.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let path = path(args)?;
    let remove = path.clone();
    let create = || unix_dgram::create(&path).map_err(not_a_receiver);
    let (link, socket) = Link::claim(args, create, move || unix_dgram::remove(&remove))?;
    args.spin_on(&socket).doing("fcntl")?;
    let batch = Batch::new(1 + TECHNIQUE.max_message);
    let headers = MultiHeaders::preallocate(Batch::MOST, None);
    Ok(DatagramReceiver { socket, sender: Sought::Anybody, batch, headers, finished: false, link })
}

/// Whose datagrams are taken.
enum Sought {
    /// The sender is who says hello first and can be answered.
    Anybody,
    /// Strangers' may still be in the queue, before the first of the sender's.
    Sender(UnixAddr),
    /// All that was sent before the socket was connected has been taken.
    Known,
}

struct DatagramReceiver {
    socket: UnixDatagram,
    sender: Sought,
    batch: Batch,
    headers: MultiHeaders<()>,
    finished: bool,
    link: Link,
}

impl Receiver for DatagramReceiver {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let (socket, sender, batch) = (&self.socket, &mut self.sender, &mut self.batch);
        if batch.is_empty() {
            self.link.wait("recv", || match sender {
                Sought::Known => batch.fill(
                    |buffer| unix_dgram::take_known(socket, buffer),
                    |buffers, lengths| unix_dgram::take_several(socket, &mut self.headers, buffers, lengths),
                ),
                _ => batch.fill_one(|buffer| take_own(socket, sender, buffer)),
            })?;
        }
        let (buffer, len) = batch.hand_out();
        match sign::received(buffer, len, TECHNIQUE.max_message)? {
            Heard::Message(message) => Ok(Some(message)),
            Heard::Sign(END) => {
                self.finished = true;
                Ok(None)
            }
            Heard::Sign(_) | Heard::Nonsense => {
                let unknown = Err(io::Error::other("a datagram of no known kind"));
                unknown.doing(format!("recv {}", self.link.endpoint()))
            }
        }
    }
}

/// Takes a datagram of the sender's, where the kernel does not yet see to it that there are no others.
fn take_own(socket: &UnixDatagram, sender: &mut Sought, buffer: &mut [u8]) -> io::Result<usize> {
    let (len, from) = unix_dgram::take(socket, buffer)?;
    match (&sender, from) {
        (Sought::Sender(address), Some(from)) if from == *address => {
            *sender = Sought::Known;
            return Ok(len);
        }
        (Sought::Anybody, Some(from)) if buffer.get(..len) == Some(&[DLE, HELLO]) => {
            let answer = || unix_dgram::put(socket, &[DLE, HELLO]);
            if unix_dgram::take_only_from(socket, &from).and_then(|()| answer()).is_ok() {
                *sender = Sought::Sender(from);
            }
        }
        // A stranger's.
        _ => {}
    }
    // Nothing for the caller, who asks again, unless it is time to stop.
    Err(io::ErrorKind::Interrupted.into())
}

fn explain(error: Error) -> Error {
    let Error::System { source, .. } = &error else { return error };
    let hint = match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => "the receiver serves another sender",
        Some(Errno::EEXIST) => "it is no socket of this user's",
        _ => return error,
    };
    error.with_hint(hint)
}

/// bind(2) says the same of a living receiver and of any other file. The lock is ours, so it is another file.
fn not_a_receiver(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::AddrInUse { Errno::EEXIST.into() } else { error }
}

/// The path, if a socket can have it.
fn path(args: &Args) -> Result<PathBuf> {
    let path = PathBuf::from(args.endpoint()?);
    let call = format!("bind {}", path.display());
    let checked = unix_dgram::check(&path).doing(call);
    checked.map_err(|error| error.with_hint("a socket's path has at most 107 bytes; choose a shorter --endpoint"))?;
    Ok(path)
}
