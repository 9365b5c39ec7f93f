//! How two signals keep the contract: acknowledged bits are a byte stream, so messages are framed. Who the other
//! process is, and that it has died, the [`Link`] tells: a signal says only which pid sent it.

use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, FrameReader, FrameWriter, Link, Notices, Reach, Receiver,
    Result, Sender, Technique, WhenFull,
};

pub mod signal;

use signal::{Peer, Reader, Writer};

/// What two signals are and can do as a channel.
pub const TECHNIQUE: Technique = Technique {
    name: "signal",
    summary: "SIGUSR1 is a 0 and SIGUSR2 is a 1: a byte stream, a bit at a time, each acknowledged",
    chapter: Chapter::Signal,
    kernel_object: "a process's set of pending signals, one bit for each, found by its pid",
    carries: Carries::Bytes,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: 4096,
    payload_limit: Some(4096),
    endpoint: Endpoint::Pid,
    options: &[],
};

/// Waits for a receiver.
///
/// # Errors
/// See [`Link::attach`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    signal::block().doing("pthread_sigmask")?;
    let link = Link::attach(args)?;
    // Not the pid in the file: the lock tells the pid of a process that lives, and its pidfd is held already.
    let (pid, pidfd) = link.receiver()?;
    Ok(FrameWriter::new(link, Writer::new(Peer::new(pid, pidfd))).slow())
}

/// Makes the pid file; the first `recv` waits for the sender's first bit.
///
/// # Errors
/// See [`Link::claim`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    // Before anybody can find this process: a SIGUSR1 that is not blocked would end it.
    signal::block().doing("pthread_sigmask")?;
    let link = Link::claim_pid_file(args)?;
    let find = link.find_sender();
    // A bit counts when it comes from the process that has attached; everybody else's are noise.
    let peer = move |from| {
        let sender = find()?.filter(|(pid, _)| *pid == from);
        Ok(sender.and_then(|(pid, pidfd)| Some(Peer::new(pid, pidfd?))))
    };
    Ok(FrameReader::new(link, move || Reader::accept(&peer)).slow())
}
