//! mq_send(3) and mq_receive(3); msgsnd(2) and msgrcv(2).
#![expect(unsafe_code, reason = "the calls of System V have no safe wrapper")]

use std::hint::spin_loop;
use std::rc::Rc;
use std::{io, process};

use common::{Context, IoBuffer, Receiver, Result, Sender};
use nix::mqueue::{MQ_OFlag, MqAttr, MqdT, mq_close, mq_open, mq_receive, mq_send, mq_unlink};
use nix::sys::stat::Mode;

use crate::results::Wait;
use crate::source::Setup;

/// As many as the technique's queue has room for.
const CAPACITY: i64 = 10;

/// Either end of a POSIX message queue. The child closes it by ending; so does this process, by dropping both.
struct Posix(Option<MqdT>);

/// The sending end of a POSIX message queue.
pub struct PosixSending(Rc<Posix>);

/// The receiving end of a POSIX message queue.
pub struct PosixReceiving {
    queue: Rc<Posix>,
    buffer: IoBuffer,
}

/// A queue whose name is gone as soon as it is open.
pub fn posix_mq(setup: &Setup<'_>) -> Result<(PosixSending, PosixReceiving)> {
    let name = format!("/ipc-lab-{}-bench-twin", process::id());
    let mut flags = MQ_OFlag::O_RDWR | MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_CLOEXEC;
    if setup.wait == Wait::Spin {
        flags |= MQ_OFlag::O_NONBLOCK;
    }
    let sizes = MqAttr::new(0, CAPACITY, setup.size as i64, 0);
    let queue = mq_open(name.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR, Some(&sizes)).doing("mq_open")?;
    let queue = Rc::new(Posix(Some(queue)));
    mq_unlink(name.as_str()).doing("mq_unlink")?;
    let receiving = PosixReceiving { queue: Rc::clone(&queue), buffer: IoBuffer::new(setup.size) };
    Ok((PosixSending(queue), receiving))
}

impl Posix {
    fn get(&self) -> nix::Result<&MqdT> {
        self.0.as_ref().ok_or(nix::Error::EBADF)
    }
}

impl Drop for Posix {
    fn drop(&mut self) {
        self.0.take().map(mq_close);
    }
}

impl Sender for PosixSending {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        loop {
            match mq_send(self.0.get().doing("mq_send")?, message, 0) {
                Err(nix::Error::EAGAIN) => spin_loop(),
                other => return other.doing("mq_send"),
            }
        }
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for PosixReceiving {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let mut priority = 0;
        loop {
            match mq_receive(self.queue.get().doing("mq_receive")?, &mut self.buffer, &mut priority) {
                Err(nix::Error::EAGAIN) => spin_loop(),
                other => return other.doing("mq_receive").map(|len| Some(&self.buffer[..len])),
            }
        }
    }
}

/// The type, and behind it the message: what msgsnd(2) takes.
#[repr(C)]
struct Record<const LEN: usize> {
    kind: libc::c_long,
    bytes: [u8; LEN],
}

/// As large as `kernel.msgmax` allows by default.
type Largest = Record<8192>;

/// Either end of a System V message queue.
pub struct SystemV {
    id: i32,
    flags: i32,
    size: usize,
    record: Box<Largest>,
}

/// A queue without a key.
pub fn sysv_mq(setup: &Setup<'_>) -> Result<(SystemV, SystemV)> {
    // SAFETY: the call takes two integers and touches no memory.
    let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
    if id < 0 {
        return Err(io::Error::last_os_error()).doing("msgget");
    }
    setup.undo.borrow_mut().push(Box::new(move || {
        // SAFETY: IPC_RMID takes no structure.
        unsafe { libc::msgctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
    }));
    let flags = if setup.wait == Wait::Spin { libc::IPC_NOWAIT } else { 0 };
    let end = || SystemV { id, flags, size: setup.size, record: Box::new(Record { kind: 1, bytes: [0; _] }) };
    Ok((end(), end()))
}

impl Sender for SystemV {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.record.bytes[..message.len()].copy_from_slice(message);
        let record = (&raw const *self.record).cast();
        // SAFETY: behind the type there are more bytes than a message has.
        while unsafe { libc::msgsnd(self.id, record, message.len(), self.flags) } < 0 {
            again(libc::EAGAIN).doing("msgsnd")?;
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for SystemV {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let record = (&raw mut *self.record).cast();
        loop {
            // SAFETY: behind the type there is room for `size` bytes.
            let len = unsafe { libc::msgrcv(self.id, record, self.size, 0, self.flags) };
            match usize::try_from(len) {
                Ok(len) => return Ok(Some(&self.record.bytes[..len])),
                Err(_) => again(libc::ENOMSG).doing("msgrcv")?,
            }
        }
    }
}

/// Is the last error only that it would have to wait?
fn again(number: i32) -> io::Result<()> {
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(number) => {
            spin_loop();
            Ok(())
        }
        error => Err(error),
    }
}
