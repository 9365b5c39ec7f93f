//! How TCP keeps the contract: messages are framed, because a stream keeps no boundaries. The receiver answers twice
//! with one byte, when it has accepted the sender and when it has read the end. TCP itself tells a sender neither:
//! a connection stands before anybody has accepted it, and what was written may never arrive.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, Error, Extra, FrameReader, FrameWriter, Link, MAX_FRAME,
    Notices, Reach, Receiver, Result, Sender, Technique, WhenFull,
};
use nix::errno::Errno;
use nix::poll::poll;
use peer_user::{Peer, Protocol};

pub mod peer_user;
pub mod tcp;

/// What TCP is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "tcp",
    summary: "a TCP connection: a byte stream between two processes, on one machine or two",
    chapter: Chapter::Socket,
    kernel_object: "a pair of connected sockets, found by an address and a port",
    carries: Carries::Bytes,
    reach: Reach::Network,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_FRAME,
    payload_limit: None,
    endpoint: Endpoint::Address,
    options: &Extra::SPIN,
};

/// The receiver's one word, ACK in ASCII: "it is your turn", and at the end "I have read it all".
const ACK: u8 = 0x06;

/// Connects to the receiver, and tries again for as long as there is none.
///
/// # Errors
/// [`Error::TimedOut`] where none came in time; [`Error::System`] where no way leads there, or to another user's
/// process.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let link = Link::bare(args)?;
    let call = format!("connect {}", link.endpoint());
    let mut attempts = Attempts { addresses: args.addresses()?, ..Attempts::default() };
    let first_failure = || args.narrate(&format!("waiting for a receiver at {}", link.endpoint()));
    let stream = link.wait("no receiver came to", || attempts.run(first_failure))?.doing(call)?;
    args.spin_on(&stream).doing("fcntl")?;
    Ok(TcpSender(FrameWriter::new(link, stream)))
}

#[derive(Default)]
struct Attempts {
    /// What the endpoint names: `localhost` may be both 127.0.0.1 and ::1.
    addresses: Vec<SocketAddr>,
    turn: usize,
    /// What an interruption found us waiting for.
    under_way: Option<TcpStream>,
    /// Somebody may come to the address of a refusal, nobody to that of a failure.
    refused: bool,
    failure: Option<io::Error>,
    pause: u16,
}

impl Attempts {
    /// Connects to each address in turn until a receiver answers, or until every attempt fails for good.
    fn run(&mut self, first_refusal: impl Fn()) -> io::Result<io::Result<TcpStream>> {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, Interrupted, NotConnected};
        loop {
            let started = match self.under_way.take() {
                Some(stream) => Ok(stream),
                None => tcp::start_connect(self.addresses[self.turn]),
            };
            match started.and_then(|stream| self.welcomed(stream)) {
                Ok(stream) => return Ok(Ok(stream)),
                Err(error) => match error.kind() {
                    Interrupted => return Err(error),
                    ConnectionRefused | ConnectionReset | NotConnected => self.refused = true,
                    _ => self.failure = Some(error),
                },
            }
            self.turn = (self.turn + 1) % self.addresses.len();
            if self.turn == 0 {
                if let (false, Some(error)) = (self.refused, self.failure.take()) {
                    return Ok(Err(error));
                }
                if self.pause == 0 {
                    first_refusal();
                }
                self.refused = false;
                // The one place that sleeps: nothing on a network tells that somebody listens now. 5 ms is not
                // felt by a person, 200 ms costs no CPU. poll(2) of nothing, because std's sleep hides EINTR.
                self.pause = (self.pause * 2).clamp(5, 200);
                poll(&mut [], self.pause)?;
            }
        }
    }

    /// Waits for the connection and for the receiver's word that it has accepted it.
    fn welcomed(&mut self, stream: TcpStream) -> io::Result<TcpStream> {
        let talk = || {
            tcp::finish_connect(&stream)?;
            // Who listens for another user's words need not answer, so this cannot wait for the answer.
            if !peer_user::listener_is_foreign(Protocol::Tcp, stream.peer_addr()?)? {
                // No answer: it was in the queue of a receiver that serves another sender or has ended.
                let who = if answer(&stream)? { peer_user::peer(&stream)? } else { Peer::Gone };
                match who {
                    Peer::Own | Peer::Remote => return Ok(()),
                    // Nothing has been sent yet, so nothing is lost with it. Another one may come.
                    Peer::Gone => return Err(Errno::ECONNRESET.into()),
                    Peer::Foreign => {}
                }
            }
            Err(io::Error::other("another user's process listens there"))
        };
        let result = talk();
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            self.under_way = Some(stream);
            return Err(Errno::EINTR.into());
        }
        result.map(|()| stream)
    }
}

/// Reads the receiver's word; `false` if it has ended instead.
fn answer(mut stream: &TcpStream) -> io::Result<bool> {
    let mut byte = [0];
    match (stream.read(&mut byte)?, byte) {
        (0, _) => Ok(false),
        (_, [ACK]) => Ok(true),
        _ => Err(io::Error::other("who listens there is no tcp-receiver")),
    }
}

struct TcpSender(FrameWriter<TcpStream>);

impl Sender for TcpSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.0.send(message)
    }

    fn finish(self) -> Result<()> {
        let (link, stream) = self.0.end()?;
        if link.wait("wait for the answer from", || answer(&stream))? { Ok(()) } else { Err(link.gone("read", None)) }
    }
}

/// Listens; the first `recv` waits for the sender to connect.
///
/// # Errors
/// [`Error::System`] where the address cannot be listened at.
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let listener = tcp::listen(&args.addresses()?).doing(format!("listen {}", args.endpoint()?)).map_err(explain)?;
    // Port 0 has become another one.
    let mut args = args.clone();
    args.endpoint = Some(listener.local_addr().doing("getsockname")?.to_string());
    let link = Link::bare(&args)?;
    args.ready(link.endpoint());
    let mut listener = Some(listener);
    let open = move || {
        let connection = accept_own(&mut listener)?;
        args.spin_on(&connection.stream)?;
        Ok(connection)
    };
    Ok(FrameReader::new(link, open).answering(Connection::answer))
}

/// Waits for a sender of this user's. After that nobody else is let in: they would talk to nobody.
fn accept_own(listener: &mut Option<TcpListener>) -> io::Result<Connection> {
    let stream = loop {
        let listener = listener.as_ref().ok_or(Errno::EINVAL)?;
        let stream = tcp::accept(listener)?;
        if matches!(peer_user::peer(&stream)?, Peer::Own | Peer::Remote) {
            tcp::stop_listening(listener)?;
            break stream;
        }
    };
    let mut connection = Connection { stream, _port: listener.take() };
    connection.answer();
    Ok(connection)
}

/// One connection is served, and the port is kept until its end.
struct Connection {
    stream: TcpStream,
    _port: Option<TcpListener>,
}

impl Connection {
    fn answer(&mut self) {
        // A sender that is gone needs no answer, and the next read tells whether it had finished.
        let _ = self.stream.write_all(&[ACK]);
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

fn explain(error: Error) -> Error {
    let Error::System { source, .. } = &error else { return error };
    let hint = match source.kind() {
        io::ErrorKind::AddrInUse => "another receiver or program has this port; choose another --endpoint",
        io::ErrorKind::AddrNotAvailable => "it is not an address of this machine",
        io::ErrorKind::PermissionDenied => "ports below 1024 are for the system",
        _ => return error,
    };
    error.with_hint(hint)
}
