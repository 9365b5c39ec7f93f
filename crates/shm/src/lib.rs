//! How shared memory keeps the contract: messages are framed, because the ring is a byte stream. Nothing
//! tells either end that the other died; the link does.

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Extra, FrameReader, FrameWriter, Link, MAX_FRAME, Notices, Reach,
    Receiver, Result, Sender, Technique, WhenFull,
};

pub mod shm;

/// What shared memory is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "shm",
    summary: "POSIX shared memory: a ring of bytes that both processes see, and a futex to sleep on",
    chapter: Chapter::SharedMemory,
    kernel_object: "1025 pages of memory, found by a name in /dev/shm",
    carries: Carries::Bytes,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_FRAME,
    payload_limit: None,
    endpoint: Endpoint::Name,
    options: &Extra::SPIN,
};

/// Waits for a receiver and opens its ring.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let link = Link::attach(args)?;
    let mut writer = link.wait("shm_open", || shm::open(link.endpoint()))?;
    if args.spins() {
        writer.spin();
    }
    Ok(FrameWriter::new(link, writer).in_memory())
}

/// Makes the ring.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let name = args.endpoint()?;
    let (link, mut reader) = Link::claim(args, || shm::create(&name), {
        let name = name.clone();
        move || shm::remove(&name)
    })?;
    if args.spins() {
        reader.spin();
    }
    Ok(FrameReader::over(link, reader).in_memory())
}
