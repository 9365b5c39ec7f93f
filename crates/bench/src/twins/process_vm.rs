//! process_vm_writev(2): the writer copies straight into the reader's buffer. Two eventfds say whose turn it is.
#![expect(
    unsafe_code,
    reason = "the kernel writes into memory of this process that no reference may lead to meanwhile"
)]

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicI32, Ordering};

use common::{Context, Receiver, Result, Sender};
use nix::sys::uio::{RemoteIoVec, process_vm_writev};
use nix::unistd::Pid;

use super::semaphore::{EventFds, eventfds};
use super::slot::{Counters, Which};
use crate::control::Shared;
use crate::source::Setup;

/// What both ends know.
struct Meeting {
    /// Says who the reader is: nobody knows before the fork(2).
    memory: Shared,
    /// `free`: the reader waits for its buffer to be filled. `full`: it is.
    counters: EventFds,
    /// The reader's buffer. A forked process has it at the same address. It is never given back: the processes that
    /// use it end soon.
    buffer: *mut u8,
    size: usize,
}

/// The writing end.
pub struct Writer(Rc<Meeting>);

/// The reading end.
pub struct Reader {
    meeting: Rc<Meeting>,
    known: bool,
}

/// Two eventfds and a buffer.
pub fn process_vm(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let memory = Shared::new(size_of::<AtomicI32>()).doing("mmap")?;
    let counters = eventfds(setup.wait, 0)?;
    let buffer = Box::leak(vec![0; setup.size].into_boxed_slice()).as_mut_ptr();
    let meeting = Rc::new(Meeting { memory, counters, buffer, size: setup.size });
    Ok((Writer(Rc::clone(&meeting)), Reader { meeting, known: false }))
}

impl Meeting {
    fn reader(&self) -> &AtomicI32 {
        // SAFETY: the mapping is large enough, aligned, zeroed, and lives as long as `self`.
        unsafe { &*self.memory.as_ptr().cast() }
    }
}

impl Sender for Writer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let Meeting { counters, buffer, size, .. } = &*self.0;
        assert_eq!(message.len(), *size, "the buffer has one size");
        counters.take(Which::Free).doing("read")?;
        let reader = Pid::from_raw(self.0.reader().load(Ordering::Acquire));
        let there = RemoteIoVec { base: *buffer as usize, len: message.len() };
        match process_vm_writev(reader, &[IoSlice::new(message)], &[there]).doing("process_vm_writev")? {
            len if len == message.len() => counters.add(Which::Full).doing("write"),
            _ => Err(io::Error::from(io::ErrorKind::WriteZero)).doing("process_vm_writev"),
        }
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Reader {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let meeting = &*self.meeting;
        if !self.known {
            // Where Yama guards ptrace(2), a process writes into its descendants only, unless they agree.
            // SAFETY: the call takes integers; where there is no Yama it fails, and nothing is needed.
            unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
            meeting.reader().store(Pid::this().as_raw(), Ordering::Release);
            self.known = true;
        }
        meeting.counters.add(Which::Free).doing("write")?;
        meeting.counters.take(Which::Full).doing("read")?;
        // SAFETY: the buffer has `size` initialised bytes, and the writer leaves it alone until the next call.
        Ok(Some(unsafe { slice::from_raw_parts(meeting.buffer, meeting.size) }))
    }
}
