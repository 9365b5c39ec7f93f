//! How realtime signals keep the contract: their values are a byte stream, so messages are framed. Who the other
//! process is, and that it has died, the [`Link`] tells: a signal says only what its sender calls itself.

use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, FrameReader, FrameWriter, Link, Notices, Reach, Receiver,
    Result, Sender, Technique, WhenFull,
};

pub mod rt_signal;
pub mod stream;

use rt_signal::Peer;
use stream::{Reader, Writer};

/// What realtime signals are and can do as a channel.
pub const TECHNIQUE: Technique = Technique {
    name: "rt-signal",
    summary: "SIGRTMIN with a value: a byte stream, seven bytes with each signal, which the kernel queues",
    chapter: Chapter::Signal,
    kernel_object: "a process's queue of pending signals, each with a value of 8 bytes, found by its pid",
    carries: Carries::Bytes,
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
    Ok(FrameWriter::new(link, writer))
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
    Ok(FrameReader::over(link, reader))
}
