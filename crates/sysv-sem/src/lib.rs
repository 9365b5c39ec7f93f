//! How a mailbox keeps the contract: a message is a record, and the end is a length that no record has. `SEM_UNDO` puts
//! right what a dead process has left, but it tells nobody; the [`Link`] does.

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Error, Extra, Link, Notices, Reach, Receiver, Result, Sender,
    Technique, WhenFull,
};

pub mod segment;
pub mod sysv_sem;

use sysv_sem::{MAX, Mailbox};

/// What two System V semaphores around a slot of shared memory are and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "sysv-sem",
    summary: "one slot of shared memory and two System V semaphores: a hand-over that a death half-way undoes",
    chapter: Chapter::Semaphore,
    kernel_object: "a set of two counters, what to undo for each process, and a page; found by a key",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX,
    payload_limit: None,
    endpoint: Endpoint::Key,
    options: &Extra::SPIN,
};

/// Waits for a receiver and opens its mailbox.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let key = args.key()?;
    let link = Link::attach(args)?;
    let mut mailbox = link.wait("semget", || Mailbox::open(key))?;
    // Both ends are attached: from here on not even a kill of both leaves the memory behind.
    link.wait("shmctl", || mailbox.close())?;
    if args.spins() {
        mailbox.spin();
    }
    Ok(Producer { mailbox, link })
}

/// Makes the mailbox.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let key = args.key()?;
    let (link, mut mailbox) = Link::claim(args, || Mailbox::create(key), move || sysv_sem::remove(key))?;
    if args.spins() {
        mailbox.spin();
    }
    Ok(Consumer { mailbox, record: Box::new([0; MAX]), finished: false, link })
}

struct Producer {
    mailbox: Mailbox,
    link: Link,
}

impl Sender for Producer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > MAX {
            return Err(Error::too_long(message.len(), MAX));
        }
        self.link.wait("semop", || self.mailbox.put(message))
    }

    fn finish(self) -> Result<()> {
        self.link.wait("semop", || self.mailbox.put_end())
    }
}

struct Consumer {
    mailbox: Mailbox,
    record: Box<[u8; MAX]>,
    finished: bool,
    link: Link,
}

impl Receiver for Consumer {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let taken = self.link.wait("semop", || self.mailbox.take(&mut self.record))?;
        self.finished = taken.is_none();
        Ok(taken.map(|len| &self.record[..len]))
    }
}
