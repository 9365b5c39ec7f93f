//! How sealed memfds keep the contract: each message is one record of a control socket, which contains it or
//! carries the descriptor of the memfd that does. The socket's end of file and `EPIPE` tell of a dead peer.

use std::os::fd::OwnedFd;

use common::{
    Args, Carries, Chapter, Delivery, Door, Endpoint, Error, Extra, Link, Notices, Reach, Receiver, Result, Role,
    Sender, Technique, WhenFull,
};

pub mod channel;
pub mod memfd;
pub mod scm_rights;

use channel::{MAX_INLINE, MAX_MESSAGE, Reader, Writer};

/// Bytes from which on a message travels as a memfd where nobody says otherwise; `README.md` tells why.
const LARGE: usize = 64 << 10;

/// What sealed memfds are and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "memfd",
    summary: "sealed memory, passed by descriptor: the receiver reads the message where it lies",
    chapter: Chapter::SharedMemory,
    kernel_object: "pages of memory without a name, and the sockets that pass them on",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_MESSAGE,
    payload_limit: None,
    endpoint: Endpoint::Path,
    options: &[Extra {
        name: "large",
        value: Some("BYTES"),
        role: Role::Sender,
        help: "Messages of so many bytes or more travel as memfds, 1 to 131072 [default: 65536]",
    }],
};

/// Waits for a receiver and connects to its socket.
///
/// # Errors
/// See [`Link::connect`]; [`Error::Usage`] for a `--large` that is out of range.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let large = large(args)?;
    let (link, socket) = Link::connect(args)?;
    Ok(MemfdSender { writer: Writer::new(socket, large), link })
}

/// Listens; the first `recv` waits for the sender to connect.
///
/// # Errors
/// See [`Link::listen`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let (link, door) = Link::listen(args)?;
    Ok(MemfdReceiver { reader: None, door, finished: false, link })
}

struct MemfdSender {
    writer: Writer,
    link: Link,
}

impl Sender for MemfdSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > MAX_MESSAGE {
            return Err(Error::too_long(message.len(), MAX_MESSAGE));
        }
        self.link.wait("sendmsg", || self.writer.put(message))
    }

    fn finish(mut self) -> Result<()> {
        self.link.wait("sendmsg", || self.writer.put_end())
    }
}

struct MemfdReceiver {
    reader: Option<Reader>,
    door: Door,
    finished: bool,
    link: Link,
}

impl Receiver for MemfdReceiver {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let socket: OwnedFd = self.link.wait("accept", || self.door.accept())?;
                none.insert(Reader::new(socket))
            }
        };
        self.finished = !self.link.wait("recvmsg", || reader.take())?;
        Ok((!self.finished).then(|| reader.message()))
    }
}

fn large(args: &Args) -> Result<usize> {
    let Some(text) = args.extra("large") else { return Ok(LARGE) };
    let bytes = text.parse().ok().filter(|bytes| (1..=MAX_INLINE).contains(bytes));
    bytes.ok_or_else(|| Error::Usage(format!("--large {text}: a number from 1 to {MAX_INLINE} is needed")))
}
