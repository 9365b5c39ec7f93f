//! How a mapped file keeps the contract: the ring carries messages and says when there will be no more. Nothing tells
//! either end that the other died; the link does.

use std::path::PathBuf;

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Extra, Link, Notices, Reach, Receiver, Result, Role, Sender, Technique,
    WhenFull,
};

pub mod mmap_file;

use mmap_file::{LONGEST, Reader, Writer};

/// What a mapped file is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "mmap-file",
    summary: "a mapped file: a ring of messages in pages that both processes see and that outlive them",
    chapter: Chapter::File,
    kernel_object: "1089 pages of a file in the page cache, found by a path",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: LONGEST,
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
    let mut writer = link.wait("map", || Writer::open(&path, sync))?;
    if args.spins() {
        writer.spin();
    }
    Ok(Producer { writer, link })
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
    Ok(Consumer { reader, link })
}

struct Producer {
    // Dropped first: the memory goes before the link does.
    writer: Writer,
    link: Link,
}

impl Sender for Producer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.link.put("write", message, |rest| self.writer.put(rest))
    }

    fn finish(mut self) -> Result<()> {
        self.link.wait("write", || self.writer.end())
    }
}

struct Consumer {
    reader: Reader,
    link: Link,
}

impl Receiver for Consumer {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if !self.reader.is_filled() {
            self.link.wait("read", || self.reader.fill())?;
        }
        Ok(self.reader.take())
    }
}
