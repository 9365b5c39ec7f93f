//! How two eventfds around shared memory keep the contract: a message is a record, and the end is a length that no
//! record has. The receiver's standard input is a socket. Memory and eventfds come over it; after that, its only
//! use is to hang up, because a read of an eventfd does not end with the process that would have written.

use std::fs::File;
use std::io::{stdin, stdout};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;

use common::{
    Args, Carries, Chapter, Child, Context, Delivery, Endpoint, Error, Extra, Link, Notices, Reach, Receiver, Result,
    Sender, Technique, WhenFull,
};

pub mod eventfd;
pub mod scm_rights;

use eventfd::{Buffer, MAX};

/// What two eventfds around shared memory are and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "eventfd",
    summary: "the bounded buffer without names: two eventfds count the free and full slots of shared memory",
    chapter: Chapter::More,
    kernel_object: "two counters and 32 pages of memory, without names",
    carries: Carries::Messages,
    reach: Reach::Family,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX,
    payload_limit: None,
    endpoint: Endpoint::Inherited,
    options: &Extra::SPIN,
};

/// Makes memory and eventfds, starts the receiver with a socket as its standard input, and passes them on to it; with
/// `--endpoint -` the socket is standard output.
///
/// # Errors
/// [`Error::Usage`] where standard output is no socket; [`Error::System`] where the receiver cannot be started.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let buffer = Buffer::create().doing("memfd_create")?;
    let (line, child) = if args.endpoint.is_none() {
        let (ours, theirs) = UnixStream::pair().doing("socketpair")?;
        (ours, Some(Child::receiver(args, theirs.into())?))
    } else {
        args.endpoint()?;
        if args.output.is_some() || args.stats {
            return Err(Error::Usage("with --endpoint -, --output and --stats go to the receiver".to_owned()));
        }
        (inherited(stdout(), "standard output")?, None)
    };
    let mut producer = Producer::new(args, Half { buffer, line }, child)?;
    let passed = producer.link.wait("sendmsg", || scm_rights::send(&producer.line.0, &producer.buffer.descriptors()));
    producer.explained(passed)?;
    Ok(producer)
}

/// Takes the socket that is its standard input; the first `recv` waits for memory and eventfds to come through it.
///
/// # Errors
/// [`Error::Usage`] without `--endpoint -`, and where standard input is no socket.
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    if args.endpoint.is_none() {
        let start = "start eventfd-sender, which starts this; or give --endpoint - and a socket";
        return Err(Error::Usage(start.to_owned()));
    }
    let endpoint = args.endpoint()?;
    let line = inherited(stdin(), "standard input")?;
    args.ready(&endpoint);
    Consumer::new(args, None, line)
}

/// The socket that this process was started with.
fn inherited(stream: impl AsFd, name: &str) -> Result<UnixStream> {
    let file = File::from(stream.as_fd().try_clone_to_owned().doing(name)?);
    if !file.metadata().doing(name)?.file_type().is_socket() {
        return Err(Error::Usage(format!("--endpoint - needs a socket as {name}, for descriptors to go through")));
    }
    Ok(OwnedFd::from(file).into())
}

/// What one of two processes needs.
pub struct Half {
    buffer: Buffer,
    line: UnixStream,
}

/// Makes the channel before a fork(2): the process that sends keeps the first half and drops the other, the one that
/// receives does the opposite.
///
/// Fork while the process has one thread, which is before an end is made: an end starts threads. Of those a child has
/// none, but the locks that they held are locked in it for ever.
///
/// # Errors
/// [`Error::System`] where too many descriptors are open.
pub fn pair() -> Result<(Half, Half)> {
    let (ours, theirs) = UnixStream::pair().doing("socketpair")?;
    let buffer = Buffer::create().doing("memfd_create")?;
    let other = Half { buffer: buffer.other_end().doing("mmap")?, line: theirs };
    Ok((Half { buffer, line: ours }, other))
}

/// The end of the process that sends.
///
/// # Errors
/// [`Error::System`] where a thread cannot be started.
pub fn sender_of(args: &Args, half: Half) -> Result<impl Sender> {
    Producer::new(args, half, None)
}

/// The end of the process that receives.
///
/// # Errors
/// As [`sender_of`].
pub fn receiver_of(args: &Args, half: Half) -> Result<impl Receiver> {
    Consumer::new(args, Some(half.buffer), half.line)
}

/// A socket that hangs up at the other end when this is dropped, or when its process dies.
struct Line(UnixStream);

impl Line {
    fn new(socket: UnixStream, link: &Link) -> Result<Line> {
        link.watch_peer(&socket)?;
        Ok(Line(socket))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // To close it is not enough, for the thread that watches the other end has a copy.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// A buffer that sleeps or spins.
fn opened(mut buffer: Buffer, spins: bool) -> Result<Buffer> {
    if spins {
        buffer.spin().doing("fcntl")?;
    }
    Ok(buffer)
}

struct Producer {
    buffer: Buffer,
    // Dropped before the child, which it tells.
    line: Line,
    child: Option<Child>,
    link: Link,
    args: Args,
}

impl Producer {
    fn new(args: &Args, half: Half, child: Option<Child>) -> Result<Producer> {
        let link = Link::bare(args)?;
        let line = Line::new(half.line, &link)?;
        let buffer = opened(half.buffer, args.spins())?;
        Ok(Producer { buffer, line, child, link, args: args.clone() })
    }

    /// Adds what became of the child.
    fn explained(&mut self, result: Result<()>) -> Result<()> {
        result.map_err(|error| match &mut self.child {
            Some(child) => child.explain(error),
            None => error,
        })
    }
}

impl Sender for Producer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > MAX {
            return Err(Error::too_long(message.len(), MAX));
        }
        let put = self.link.wait("read", || self.buffer.put(message));
        self.explained(put)
    }

    fn finish(mut self) -> Result<()> {
        let put = self.link.wait("read", || self.buffer.put_end());
        self.explained(put)?;
        match self.child.take() {
            // By a link that does not watch the line: a receiver that has done its work hangs up, too.
            Some(child) => child.wait(&Link::bare(&self.args)?),
            None => Ok(()),
        }
    }
}

struct Consumer {
    /// `None` until it has come.
    buffer: Option<Buffer>,
    record: Box<[u8; MAX]>,
    finished: bool,
    spins: bool,
    line: Line,
    link: Link,
}

impl Consumer {
    fn new(args: &Args, buffer: Option<Buffer>, line: UnixStream) -> Result<Consumer> {
        let link = Link::bare(args)?;
        let line = Line::new(line, &link)?;
        let buffer = buffer.map(|buffer| opened(buffer, args.spins())).transpose()?;
        Ok(Consumer { buffer, record: Box::new([0; MAX]), finished: false, spins: args.spins(), line, link })
    }
}

impl Receiver for Consumer {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let buffer = match &mut self.buffer {
            Some(buffer) => buffer,
            None => {
                let descriptors = self.link.wait("recvmsg", || scm_rights::receive(&self.line.0))?;
                self.buffer.insert(opened(Buffer::open(descriptors).doing("mmap")?, self.spins)?)
            }
        };
        let taken = self.link.wait("read", || buffer.take(&mut self.record))?;
        self.finished = taken.is_none();
        Ok(taken.map(|len| &self.record[..len]))
    }
}
