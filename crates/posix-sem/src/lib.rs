//! How the bounded buffer keeps the contract: a message is a record, and the end is a length that no record has.
//! A semaphore has no owner, so nobody would hear of the peer's death; the [`Link`] finds out.

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Error, Extra, Link, Notices, Reach, Receiver, Result, Sender,
    Technique, WhenFull,
};

pub mod posix_sem;

use posix_sem::{Buffer, MAX};

/// What two semaphores around shared memory are and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "posix-sem",
    summary: "the bounded buffer: two named semaphores count the free and full slots of shared memory",
    chapter: Chapter::Semaphore,
    kernel_object: "two counters and 32 pages in /dev/shm, found by names",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX,
    payload_limit: None,
    endpoint: Endpoint::Name,
    options: &Extra::SPIN,
};

/// Waits for a receiver and opens its buffer.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let link = Link::attach(args)?;
    let mut buffer = link.wait("sem_open", || Buffer::open(link.endpoint()))?;
    if args.spins() {
        buffer.spin();
    }
    Ok(Producer { buffer, link })
}

/// Makes the buffer.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let name = args.endpoint()?;
    let (link, mut buffer) = Link::claim(args, || Buffer::create(&name), {
        let name = name.clone();
        move || posix_sem::remove(&name)
    })?;
    if args.spins() {
        buffer.spin();
    }
    Ok(Consumer { buffer, record: Box::new([0; MAX]), finished: false, link })
}

struct Producer {
    buffer: Buffer,
    link: Link,
}

impl Sender for Producer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > MAX {
            return Err(Error::too_long(message.len(), MAX));
        }
        self.link.wait("sem_wait", || self.buffer.put(message))
    }

    fn finish(mut self) -> Result<()> {
        self.link.wait("sem_wait", || self.buffer.put_end())
    }
}

struct Consumer {
    buffer: Buffer,
    record: Box<[u8; MAX]>,
    finished: bool,
    link: Link,
}

impl Receiver for Consumer {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let taken = self.link.wait("sem_wait", || self.buffer.take(&mut self.record))?;
        self.finished = taken.is_none();
        Ok(taken.map(|len| &self.record[..len]))
    }
}
