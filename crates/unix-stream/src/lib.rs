//! How a Unix domain stream socket keeps the contract: messages are framed, because a stream keeps no
//! boundaries; its end of file tells that the sender died, and `EPIPE` that the receiver did. Each end asks the
//! kernel whose process the other one is.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, Extra, FrameReader, FrameWriter, Link, MAX_FRAME, Notices,
    Reach, Receiver, Result, Sender, Technique, WhenFull,
};
use nix::errno::Errno;

pub mod unix_stream;

/// What a Unix domain stream socket is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "unix-stream",
    summary: "a Unix domain stream socket: a connection between two processes that know one path",
    chapter: Chapter::Socket,
    kernel_object: "a pair of connected sockets, found by a path",
    carries: Carries::Bytes,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_FRAME,
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
    let stream = link.wait("connect", || unix_stream::connect(&path))?;
    let call = || format!("connect {}", path.display());
    if !unix_stream::is_own(&stream).doing(call())? {
        let refused = Err(Errno::EPERM).doing(call());
        return refused.map_err(|error| error.with_hint("another user's process listens there"));
    }
    args.spin_on(&stream).doing("fcntl")?;
    Ok(FrameWriter::new(link, stream))
}

/// Listens; the first `recv` waits for the sender to connect.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let path = path(args)?;
    let remove = path.clone();
    let create = || unix_stream::create(&path).map_err(not_a_receiver);
    let (link, listener) = Link::claim(args, create, move || unix_stream::remove(&remove))?;
    let (args, mut listener) = (args.clone(), Some(listener));
    Ok(FrameReader::new(link, move || {
        let stream = accept_own(&mut listener)?;
        args.spin_on(&stream)?;
        Ok(stream)
    }))
}

/// One connection is served. Then nobody listens any more, so that whoever connects next is refused at once.
fn accept_own(listener: &mut Option<UnixListener>) -> io::Result<UnixStream> {
    let Some(open) = listener else { return Err(io::ErrorKind::NotConnected.into()) };
    loop {
        let stream = unix_stream::accept(open)?;
        if unix_stream::is_own(&stream)? {
            *listener = None;
            return Ok(stream);
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
    let checked = unix_stream::check(&path).doing(call);
    checked.map_err(|error| error.with_hint("a socket's path has at most 107 bytes; choose a shorter --endpoint"))?;
    Ok(path)
}
