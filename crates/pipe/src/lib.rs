//! How a pipe keeps the contract: messages are framed, because a pipe keeps no boundaries; its end of file tells
//! that the sender died, and `EPIPE` that the receiver did. The sender is the parent: it starts the receiver, and
//! has not succeeded before the receiver has.

use std::io::{IsTerminal, PipeReader, stdin, stdout};

use common::{
    Args, Carries, Chapter, Child, Context, Delivery, Endpoint, Error, Extra, FrameReader, FrameWriter, Link,
    MAX_FRAME, Notices, Reach, Receiver, Result, Sender, Technique, WhenFull,
};

pub mod pipe;

/// What a pipe is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "pipe",
    summary: "a pipe: a byte stream from a process to the child that it starts",
    chapter: Chapter::Pipe,
    kernel_object: "a pipe buffer of 256 KiB, without a name",
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

/// Makes the pipe and starts the receiver with its reading end; or, with `--endpoint -`, takes standard output.
///
/// # Errors
/// [`Error::Usage`] where standard output is a terminal; [`Error::System`] where the receiver cannot be started.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let link = Link::bare(args)?;
    if args.endpoint.is_none() {
        let (mut writer, reader) = pair()?;
        if args.spins() {
            writer.spin().doing("fcntl")?;
        }
        let child = Some(Child::receiver(args, reader.into())?);
        return Ok(PipeSender { frames: FrameWriter::new(link, writer), child });
    }
    if stdout().is_terminal() {
        return Err(Error::Usage("--endpoint - needs a pipe as standard output, as in | pipe-receiver".to_owned()));
    }
    if args.output.is_some() || args.stats {
        return Err(Error::Usage("with --endpoint -, --output and --stats go to the receiver".to_owned()));
    }
    let mut writer = pipe::Writer::from_stdout().doing("standard output")?;
    if args.spins() {
        writer.spin().doing("fcntl")?;
    }
    Ok(PipeSender { frames: FrameWriter::new(link, writer), child: None })
}

/// Makes the channel before a fork(2): the process that sends keeps the first half and drops the other, the one that
/// receives does the opposite.
///
/// Fork while the process has one thread, which is before an end is made: an end starts threads. Of those a child has
/// none, but the locks that they held are locked in it for ever.
///
/// # Errors
/// [`Error::System`] where too many descriptors are open.
pub fn pair() -> Result<(pipe::Writer, PipeReader)> {
    let (reader, writer) = pipe::create().doing("pipe")?;
    Ok((writer, reader))
}

/// The end of the process that sends.
///
/// # Errors
/// [`Error::System`] where a thread cannot be started.
pub fn sender_of(args: &Args, mut half: pipe::Writer) -> Result<impl Sender> {
    if args.spins() {
        half.spin().doing("fcntl")?;
    }
    Ok(PipeSender { frames: FrameWriter::new(Link::bare(args)?, half), child: None })
}

/// The end of the process that receives.
///
/// # Errors
/// As [`sender_of`].
pub fn receiver_of(args: &Args, half: PipeReader) -> Result<impl Receiver> {
    args.spin_on(&half).doing("fcntl")?;
    Ok(FrameReader::over(Link::bare(args)?, half))
}

struct PipeSender {
    // Dropped first: it is the end of file that ends the child.
    frames: FrameWriter<pipe::Writer>,
    child: Option<Child>,
}

impl Sender for PipeSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.frames.send(message).map_err(|error| match &mut self.child {
            Some(child) => child.explain(error),
            None => error,
        })
    }

    fn finish(self) -> Result<()> {
        let PipeSender { frames, child } = self;
        let Some(mut child) = child else { return frames.finish() };
        let (link, writer) = frames.end().map_err(|error| child.explain(error))?;
        drop(writer);
        child.wait(&link)
    }
}

/// Reads the pipe that its parent, or a shell, has made its standard input.
///
/// # Errors
/// [`Error::Usage`] without `--endpoint -`, and where standard input is a terminal.
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    if args.endpoint.is_none() {
        return Err(Error::Usage("start pipe-sender, which starts this; or give --endpoint - and a pipe".to_owned()));
    }
    if stdin().is_terminal() {
        return Err(Error::Usage("--endpoint - needs a pipe as standard input, as in pipe-sender |".to_owned()));
    }
    let link = Link::bare(args)?;
    args.ready(link.endpoint());
    let spins = args.spins();
    Ok(FrameReader::new(link, move || {
        let mut reader = pipe::Reader::from_stdin()?;
        if spins {
            reader.spin()?;
        }
        Ok(reader)
    }))
}
