//! A mutex, two condition variables and slots in shared memory: pthread_mutex_lock(3), pthread_cond_wait(3).
#![expect(unsafe_code, reason = "mutexes between processes have no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;

use common::{Context, IoBuffer, Receiver, Result, Sender};

use super::slot::Slots;
use crate::control::Shared;
use crate::results::Wait;
use crate::source::Setup;

#[repr(C)]
struct Monitor {
    mutex: libc::pthread_mutex_t,
    filled: libc::pthread_cond_t,
    emptied: libc::pthread_cond_t,
    /// Slots that are full. Who has the mutex may touch it.
    full: usize,
}

/// A textbook's buffer; see `semaphore.rs`.
const SLOTS: usize = 8;

struct Buffer {
    memory: Shared,
    wait: Wait,
}

/// The writing end.
pub struct Writer {
    shared: Rc<Buffer>,
    slots: Slots,
}

/// The reading end.
pub struct Reader {
    shared: Rc<Buffer>,
    slots: Slots,
    buffer: IoBuffer,
}

/// What an end does with a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Fill,
    Empty,
}

/// A robust mutex, as the technique has, for what it costs to be one.
pub fn robust_mutex(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let memory = Shared::new(size_of::<Monitor>()).doing("mmap")?;
    let shared = Rc::new(Buffer { memory, wait: setup.wait });
    shared.init().doing("pthread_mutex_init")?;
    let slots = Slots::new(setup, SLOTS)?;
    let reader = Reader { shared: Rc::clone(&shared), slots: slots.other(), buffer: IoBuffer::new(setup.size) };
    Ok((Writer { shared, slots }, reader))
}

impl Buffer {
    fn monitor(&self) -> *mut Monitor {
        self.memory.as_ptr().cast()
    }

    fn init(&self) -> io::Result<()> {
        let monitor = self.monitor();
        let mut mutex = MaybeUninit::uninit();
        let mut cond = MaybeUninit::uninit();
        #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one initialisation, with one argument for all of it")]
        // SAFETY: the attributes are initialised before they are used, and the monitor, which has room for all three,
        // is used by nobody yet.
        unsafe {
            check(libc::pthread_mutexattr_init(mutex.as_mut_ptr()))?;
            check(libc::pthread_mutexattr_setpshared(mutex.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED))?;
            check(libc::pthread_mutexattr_setrobust(mutex.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST))?;
            check(libc::pthread_mutex_init(&raw mut (*monitor).mutex, mutex.as_ptr()))?;
            check(libc::pthread_condattr_init(cond.as_mut_ptr()))?;
            check(libc::pthread_condattr_setpshared(cond.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED))?;
            check(libc::pthread_cond_init(&raw mut (*monitor).filled, cond.as_ptr()))?;
            check(libc::pthread_cond_init(&raw mut (*monitor).emptied, cond.as_ptr()))
        }
    }

    /// Waits until there is a slot for `turn`, does `work` with it, and tells the other end.
    fn turn(&self, turn: Turn, work: impl FnOnce()) -> io::Result<()> {
        let monitor = self.monitor();
        #[expect(
            clippy::multiple_unsafe_ops_per_block,
            reason = "one critical section, with one argument for all of it"
        )]
        // SAFETY: all three were initialised and live as long as `self`; `full` is touched only by who has the mutex.
        unsafe {
            let mutex = &raw mut (*monitor).mutex;
            let full = &raw mut (*monitor).full;
            let (none, come, gone) = match turn {
                Turn::Fill => (SLOTS, &raw mut (*monitor).emptied, &raw mut (*monitor).filled),
                Turn::Empty => (0, &raw mut (*monitor).filled, &raw mut (*monitor).emptied),
            };
            check(libc::pthread_mutex_lock(mutex))?;
            while full.read() == none {
                match self.wait {
                    Wait::Block => check(libc::pthread_cond_wait(come, mutex))?,
                    Wait::Spin => {
                        check(libc::pthread_mutex_unlock(mutex))?;
                        std::hint::spin_loop();
                        check(libc::pthread_mutex_lock(mutex))?;
                    }
                }
            }
            work();
            match turn {
                Turn::Fill => full.write(full.read() + 1),
                Turn::Empty => full.write(full.read() - 1),
            }
            if self.wait == Wait::Block {
                check(libc::pthread_cond_signal(gone))?;
            }
            check(libc::pthread_mutex_unlock(mutex))
        }
    }
}

impl Sender for Writer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.shared.turn(Turn::Fill, || self.slots.fill(message)).doing("pthread_cond_wait")
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Reader {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        self.shared.turn(Turn::Empty, || self.slots.empty(&mut self.buffer)).doing("pthread_cond_wait")?;
        Ok(Some(&self.buffer))
    }
}

fn check(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}
