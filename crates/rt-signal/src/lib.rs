//! How realtime signals keep the contract: each carries eight bytes of a message, and how many are left. Who the other
//! process is, and that it has died, the [`Link`] tells: a signal says only what its sender calls itself.

use std::io;

use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, Error, Link, Notices, Pause, Reach, Receiver, Result, Sender,
    Technique, WhenFull,
};

pub mod parts;
pub mod rt_signal;

use parts::{Came, Message, Part, Reader, Writer};
use rt_signal::Peer;

/// What realtime signals are and can do as a channel.
pub const TECHNIQUE: Technique = Technique {
    name: "rt-signal",
    summary: "SIGRTMIN with a value: eight bytes of a message with each signal, which the kernel queues",
    chapter: Chapter::Signal,
    kernel_object: "a process's queue of pending signals, each with a value of 8 bytes, found by its pid",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: 64 << 10,
    payload_limit: Some(1 << 20),
    endpoint: Endpoint::Pid,
    options: &[],
};

/// Waits for a receiver.
///
/// # Errors
/// See [`Link::attach`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    // The answers are signals too.
    rt_signal::block().doing("pthread_sigmask")?;
    let link = Link::attach(args)?;
    // Not the pid in the file: the lock tells the pid of a process that lives, and its pidfd is held already.
    let (pid, pidfd) = link.receiver()?;
    let writer = Writer::new(Peer::new(pid, Some(pidfd))).doing("signalfd")?;
    Ok(PartSender { writer, link })
}

struct PartSender {
    writer: Writer,
    link: Link,
}

impl PartSender {
    fn put(&mut self, part: Part) -> Result<()> {
        self.link.wait("pidfd_send_signal", || self.writer.put(part))
    }
}

impl Sender for PartSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > TECHNIQUE.max_message {
            return Err(Error::too_long(message.len(), TECHNIQUE.max_message));
        }
        Part::all(message).try_for_each(|part| self.put(part))
    }

    fn finish(mut self) -> Result<()> {
        self.put(Part::END)
    }
}

/// Makes the pid file.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    // Before anybody can find this process: a realtime signal that is not blocked would end it.
    rt_signal::block().doing("pthread_sigmask")?;
    let link = Link::claim_pid_file(args)?;
    let find = link.find_sender();
    // A value counts when it comes from the process that has attached; everybody else's are noise.
    let peer = move |from| {
        let sender = find()?.filter(|(pid, _)| *pid == from);
        Ok(sender.map(|(pid, pidfd)| Peer::new(pid, pidfd)))
    };
    let reader = Reader::new(peer).doing("signalfd")?;
    Ok(PartReceiver { reader, message: Message::default(), finished: false, pause: Pause::new(), link })
}

struct PartReceiver<F> {
    reader: Reader<F>,
    message: Message,
    finished: bool,
    pause: Pause,
    link: Link,
}

/// Parts that are waited for in a pause, at the most.
const A_DOZEN: usize = 16;
/// Turns of spin_loop() in which the writer sends about one.
const TURNS: u32 = 60;

impl<F: FnMut(i32) -> io::Result<Option<Peer>>> Receiver for PartReceiver<F> {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        while !self.finished {
            let Some(part) = self.reader.next_part() else {
                let due = self.reader.due().min(A_DOZEN) as u32;
                if due > 0 {
                    self.pause.give(due * TURNS);
                }
                let came = self.link.wait("read", || self.reader.fill())?;
                if due > 0 {
                    self.pause.brought(came > 1);
                }
                continue;
            };
            let (len, max) = (usize::try_from(part.left).unwrap_or(0), TECHNIQUE.max_message);
            if len > max {
                return Err(Error::too_long(len, max).with_hint("announced by the sender"));
            }
            match self.message.add(part).doing("read")? {
                Came::More => {}
                Came::Whole => return Ok(Some(self.message.bytes())),
                Came::End => self.finished = true,
            }
        }
        Ok(None)
    }
}
