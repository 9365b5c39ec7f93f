//! The contract: what a sender, a receiver and a technique promise. `docs/contract.md` says it in prose.

use std::fmt;

use crate::Result;

/// The end that hands messages over.
///
/// * Messages arrive whole, in order and once, or the receiver is told that the sender is gone. Where delivery is
///   best effort this is true of those that arrive, and both ends are told how many did not.
/// * An empty message is a message.
/// * The end is always said: a receiver never takes a sender's death for its last word.
pub trait Sender: Sized {
    /// Hands over one message; blocks while the channel is full.
    ///
    /// # Errors
    /// [`Error::TooLong`](crate::Error::TooLong) above the technique's `max_message`, before anything is
    /// handed over; [`Error::PeerGone`](crate::Error::PeerGone) and [`Error::TimedOut`](crate::Error::TimedOut)
    /// end the conversation.
    fn send(&mut self, message: &[u8]) -> Result<()>;

    /// Says that no more messages will come. Dropping a sender does not say it: a crash must not look
    /// like success.
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::Lost`](crate::Error::Lost) where delivery is best effort.
    fn finish(self) -> Result<()>;
}

/// The end that takes messages.
pub trait Receiver {
    /// Waits for the next message, which is valid until the next call; `None` once the sender has finished.
    ///
    /// # Errors
    /// [`Error::PeerGone`](crate::Error::PeerGone) where the sender ended without finishing, after every
    /// whole message that it had handed over has been returned; [`Error::Lost`](crate::Error::Lost), once, in place
    /// of the end where delivery is best effort and something is missing.
    fn recv(&mut self) -> Result<Option<&[u8]>>;
}

/// Which end a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Hands messages over.
    Sender,
    /// Owns the endpoint and takes messages.
    Receiver,
}

/// Does the kernel keep the boundaries between messages?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// A byte stream: the contract marks the boundaries with a length in front of each message.
    Bytes,
    /// Records: one put, one take.
    Messages,
}

/// Who can be at the other end?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A process that inherits the channel, by fork(2).
    Family,
    /// Any process of this user on this machine.
    Host,
    /// A process on any machine.
    Network,
}

/// Does all that was sent arrive?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Everything, once and in order.
    Reliable,
    /// The kernel or the network may drop messages. What arrives is whole, in order and once, and what does not is
    /// counted.
    BestEffort,
}

/// Which end learns without a timeout that the other one died?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notices {
    /// Both.
    Both,
    /// Only the sender.
    SenderOnly,
    /// Only the receiver.
    ReceiverOnly,
    /// Neither: only a timeout helps.
    Neither,
}

/// What happens while the receiver is slower than the sender?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The sender waits.
    Blocks,
    /// The channel grows, until the disk is full.
    Grows,
    /// Messages are dropped.
    Drops,
}

/// What `--endpoint` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A path in the file system.
    Path,
    /// A name in a namespace of the kernel, such as `/ipc-lab-1000-shm`.
    Name,
    /// A System V key.
    Key,
    /// A pid file: a path whose lock tells which process is meant.
    Pid,
    /// `ADDRESS:PORT`.
    Address,
    /// Nothing: the channel is inherited. `-` is standard output for a sender, standard input for a receiver.
    Inherited,
}

/// The lecture's chapters, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chapter {
    /// Writing a file that the other process reads.
    File,
    /// Message queues.
    MessageQueue,
    /// Shared memory.
    SharedMemory,
    /// Pipes.
    Pipe,
    /// Signals.
    Signal,
    /// Semaphores.
    Semaphore,
    /// Sockets.
    Socket,
    /// The dots at the end of the lecture's list.
    More,
}

/// What a technique is and can do: `--describe` prints it, the tests and the README's table read it.
#[derive(Clone, Copy, Debug)]
pub struct Technique {
    /// Folder, package and prefix of both programs.
    pub name: &'static str,
    /// One line for a person.
    pub summary: &'static str,
    /// Where the lecture speaks of it.
    pub chapter: Chapter,
    /// What the kernel holds while the two processes talk.
    pub kernel_object: &'static str,
    /// Does the kernel keep boundaries?
    pub carries: Carries,
    /// Who can be at the other end?
    pub reach: Reach,
    /// Does everything arrive?
    pub delivery: Delivery,
    /// Who learns of a dead peer without a timeout?
    pub notices: Notices,
    /// What happens while the receiver is slower?
    pub when_full: WhenFull,
    /// Bytes in the longest message.
    pub max_message: usize,
    /// Bytes that a person is willing to wait for, where the technique is slow; demos and tests send no more.
    pub payload_limit: Option<usize>,
    /// What `--endpoint` names.
    pub endpoint: Endpoint,
    /// Options that only this technique has.
    pub options: &'static [crate::Extra],
}

macro_rules! words {
    ($($kind:ident { $($variant:ident => $word:literal),+ $(,)? })+) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($kind::$variant => $word),+ })
            }
        }
    )+};
}

words! {
    Role { Sender => "sender", Receiver => "receiver" }
    Carries { Bytes => "bytes", Messages => "messages" }
    Reach { Family => "family", Host => "host", Network => "network" }
    Delivery { Reliable => "reliable", BestEffort => "best-effort" }
    Notices { Both => "both", SenderOnly => "sender-only", ReceiverOnly => "receiver-only", Neither => "neither" }
    WhenFull { Blocks => "blocks", Grows => "grows", Drops => "drops" }
    Endpoint { Path => "path", Name => "name", Key => "key", Pid => "pid", Address => "address", Inherited => "inherited" }
    Chapter {
        File => "1 file", MessageQueue => "2 message queue", SharedMemory => "3 shared memory", Pipe => "4 pipe",
        Signal => "5 signal", Semaphore => "6 semaphore", Socket => "7 socket", More => "8 more",
    }
}

impl fmt::Display for Technique {
    /// `key: value` lines, one for each field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name: {}", self.name)?;
        writeln!(f, "summary: {}", self.summary)?;
        writeln!(f, "chapter: {}", self.chapter)?;
        writeln!(f, "kernel-object: {}", self.kernel_object)?;
        writeln!(f, "carries: {}", self.carries)?;
        writeln!(f, "reach: {}", self.reach)?;
        writeln!(f, "delivery: {}", self.delivery)?;
        writeln!(f, "notices: {}", self.notices)?;
        writeln!(f, "when-full: {}", self.when_full)?;
        writeln!(f, "max-message: {}", self.max_message)?;
        if let Some(limit) = self.payload_limit {
            writeln!(f, "payload-limit: {limit}")?;
        }
        writeln!(f, "endpoint: {}", self.endpoint)
    }
}
