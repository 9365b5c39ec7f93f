//! A mailbox: one slot of shared memory, and two System V semaphores that say whose turn it is.
//!
//! System V semaphores come in sets, and semop(2) changes several of one set in a single step, or none. Each change may
//! be marked `SEM_UNDO`: the kernel then notes how to reverse it (the process's `semadj`), and does so when the
//! process ends, for whatever reason. Here that makes a hand-over a transaction:
//!
//! ```text
//!                                              free  full  undone if the producer dies now
//!                                                1     0
//! semop  free −1 UNDO       wait, take it        0     0   free +1
//! copy in                                        0     0   free +1: nobody sees half a record
//! semop  free +1 UNDO  ┐    forget the undo      ┊     ┊
//!        free −1       ├    and keep it          ┊     ┊
//!        full +1       ┘    hand it over         0     1   nothing: what is handed over stays so
//! ```
//!
//! The consumer does the same the other way round: if it dies while it copies out, the record is still there for the next.
//!
//! Manual pages: sysvipc(7), semget(2), semop(2), semctl(2), shmget(2), ipcs(1).
#![expect(unsafe_code, reason = "System V semaphores have no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;

use libc::{SEM_UNDO, c_int, sembuf};
use nix::errno::Errno;
use nix::unistd::geteuid;
pub use slots::MAX;

use super::segment::{Attached, Segment, check, gone};

/// The semaphore that is 1 while the slot may be filled.
pub const FREE: u16 = 0;
/// The semaphore that is 1 while the slot may be emptied.
pub const FULL: u16 = 1;

const COUNT: c_int = 2;

/// One end of a mailbox. Any number of processes may put and take.
pub struct Mailbox {
    semaphores: Set,
    segment: Segment,
    memory: Attached,
}

impl Mailbox {
    /// Makes the segment and the semaphores for this user alone: both or none.
    ///
    /// # Errors
    /// `EEXIST` where the key is taken; `ENOSPC` where one of the system's limits is reached (`ipcs -l`).
    pub fn create(key: i32) -> io::Result<Mailbox> {
        let segment = Segment::create(key)?;
        let rest = || Ok(Mailbox { memory: segment.attach()?, semaphores: Set::create(key)?, segment });
        rest().inspect_err(|_| drop(segment.remove()))
    }

    /// Opens the mailbox that another process has made.
    ///
    /// # Errors
    /// `ENOENT`; `EAGAIN` while it is half-made; `EPERM` or `EACCES` where it is another user's; `EEXIST` where it is
    /// something else.
    pub fn open(key: i32) -> io::Result<Mailbox> {
        let semaphores = Set::find(key)?;
        // Between semget and the first semop the counts are not what they should be, and an opener that came in between
        // would go by them. The time of the last semop tells: before the first one it is 0.
        if semaphores.stat()?.sem_otime == 0 {
            return Err(Errno::EAGAIN.into());
        }
        let segment = Segment::find(key)?;
        Ok(Mailbox { memory: segment.attach()?, semaphores, segment })
    }

    /// Lets the segment go with the last process that has it attached, however that one ends. Nobody can open the
    /// mailbox any more.
    ///
    /// # Errors
    /// `EIDRM` where it has been removed.
    pub fn close(&self) -> io::Result<()> {
        self.segment.remove()
    }

    /// Never sleeps: `put` and `take` fail with `EAGAIN` instead. Good on a core of one's own, and a waste of everybody
    /// else's.
    pub fn spin(&mut self) {
        self.semaphores.wait = libc::IPC_NOWAIT;
    }

    /// Puts a record into the slot; sleeps while it is not free.
    ///
    /// # Errors
    /// `EINTR` after a signal, with nothing put; `EAGAIN` after [`spin`](Self::spin); `EIDRM` where the semaphores have been removed; `EMSGSIZE` above [`MAX`].
    pub fn put(&self, record: &[u8]) -> io::Result<()> {
        slots::check(record)?;
        self.semaphores.take(FREE)?;
        self.memory.slot().put(0, record);
        self.semaphores.pass_on(FREE, FULL)
    }

    /// Says that no record will follow.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_end(&self) -> io::Result<()> {
        self.semaphores.take(FREE)?;
        self.memory.slot().put_end(0);
        self.semaphores.pass_on(FREE, FULL)
    }

    /// Takes the record out of the slot and returns its length, or `None` for the end; sleeps while it is not full.
    ///
    /// # Errors
    /// `EINTR` after a signal, with nothing taken; `EAGAIN` after [`spin`](Self::spin); `EIDRM` where the semaphores have been removed; `InvalidData` for a
    /// length that no record can have, and then the slot stays taken until this process ends.
    pub fn take(&self, record: &mut [u8; MAX]) -> io::Result<Option<usize>> {
        self.semaphores.take(FULL)?;
        let taken = self.memory.slot().take(0, record)?;
        self.semaphores.pass_on(FULL, FREE)?;
        Ok(taken)
    }
}

