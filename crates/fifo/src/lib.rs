//! How a FIFO keeps the contract: messages are framed, because a FIFO keeps no boundaries; its end of file
//! tells that the sender died, and `EPIPE` that the receiver did.

use std::path::PathBuf;

use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, Extra, FrameReader, FrameWriter, Link, MAX_FRAME, Notices,
    Reach, Receiver, Result, Sender, Technique, WhenFull,
};

pub mod fifo;

/// What a FIFO is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "fifo",
    summary: "a named pipe: a byte stream between two processes that know one path",
    chapter: Chapter::Pipe,
    kernel_object: "a pipe buffer of 256 KiB, found by a path",
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

/// Waits for a receiver and opens its FIFO for writing.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let link = Link::attach(args)?;
    let path = PathBuf::from(link.endpoint());
    let writer = link.wait("open", || fifo::open_writer(&path))?;
    args.spin_on(&writer).doing("fcntl")?;
    Ok(FrameWriter::new(link, writer))
}

/// Makes the FIFO; it is opened by the first `recv`, which waits for the sender to open it too.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let path = PathBuf::from(args.endpoint()?);
    let (create, remove) = (path.clone(), path.clone());
    let (link, ()) = Link::claim(args, || fifo::create(&create), move || fifo::remove(&remove))?;
    let args = args.clone();
    Ok(FrameReader::new(link, move || {
        let reader = fifo::open_reader(&path)?;
        args.spin_on(&reader)?;
        Ok(reader)
    }))
}
