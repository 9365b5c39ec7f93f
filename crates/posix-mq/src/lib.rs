//! How a POSIX message queue keeps the contract: the kernel keeps the boundaries, and the lowest priority
//! is the end, which so arrives after everything else. The kernel tells neither end that the other died;
//! the link does.

use std::time::Duration;

use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, Error, Extra, Lead, Link, Notices, Reach, Receiver, Result,
    Role, Sender, Technique, WhenFull,
};

pub mod posix_mq;

use posix_mq::{CAPACITY, MAX_MESSAGE, Queue};

/// Below the priority of every message, so that no message is left behind it.
const END: u32 = 0;
/// A message's priority where nobody asks for another.
const MESSAGE: u32 = 1;
/// mq_overview(7): priorities are below MQ_PRIO_MAX, 32768 on Linux.
const HIGHEST: u32 = 32767;

/// The sender is given a moment whenever half a queue has been taken. It may have slept, for the queue was full; the first
/// message that was taken has woken it, and else all would have been taken before it is at work.
const LEAD: u32 = CAPACITY as u32 / 2;
/// A moment at the longest.
const MOMENT: Duration = Duration::from_micros(12);

/// What a POSIX message queue is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "posix-mq",
    summary: "a POSIX message queue: whole messages with priorities, kept by the kernel under a name",
    chapter: Chapter::MessageQueue,
    kernel_object: "a queue of up to 10 messages of 8 KiB, found by a name",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_MESSAGE,
    payload_limit: None,
    endpoint: Endpoint::Name,
    options: &[
        Extra {
            name: "priority",
            value: Some("P[,P…]"),
            role: Role::Sender,
            help: "Priorities of the messages, 1 to 32767, in turn; the highest is taken first",
        },
        Extra { name: "show-priority", value: None, role: Role::Receiver, help: "Tell each message's priority" },
        Extra::SPIN[0],
        Extra::SPIN[1],
    ],
};

/// Waits for a receiver and opens its queue.
///
/// # Errors
/// See [`Link::attach`]; [`Error::Usage`] for a priority that does not exist.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let priorities = args.numbers("priority", MESSAGE..=HIGHEST)?.unwrap_or_else(|| vec![MESSAGE]);
    let link = Link::attach(args)?;
    let queue = link.wait("mq_open", || Queue::open(link.endpoint()))?;
    start(args, &link, &queue)?;
    // Over the places: to begin anew, a cycle over the vector itself would copy it.
    let priorities = (0..priorities.len()).cycle().map(move |at| priorities[at]);
    Ok(QueueSender { queue, priorities, link })
}

/// Makes the queue.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let name = args.endpoint()?;
    let (link, queue) = Link::claim(args, || Queue::create(&name), {
        let name = name.clone();
        move || posix_mq::remove(&name)
    })?;
    start(args, &link, &queue)?;
    let show = args.extra("show-priority").is_some().then(|| args.clone());
    let lead = Lead::new(args, LEAD, MOMENT);
    Ok(QueueReceiver { queue, buffer: vec![0; MAX_MESSAGE], finished: false, lead, show, link })
}

struct QueueSender<P> {
    queue: Queue,
    priorities: P,
    link: Link,
}

impl<P: Iterator<Item = u32>> Sender for QueueSender<P> {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > MAX_MESSAGE {
            return Err(Error::too_long(message.len(), MAX_MESSAGE));
        }
        let priority = self.priorities.next().unwrap_or(MESSAGE);
        self.link.wait("mq_send", || self.queue.put(priority, message))
    }

    fn finish(self) -> Result<()> {
        self.link.wait("mq_send", || self.queue.put(END, &[]))
    }
}

struct QueueReceiver {
    queue: Queue,
    buffer: Vec<u8>,
    finished: bool,
    lead: Lead,
    show: Option<Args>,
    link: Link,
}

impl Receiver for QueueReceiver {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let take = || self.link.wait("mq_receive", || self.queue.take(&mut self.buffer));
        let (priority, len) = self.lead.before(take)?;
        if priority == END {
            self.finished = true;
            return Ok(None);
        }
        if let Some(args) = &self.show {
            args.narrate(&format!("priority {priority}, {len} bytes"));
        }
        Ok(Some(&self.buffer[..len]))
    }
}

/// Says how waits end.
fn start(args: &Args, link: &Link, queue: &Queue) -> Result<()> {
    if args.spins() {
        posix_mq::stop_blocking(queue).doing("fcntl")?;
    }
    // posixmq hides `EINTR`, so it takes more than a signal to end its waits.
    link.on_stop(queue, |queue| drop(posix_mq::stop_blocking(queue)))
}
