//! How a socketpair keeps the contract: messages are framed, because a stream keeps no boundaries; its end of file
//! tells that the sender died, and `EPIPE` that the receiver did. When the receiver has read the end, it says so over
//! the descriptor through which it came, and the sender waits for that. A sender that is the parent waits for its
//! child's success as well.

use std::io::{self, IsTerminal, Read, Write, stdin, stdout};

use common::{
    Args, Carries, Chapter, Child, Context, Delivery, Endpoint, Error, Extra, FrameReader, FrameWriter, Link,
    MAX_FRAME, Notices, Reach, Receiver, Result, Sender, Technique, WhenFull,
};

pub mod socketpair;

use socketpair::Socket;

/// What a socketpair is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "socketpair",
    summary: "a socketpair: a byte stream in each direction, between a process and the child that it starts",
    chapter: Chapter::Socket,
    kernel_object: "a pair of connected sockets, without a name",
    carries: Carries::Bytes,
    reach: Reach::Family,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_FRAME,
    payload_limit: None,
    endpoint: Endpoint::Inherited,
    options: &Extra::SPIN,
};

/// The receiver's one word, ACK in ASCII: "I have read it all".
const ACK: u8 = 0x06;

/// Makes the pair and starts the receiver with its half; or, with `--endpoint -`, takes standard output.
///
/// # Errors
/// [`Error::Usage`] where standard output is a terminal; [`Error::System`] where the receiver cannot be started.
pub fn sender(args: &Args) -> Result<impl Sender> {
    if args.endpoint.is_none() {
        let (ours, theirs) = pair()?;
        let child = Child::receiver(args, theirs.into())?;
        return SocketSender::new(args, ours, Some(child));
    }
    args.endpoint()?;
    if stdout().is_terminal() {
        return Err(Error::Usage("--endpoint - needs a socket or a pipe as standard output".to_owned()));
    }
    if args.output.is_some() || args.stats {
        return Err(Error::Usage("with --endpoint -, --output and --stats go to the receiver".to_owned()));
    }
    SocketSender::new(args, Socket::from_stdout().doing("standard output")?, None)
}

/// Reads the socket that its parent has made its standard input.
///
/// # Errors
/// [`Error::Usage`] without `--endpoint -`, and where standard input is a terminal.
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    if args.endpoint.is_none() {
        let start = "start socketpair-sender, which starts this; or give --endpoint - and a socket";
        return Err(Error::Usage(start.to_owned()));
    }
    let endpoint = args.endpoint()?;
    if stdin().is_terminal() {
        return Err(Error::Usage("--endpoint - needs a socket or a pipe as standard input".to_owned()));
    }
    let socket = Socket::from_stdin().doing("standard input")?;
    args.ready(&endpoint);
    receiver_of(args, socket)
}

/// Makes the channel before a fork(2): the process that sends keeps the first half and drops the other, the one
/// that receives does the opposite.
///
/// Fork while the process has one thread, which is before an end is made: an end starts threads. Of those a child has
/// none, but the locks that they held are locked in it for ever.
///
/// # Errors
/// [`Error::System`] where too many descriptors are open.
pub fn pair() -> Result<(Socket, Socket)> {
    socketpair::create().doing("socketpair")
}

/// The end of the process that sends.
///
/// # Errors
/// [`Error::System`] where a thread cannot be started.
pub fn sender_of(args: &Args, half: Socket) -> Result<impl Sender> {
    SocketSender::new(args, half, None)
}

/// The end of the process that receives.
///
/// # Errors
/// As [`sender_of`].
pub fn receiver_of(args: &Args, mut half: Socket) -> Result<impl Receiver> {
    if args.spins() {
        half.spin().doing("fcntl")?;
    }
    Ok(FrameReader::over(Link::bare(args)?, half).answering(answer))
}

struct SocketSender {
    // Dropped first: it is the end of file that ends the child.
    frames: FrameWriter<Socket>,
    /// There is a way back. A pipe, which a shell may have put here, has none.
    answered: bool,
    child: Option<Child>,
}

impl SocketSender {
    fn new(args: &Args, mut socket: Socket, child: Option<Child>) -> Result<SocketSender> {
        if args.spins() {
            socket.spin().doing("fcntl")?;
        }
        let answered = socket.has_two_directions().doing("fstat")?;
        Ok(SocketSender { frames: FrameWriter::new(Link::bare(args)?, socket), answered, child })
    }
}

impl Sender for SocketSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.frames.send(message).map_err(|error| match &mut self.child {
            Some(child) => child.explain(error),
            None => error,
        })
    }

    fn finish(self) -> Result<()> {
        let SocketSender { frames, answered, child } = self;
        let said = frames.end().and_then(|(link, socket)| {
            if answered {
                read_answer(&link, &socket)?;
            }
            Ok(link)
        });
        let Some(mut child) = child else { return said.map(drop) };
        let link = said.map_err(|error| child.explain(error))?;
        child.wait(&link)
    }
}

/// Waits for the receiver's word that it has read the end.
fn read_answer(link: &Link, mut socket: &Socket) -> Result<()> {
    let call = "read the answer";
    let mut byte = [0];
    let len = link.wait(call, || socket.read(&mut byte))?;
    match (len, byte) {
        (0, _) => Err(link.gone(call, None)),
        (_, [ACK]) => Ok(()),
        (_, [other]) => Err(io::Error::other(format!("{other:#04x} is not what a receiver answers"))).doing(call),
    }
}

fn answer(socket: &mut Socket) {
    // Into standard input, which is the socket. A sender that is gone needs no answer: it had finished.
    if socket.has_two_directions().unwrap_or(false) {
        let _ = socket.write_all(&[ACK]);
    }
}
