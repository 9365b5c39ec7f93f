//! How a mapped file keeps the contract: messages are framed, because the ring is a byte stream. Nothing tells either
//! end that the other died; the link does.

use std::path::PathBuf;

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Extra, FrameReader, FrameWriter, Link, MAX_FRAME, Notices, Reach,
    Receiver, Result, Role, Sender, Technique, WhenFull,
};

pub mod mmap_file;

/// What a mapped file is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "mmap-file",
    summary: "a mapped file: a ring of bytes in pages that both processes see and that outlive them",
    chapter: Chapter::File,
    kernel_object: "1025 pages of a file in the page cache, found by a path",
    carries: Carries::Bytes,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_FRAME,
    payload_limit: None,
    endpoint: Endpoint::Path,
    options: &[
        Extra::SPIN[0],
        Extra::SPIN[1],
        Extra { name: "sync", value: None, role: Role::Sender, help: "Wait until each message is on the disk" },
    ],
};

/// Waits for a receiver and maps its file.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let link = Link::attach(args)?;
    let (path, sync) = (PathBuf::from(link.endpoint()), args.extra("sync").is_some());
    let mut writer = link.wait("map", || mmap_file::Writer::open(&path, sync))?;
    if args.spins() {
        writer.spin();
    }
    Ok(FrameWriter::new(link, writer).in_memory())
}

/// Makes the file.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let path = PathBuf::from(args.endpoint()?);
    let remove = path.clone();
    let (link, mut reader) = Link::claim(args, || mmap_file::create(&path), move || mmap_file::remove(&remove))?;
    if args.spins() {
        reader.spin();
    }
    Ok(FrameReader::over(link, reader).in_memory())
}
