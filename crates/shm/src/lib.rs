//! How shared memory keeps the contract: the ring carries messages and says when there will be no more. Nothing
//! tells either end that the other died; the link does.

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Extra, Link, Notices, Reach, Receiver, Result, Sender, Technique,
    WhenFull,
};

pub mod shm;

use shm::{LONGEST, Reader, Writer};

/// What shared memory is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "shm",
    summary: "POSIX shared memory: a ring of messages that both processes see, and a futex to sleep on",
    chapter: Chapter::SharedMemory,
    kernel_object: "1089 pages of memory, found by a name in /dev/shm",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: LONGEST,
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
    Ok(Producer { writer, link })
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
