//! Three kinds of counters around slots: sem_wait(3) and sem_post(3), semop(2), and read(2) and write(2) on an
//! eventfd(2).
#![expect(unsafe_code, reason = "semaphores have no safe wrapper")]

use std::hint::spin_loop;
use std::io;

use common::{Context, Result};
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::slot::{Counters, Reader, Which, Writer, ends};
use crate::control::Shared;
use crate::results::Wait;
use crate::source::Setup;

/// A textbook's buffer. The techniques have more slots, as `pipe` has a larger pipe: that is for the ratio to show.
const SLOTS: u32 = 8;

/// Unnamed POSIX semaphores in shared memory; a name makes no difference once they are open.
pub struct Posix {
    memory: Shared,
    wait: Wait,
}

/// Two POSIX semaphores.
pub fn posix_sem(setup: &Setup<'_>) -> Result<(Writer<Posix>, Reader<Posix>)> {
    let memory = Shared::new(2 * size_of::<libc::sem_t>()).doing("mmap")?;
    let counters = Posix { memory, wait: setup.wait };
    for (which, value) in [(Which::Free, SLOTS), (Which::Full, 0)] {
        // SAFETY: there is room for two of them, and nobody uses this one yet.
        check(unsafe { libc::sem_init(counters.get(which), 1, value) }).doing("sem_init")?;
    }
    ends(setup, SLOTS as usize, counters)
}

impl Posix {
    fn get(&self, which: Which) -> *mut libc::sem_t {
        // SAFETY: there is room for two of them.
        unsafe { self.memory.as_ptr().cast::<libc::sem_t>().add(which as usize) }
    }
}

impl Counters for Posix {
    fn take(&self, which: Which) -> io::Result<()> {
        let sem = self.get(which);
        match self.wait {
            // SAFETY: it was initialised, and lives as long as `self`.
            Wait::Block => check(unsafe { libc::sem_wait(sem) }),
            Wait::Spin => {
                // SAFETY: as above.
                while let Err(error) = check(unsafe { libc::sem_trywait(sem) }) {
                    would_block(error)?;
                }
                Ok(())
            }
        }
    }

    fn add(&self, which: Which) -> io::Result<()> {
        // SAFETY: it was initialised, and lives as long as `self`.
        check(unsafe { libc::sem_post(self.get(which)) })
    }
}

/// A set of two System V semaphores.
pub struct SystemV {
    id: i32,
    flags: i16,
}

/// A set without a key, and one slot, as in the technique.
pub fn sysv_sem(setup: &Setup<'_>) -> Result<(Writer<SystemV>, Reader<SystemV>)> {
    // SAFETY: the call takes three integers and touches no memory.
    let id = unsafe { libc::semget(libc::IPC_PRIVATE, 2, 0o600) };
    check(id).doing("semget")?;
    setup.undo.borrow_mut().push(Box::new(move || {
        // SAFETY: IPC_RMID takes no structure.
        unsafe { libc::semctl(id, 0, libc::IPC_RMID) };
    }));
    let flags = if setup.wait == Wait::Spin { libc::IPC_NOWAIT as i16 } else { 0 };
    let counters = SystemV { id, flags };
    // New ones are 0.
    counters.add(Which::Free).doing("semop")?;
    ends(setup, 1, counters)
}

impl SystemV {
    fn change(&self, which: Which, by: i16, flags: i16) -> io::Result<()> {
        let mut change = libc::sembuf { sem_num: which as u16, sem_op: by, sem_flg: flags };
        // SAFETY: it is one operation.
        check(unsafe { libc::semop(self.id, &raw mut change, 1) })
    }
}

impl Counters for SystemV {
    fn take(&self, which: Which) -> io::Result<()> {
        while let Err(error) = self.change(which, -1, self.flags) {
            would_block(error)?;
        }
        Ok(())
    }

    fn add(&self, which: Which) -> io::Result<()> {
        self.change(which, 1, 0)
    }
}

/// Two eventfds.
pub type EventFds = [EventFd; 2];

impl Counters for EventFds {
    fn take(&self, which: Which) -> io::Result<()> {
        while let Err(error) = self[which as usize].read() {
            would_block(error.into())?;
        }
        Ok(())
    }

    fn add(&self, which: Which) -> io::Result<()> {
        self[which as usize].write(1)?;
        Ok(())
    }
}

/// Slots between two eventfds.
pub fn eventfd(setup: &Setup<'_>) -> Result<(Writer<EventFds>, Reader<EventFds>)> {
    ends(setup, SLOTS as usize, eventfds(setup.wait, SLOTS)?)
}

/// Two eventfds that count: so many free slots, no full one.
pub fn eventfds(wait: Wait, free: u32) -> Result<EventFds> {
    let mut flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_SEMAPHORE;
    if wait == Wait::Spin {
        flags |= EfdFlags::EFD_NONBLOCK;
    }
    let make = |value| EventFd::from_value_and_flags(value, flags).doing("eventfd");
    Ok([make(free)?, make(0)?])
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn would_block(error: io::Error) -> io::Result<()> {
    if error.kind() != io::ErrorKind::WouldBlock {
        return Err(error);
    }
    spin_loop();
    Ok(())
}
