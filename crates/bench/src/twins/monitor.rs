//! A mutex, two condition variables and one slot in shared memory: pthread_mutex_lock(3), pthread_cond_wait(3).
#![expect(unsafe_code, reason = "mutexes between processes have no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;

use common::{Context, Receiver, Result, Sender};

use crate::control::Shared;
use crate::results::Wait;
use crate::source::Setup;

#[repr(C)]
struct Monitor {
    mutex: libc::pthread_mutex_t,
    filled: libc::pthread_cond_t,
    emptied: libc::pthread_cond_t,
    full: bool,
}

/// The slot begins on a page of its own.
const SLOT: usize = 4096;
const _: () = assert!(size_of::<Monitor>() <= SLOT);

struct Buffer {
    memory: Shared,
    size: usize,
    wait: Wait,
}

/// The writing end.
pub struct Writer(Rc<Buffer>);

/// The reading end.
pub struct Reader {
    shared: Rc<Buffer>,
    buffer: Vec<u8>,
}

/// A robust mutex, as the technique has, for what it costs to be one.
pub fn robust_mutex(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let memory = Shared::new(SLOT + setup.size).doing("mmap")?;
    let shared = Rc::new(Buffer { memory, size: setup.size, wait: setup.wait });
    shared.init().doing("pthread_mutex_init")?;
    Ok((Writer(Rc::clone(&shared)), Reader { shared, buffer: vec![0; setup.size] }))
}

impl Buffer {
    fn monitor(&self) -> *mut Monitor {
        self.memory.as_ptr().cast()
    }

    fn slot(&self) -> *mut u8 {
        // SAFETY: the mapping has SLOT + size bytes.
        unsafe { self.memory.as_ptr().add(SLOT) }
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

    /// Does `work` on the slot once it is `full`, or empty, and says that it is the other now.
    fn turn(&self, full: bool, work: impl FnOnce(*mut u8)) -> io::Result<()> {
        let monitor = self.monitor();
        #[expect(
            clippy::multiple_unsafe_ops_per_block,
            reason = "one critical section, with one argument for all of it"
        )]
        // SAFETY: all three were initialised and live as long as `self`; `full` and the slot are touched only by who
        // has the mutex.
        unsafe {
            let (mutex, come, gone) = match full {
                true => (&raw mut (*monitor).mutex, &raw mut (*monitor).filled, &raw mut (*monitor).emptied),
                false => (&raw mut (*monitor).mutex, &raw mut (*monitor).emptied, &raw mut (*monitor).filled),
            };
            check(libc::pthread_mutex_lock(mutex))?;
            while (&raw const (*monitor).full).read_volatile() != full {
                match self.wait {
                    Wait::Block => check(libc::pthread_cond_wait(come, mutex))?,
                    Wait::Spin => {
                        check(libc::pthread_mutex_unlock(mutex))?;
                        std::hint::spin_loop();
                        check(libc::pthread_mutex_lock(mutex))?;
                    }
                }
            }
            work(self.slot());
            (&raw mut (*monitor).full).write_volatile(!full);
            if self.wait == Wait::Block {
                check(libc::pthread_cond_signal(gone))?;
            }
            check(libc::pthread_mutex_unlock(mutex))
        }
    }
}

impl Sender for Writer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        assert_eq!(message.len(), self.0.size, "the slot has one size");
        let fill = |slot: *mut u8| {
            // SAFETY: there is room for `size` bytes, and the caller has the mutex.
            unsafe { slot.copy_from_nonoverlapping(message.as_ptr(), message.len()) }
        };
        self.0.turn(false, fill).doing("pthread_cond_wait")
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Reader {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let buffer = &mut self.buffer;
        let empty = |slot: *mut u8| {
            // SAFETY: there are `size` bytes, and the caller has the mutex.
            unsafe { slot.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len()) }
        };
        self.shared.turn(true, empty).doing("pthread_cond_wait")?;
        Ok(Some(&self.buffer))
    }
}

fn check(error: i32) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}
