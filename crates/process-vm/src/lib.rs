//! How reading another process's memory keeps the contract: a message is one offer on a control socket, and handed
//! over when the receiver has answered it. The socket's end of file and `EPIPE` tell of a dead peer.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::{fs, process};

use common::{
    Args, Carries, Chapter, Context, Delivery, Door, Endpoint, Error, IoBuffer, Link, Notices, Reach, Receiver, Result,
    Sender, Technique, WhenFull,
};

pub mod process_vm;

use process_vm::{MAX_MESSAGE, Offer, Reader, Writer};

/// What reading another process's memory is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "process-vm",
    summary: "the receiver reads messages out of the sender's memory: one copy, straight between two processes",
    chapter: Chapter::More,
    kernel_object: "nothing of the message, only the sockets that tell where it is",
    carries: Carries::Messages,
    reach: Reach::Host,
    delivery: Delivery::Reliable,
    notices: Notices::Both,
    when_full: WhenFull::Blocks,
    max_message: MAX_MESSAGE,
    payload_limit: None,
    endpoint: Endpoint::Path,
    options: &[],
};

/// Waits for a receiver, connects to its socket and lets it read this process's memory.
///
/// # Errors
/// See [`Link::connect`].
pub fn sender(args: &Args) -> Result<impl Sender> {
    let (link, socket) = Link::connect(args)?;
    let writer = Writer::new(socket).doing("prctl(PR_SET_PTRACER)")?;
    Ok(ReadSender { writer, link })
}

/// Listens; the first `recv` waits for the sender to connect.
///
/// # Errors
/// See [`Link::listen`].
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let (link, door) = Link::listen(args)?;
    // Its pages come when they are written to, and then stay.
    let buffer = IoBuffer::new(MAX_MESSAGE);
    Ok(ReadReceiver { reader: None, door, buffer, dumpable: true, finished: false, link })
}

struct ReadSender {
    writer: Writer,
    link: Link,
}

impl Sender for ReadSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > MAX_MESSAGE {
            return Err(Error::too_long(message.len(), MAX_MESSAGE));
        }
        let mut offer: Option<Offer> = None;
        // One wait for both calls. A second one would begin with whether the receiver lives; and one that may not read has
        // perhaps said so and ended by then.
        let taken = self.link.wait("recv", || match &mut offer {
            Some(offer) => offer.taken(),
            none => none.insert(self.writer.offer(message)?).taken(),
        });
        taken.map_err(|error| explain(error, is_dumpable(process::id() as i32)))
    }

    fn finish(self) -> Result<()> {
        self.link.wait("send", || self.writer.end())
    }
}

struct ReadReceiver {
    reader: Option<Reader>,
    door: Door,
    buffer: IoBuffer,
    /// May the sender be read at all? Asked while it is there.
    dumpable: bool,
    finished: bool,
    link: Link,
}

impl Receiver for ReadReceiver {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => {
                let reader = self.link.wait("accept", || Reader::new(self.door.accept()?))?;
                self.dumpable = is_dumpable(reader.sender());
                none.insert(reader)
            }
        };
        let taken = self.link.wait("process_vm_readv", || reader.take(&mut self.buffer));
        let taken = taken.map_err(|error| explain(error, self.dumpable))?;
        self.finished = taken.is_none();
        Ok(taken.map(|len| &self.buffer[..len]))
    }
}

/// Why the sender's memory may not be read, and what to do about it.
fn explain(error: Error, dumpable: bool) -> Error {
    let Error::System { source, .. } = &error else { return error };
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let why = match (source.kind(), scope.trim()) {
        (ErrorKind::Unsupported, _) => "this kernel has no process_vm_readv(2), or a container hides it",
        (ErrorKind::PermissionDenied, _) if !dumpable => {
            return error.with_hint("the sender is not dumpable, see prctl(2): may its program's file be read?");
        }
        (ErrorKind::PermissionDenied, "2") => "kernel.yama.ptrace_scope is 2: sudo sysctl kernel.yama.ptrace_scope=1",
        (ErrorKind::PermissionDenied, "3") => "kernel.yama.ptrace_scope is 3, and stays so until the next boot",
        (ErrorKind::PermissionDenied, _) => {
            "process_vm_readv(2) is not permitted, perhaps by a container: docker run --cap-add SYS_PTRACE"
        }
        _ => return error,
    };
    Error::Unsupported(why.to_owned())
}

/// Where a process is not dumpable, what /proc knows of it belongs to root (proc(5)).
fn is_dumpable(pid: i32) -> bool {
    let owner = |path: String| -> io::Result<u32> { Ok(fs::metadata(path)?.uid()) };
    match (owner(format!("/proc/{pid}")), owner(format!("/proc/{pid}/mem"))) {
        (Ok(process), Ok(memory)) => process == memory,
        _ => true,
    }
}
