//! How System V shared memory keeps the contract: the ring carries messages and says when there will be no more. The
//! kernel knows how many are attached but tells nobody when one of them dies; the link does.

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Extra, Link, Notices, Reach, Receiver, Result, Sender, Technique,
    WhenFull,
};

pub mod sysv_shm;

use sysv_shm::{LONGEST, Reader, Writer};

/// What System V shared memory is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "sysv-shm",
    summary: "System V shared memory: a ring of messages in a segment that is found by a key",
    chapter: Chapter::SharedMemory,
    kernel_object: "a segment of 1089 pages, found by a key",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: LONGEST,
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
    Ok(Producer { writer, link })
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