/// Removes the semaphores, which wakes those who wait for them (`EIDRM`), and the segment, which lives on until the last
/// process has detached it.
///
/// # Errors
/// `EPERM` or `EACCES` where one of them is another user's, and `EEXIST` where it is no part of a mailbox: then nothing is
/// removed. `ENOENT` where neither is there.
pub fn remove(key: i32) -> io::Result<()> {
    let (semaphores, segment) = (found(Set::find(key))?, found(Segment::find(key))?);
    if semaphores.is_none() && segment.is_none() {
        return Err(Errno::ENOENT.into());
    }
    segment.map_or(Ok(()), Segment::remove)?;
    semaphores.map_or(Ok(()), Set::remove)
}

/// A run that was killed may have made only one of the two, and one that ends may have removed one of them just now.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::EIDRM) => Ok(None),
        other => other.map(Some),
    }
}

/// A set of semaphores.
struct Set {
    id: c_int,
    /// 0, or `IPC_NOWAIT` where nothing shall sleep.
    wait: c_int,
}

impl Set {
    fn create(key: i32) -> io::Result<Set> {
        // IPC_EXCL: without it one would get whatever has this key, with the counts of a dead run or of another
        // user's making.
        // SAFETY: the call takes three numbers and touches no memory.
        let id = check(unsafe { libc::semget(key, COUNT, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) })?;
        let set = Set { id, wait: 0 };
        let rest = || {
            // Linux makes them 0, POSIX leaves it open.
            // SAFETY: SETALL reads as many numbers as there are semaphores.
            check(unsafe { libc::semctl(set.id, 0, libc::SETALL, [0_u16; COUNT as usize].as_ptr()) })?;
            // Not by SETALL: only semop sets sem_otime, for which `open` waits.
            set.op(&mut [add(FREE, 1, 0)])
        };
        match rest() {
            Ok(()) => Ok(set),
            Err(error) => set.remove().and(Err(error)),
        }
    }

    /// Finds a set of this user's making.
    fn find(key: i32) -> io::Result<Set> {
        // SAFETY: as in `create`.
        let set = Set { id: check(unsafe { libc::semget(key, 0, 0) })?, wait: 0 };
        let stat = set.stat()?;
        // Not uid: whoever has made a set may give it away, and keeps his right to it.
        if stat.sem_perm.cuid != geteuid().as_raw() {
            return Err(Errno::EPERM.into());
        }
        if stat.sem_nsems == COUNT as _ { Ok(set) } else { Err(Errno::EEXIST.into()) }
    }

    /// Waits until the count is 1 and makes it 0. If this process ends before it has passed the slot on, the kernel makes
    /// it 1 again.
    fn take(&self, count: u16) -> io::Result<()> {
        self.op(&mut [add(count, -1, SEM_UNDO | self.wait)])
    }

    /// Passes the slot on for good. The first change takes the undo back and gives the slot back with it, the second
    /// takes it again, without one. Nobody sees what is in between, for the three are one step.
    fn pass_on(&self, from: u16, to: u16) -> io::Result<()> {
        self.op(&mut [add(from, 1, SEM_UNDO), add(from, -1, 0), add(to, 1, 0)])
    }

    /// Makes all changes or none; sleeps until it can.
    fn op(&self, changes: &mut [sembuf]) -> io::Result<()> {
        // SAFETY: the kernel reads so many changes.
        check(unsafe { libc::semop(self.id, changes.as_mut_ptr(), changes.len()) }).map(drop).map_err(gone)
    }

    fn stat(&self) -> io::Result<libc::semid_ds> {
        let mut stat = MaybeUninit::<libc::semid_ds>::zeroed();
        // SAFETY: `stat` has room for what IPC_STAT writes.
        check(unsafe { libc::semctl(self.id, 0, libc::IPC_STAT, stat.as_mut_ptr()) }).map_err(gone)?;
        // SAFETY: the call has filled it in, and it is made of numbers.
        Ok(unsafe { stat.assume_init() })
    }

    fn remove(self) -> io::Result<()> {
        // SAFETY: IPC_RMID takes no argument.
        check(unsafe { libc::semctl(self.id, 0, libc::IPC_RMID) }).map(drop).map_err(gone)
    }
}

/// One change of one semaphore.
fn add(semaphore: u16, by: i16, flags: c_int) -> sembuf {
    sembuf { sem_num: semaphore, sem_op: by, sem_flg: flags as i16 }
}
