//! How a file keeps the contract: messages are framed, and the end is a frame of its own, because nothing else
//! in a file tells a pause from the end. Of the peer's death the kernel says nothing; the [`Link`] finds out.

use std::path::PathBuf;
use std::time::Duration;

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Error, Extra, FrameReader, FrameWriter, Link, MAX_FRAME, Notices,
    Reach, Receiver, Result, Role, Sender, Technique, WhenFull,
};

pub mod file;

/// What a file is and can do as a channel.
pub const TECHNIQUE: Technique = Technique {
    name: "file",
    summary: "a file: one process appends to it, the other follows it",
    chapter: Chapter::File,
    kernel_object: "a file's pages in the page cache, found by a path",
    carries: Carries::Bytes,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Grows,
    max_message: MAX_FRAME,
    payload_limit: None,
    endpoint: Endpoint::Path,
    options: &[Extra {
        name: "poll",
        value: Some("MS"),
        role: Role::Receiver,
        help: "Look for more every MS milliseconds instead of being woken; 0 never sleeps",
    }],
};

/// Waits for a receiver and opens its file for appending.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let link = Link::attach(args)?;
    let path = PathBuf::from(link.endpoint());
    let appender = link.wait("open", || file::open_appender(&path))?;
    Ok(FrameWriter::new(link, appender))
}

/// Makes the file; it is opened by the first `recv`.
///
/// # Errors
/// [`Error::Usage`] for a `--poll` that is no number; see [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let pause = poll_pause(args)?;
    let path = PathBuf::from(args.endpoint()?);
    let (create, remove) = (path.clone(), path.clone());
    let (link, ()) = Link::claim(args, || file::create(&create), move || file::remove(&remove))?;
    let open = move || match pause {
        Some(pause) => file::Follower::polling(&path, pause),
        None => file::Follower::woken(&path),
    };
    Ok(FrameReader::new(link, open).in_file())
}

fn poll_pause(args: &Args) -> Result<Option<Duration>> {
    let Some(text) = args.extra("poll") else { return Ok(None) };
    // What poll(2) can wait for at most, in milliseconds.
    match text.parse() {
        Ok(pause) if pause <= i32::MAX as u64 => Ok(Some(Duration::from_millis(pause))),
        _ => Err(Error::Usage(format!("--poll {text:?}: not a number of milliseconds"))),
    }
}
