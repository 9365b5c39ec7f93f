//! How System V shared memory keeps the contract: messages are framed, because the ring is a byte stream. The kernel
//! knows how many are attached but tells nobody when one of them dies; the link does.

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Extra, FrameReader, FrameWriter, Link, MAX_FRAME, Notices, Reach,
    Receiver, Result, Sender, Technique, WhenFull,
};

pub mod sysv_shm;

/// What System V shared memory is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "sysv-shm",
    summary: "System V shared memory: a ring of bytes in a segment that is found by a key",
    chapter: Chapter::SharedMemory,
    kernel_object: "a segment of 1025 pages, found by a key",
    carries: Carries::Bytes,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_FRAME,
    payload_limit: None,
    endpoint: Endpoint::Key,
    options: &Extra::SPIN,
};

/// Waits for a receiver and attaches its segment.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let key = args.key()?;
    let link = Link::attach(args)?;
    let mut writer = link.wait("shmget", || sysv_shm::open(key))?;
    if args.spins() {
        writer.spin();
    }
    Ok(FrameWriter::new(link, writer).in_memory())
}

/// Makes the segment.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let key = args.key()?;
    let (link, mut reader) = Link::claim(args, || sysv_shm::create(key), move || sysv_shm::remove(key))?;
    if args.spins() {
        reader.spin();
    }
    Ok(FrameReader::over(link, reader).in_memory())
}
