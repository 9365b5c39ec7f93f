//! How a buffer behind a robust mutex keeps the contract: a message is a record, and the end is a length that no
//! record has. The mutex tells only whoever locks it that its owner died, and nobody that a process died which did not
//! hold it; the [`Link`] tells the rest.

use std::time::Duration;

use common::{
    Args, Carries, Chapter, Delivery, Endpoint, Error, Link, Notices, Reach, Receiver, Result, Sender, Technique,
    WhenFull,
};

pub mod condition;
pub mod futex;
pub mod mutex;
pub mod robust_mutex;

use robust_mutex::{Buffer, Found, MAX};

/// What a robust mutex around shared memory is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "robust-mutex",
    summary: "a bounded buffer in shared memory behind a mutex: who dies holding it does not stop the others",
    chapter: Chapter::Semaphore,
    kernel_object: "33 pages in /dev/shm, found by a name, and for each thread where its list of held mutexes begins",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX,
    payload_limit: None,
    endpoint: Endpoint::Name,
    options: &[],
};

/// No signal ends a wait for the mutex, and who holds it may have been stopped. So each attempt is a short one, between
/// which the link looks for a cause to stop.
const PATIENCE: Duration = Duration::from_millis(20);

/// Waits for a receiver and opens its buffer.
///
/// # Errors
/// See [`Link::attach`] and [`Link::wait`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let link = Link::attach(args)?;
    let mut buffer = link.wait("shm_open", || Buffer::open(link.endpoint()))?;
    buffer.set_patience(PATIENCE);
    Ok(Producer { buffer, args: args.clone(), link })
}

/// Makes the buffer.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let name = args.endpoint()?;
    let (link, mut buffer) = Link::claim(args, || Buffer::create(&name), {
        let name = name.clone();
        move || robust_mutex::remove(&name)
    })?;
    buffer.set_patience(PATIENCE);
    Ok(Consumer { buffer, record: Box::new([0; MAX]), finished: false, args: args.clone(), link })
}

struct Producer {
    buffer: Buffer,
    args: Args,
    link: Link,
}

impl Sender for Producer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > MAX {
            return Err(Error::too_long(message.len(), MAX));
        }
        let put = self.link.wait("put", || self.buffer.put(message));
        tell(&self.args, &self.buffer);
        put
    }

    fn finish(mut self) -> Result<()> {
        self.link.wait("put", || self.buffer.put_end())
    }
}

struct Consumer {
    buffer: Buffer,
    record: Box<[u8; MAX]>,
    finished: bool,
    args: Args,
    link: Link,
}

impl Receiver for Consumer {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let taken = self.link.wait("take", || self.buffer.take(&mut self.record));
        tell(&self.args, &self.buffer);
        let taken = taken?;
        self.finished = taken.is_none();
        Ok(taken.map(|len| &self.record[..len]))
    }
}

fn tell(args: &Args, buffer: &Buffer) {
    let Some(found) = buffer.found() else { return };
    let left = match found {
        Found::Whole => "nothing was half-done",
        Found::Torn => "it was copying, and what it had copied is dropped",
    };
    args.narrate(&format!("EOWNERDEAD: the owner of the mutex has died; {left}"));
}
