//! How a System V message queue keeps the contract: the kernel keeps the boundaries, and the highest type is the
//! end. Messages are taken lowest type first, so the end comes after everything else. The kernel tells neither
//! end that the other died, and has no call with a time limit; the link sees to both.

use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, Error, Extra, Link, Notices, Reach, Receiver, Result, Role,
    Sender, Technique, WhenFull,
};
use libc::c_long;

pub mod sysv_mq;

use sysv_mq::{MAX_MESSAGE, Message, Queue};

/// A message's type where nobody asks for another.
const MESSAGE: c_long = 1;
/// Above the type of every message: the highest that fits into a long of 32 bits too.
const END: c_long = i32::MAX as c_long;
/// What the receiver asks for: the lowest type that there is, and of equal types the oldest message.
const LOWEST_FIRST: c_long = -END;

/// What a System V message queue is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "sysv-mq",
    summary: "a System V message queue: whole messages with types to choose by, kept by the kernel under a key",
    chapter: Chapter::MessageQueue,
    kernel_object: "a queue of up to 16 KiB of messages, found by a key",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_MESSAGE,
    payload_limit: None,
    endpoint: Endpoint::Key,
    options: &[
        Extra {
            name: "type",
            value: Some("T[,T…]"),
            role: Role::Sender,
            help: "Types of the messages, 1 to 2147483646, in turn; the lowest is taken first",
        },
        Extra { name: "show-type", value: None, role: Role::Receiver, help: "Tell each message's type" },
        Extra::SPIN[0],
        Extra::SPIN[1],
    ],
};

/// Waits for a receiver and opens its queue.
///
/// # Errors
/// See [`Link::attach`]; [`Error::Usage`] for a type that does not exist.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let types = args.numbers("type", MESSAGE..=END - 1)?.unwrap_or_else(|| vec![MESSAGE]);
    let key = args.key()?;
    let link = Link::attach(args)?;
    let mut queue = link.wait("msgget", || Queue::open(key))?;
    if args.spins() {
        queue.spin();
    }
    // Over the places: to begin anew, a cycle over the vector itself would copy it.
    let types = (0..types.len()).cycle().map(move |at| types[at]);
    Ok(QueueSender { queue, message: Message::empty(), types, link })
}

/// Makes the queue.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let key = args.key()?;
    let (link, mut queue) = Link::claim(args, || Queue::create(key), move || sysv_mq::remove(key))?;
    if args.spins() {
        queue.spin();
    }
    let show = args.extra("show-type").is_some().then(|| args.clone());
    Ok(QueueReceiver { queue, message: Message::empty(), finished: false, show, link })
}

struct QueueSender<T> {
    queue: Queue,
    message: Message,
    types: T,
    link: Link,
}

impl<T> QueueSender<T> {
    fn put(&mut self, mtype: c_long, text: &[u8]) -> Result<()> {
        self.message.set(mtype, text).doing("msgsnd")?;
        self.link.wait("msgsnd", || self.queue.put(&self.message))
    }
}

impl<T: Iterator<Item = c_long>> Sender for QueueSender<T> {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > MAX_MESSAGE {
            return Err(Error::too_long(message.len(), MAX_MESSAGE));
        }
        let mtype = self.types.next().unwrap_or(MESSAGE);
        self.put(mtype, message)
    }

    fn finish(mut self) -> Result<()> {
        self.put(END, &[])
    }
}

struct QueueReceiver {
    queue: Queue,
    message: Message,
    finished: bool,
    show: Option<Args>,
    link: Link,
}

impl Receiver for QueueReceiver {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        self.link.wait("msgrcv", || self.queue.take(LOWEST_FIRST, &mut self.message))?;
        if self.message.mtype() == END {
            self.finished = true;
            return Ok(None);
        }
        if let Some(args) = &self.show {
            args.narrate(&format!("type {}, {} bytes", self.message.mtype(), self.message.text().len()));
        }
        Ok(Some(self.message.text()))
    }
}
