//! Taking turns, for two channels between the same two processes that are in each other's way.
//!
//! Standard signals are: two pending ones of a kind are one, so an answer must not begin before the acknowledgement of
//! the question's last bit has been taken. Each end counts its sends in memory that both see.
#![expect(unsafe_code, reason = "memory that is shared across fork(2) is mapped and reached through a raw pointer")]

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sched::sched_yield;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// Zeroed memory that this process and those that it forks share.
pub struct Shared {
    start: NonNull<libc::c_void>,
    len: usize,
}

impl Shared {
    /// Maps `len` bytes.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(len: usize) -> io::Result<Shared> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let (access, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED);
        // SAFETY: a new mapping, where the kernel finds room, concerns nobody's memory.
        let start = unsafe { mmap_anonymous(None, size, access, flags) }?;
        Ok(Shared { start, len })
    }

    /// Maps the first `len` bytes of a file, which must have them.
    ///
    /// # Errors
    /// As mmap(2).
    pub fn of_file(file: &File, len: usize) -> io::Result<Shared> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: as in `new`.
        let start = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, file, 0) }?;
        Ok(Shared { start, len })
    }

    /// The beginning, aligned to a page.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr().cast()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: nothing that was borrowed from the mapping outlives it.
        let _ = unsafe { munmap(self.start, self.len) };
    }
}

/// One end's view of whose turn it is.
pub struct Turns {
    /// `None` where the ends are not in each other's way.
    shared: Option<Rc<Shared>>,
    mine: usize,
}

impl Turns {
    /// For two ends that have to take turns, if they `must`.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn pair(must: bool) -> io::Result<(Turns, Turns)> {
        let shared = must.then(|| Shared::new(2 * size_of::<AtomicU64>()).map(Rc::new)).transpose()?;
        Ok((Turns { shared: shared.clone(), mine: 0 }, Turns { shared, mine: 1 }))
    }

    /// Waits until `count` of the other end's sends have returned. It is a matter of microseconds, or somebody died;
    /// then this process is ended from outside.
    pub fn wait(&self, count: u64) {
        if let Some(theirs) = self.count(1 - self.mine) {
            while theirs.load(Ordering::Acquire) < count {
                let _ = sched_yield();
            }
        }
    }

    /// One more of this end's sends has returned.
    pub fn sent(&self) {
        if let Some(mine) = self.count(self.mine) {
            mine.fetch_add(1, Ordering::Release);
        }
    }

    fn count(&self, end: usize) -> Option<&AtomicU64> {
        let start = self.shared.as_ref()?.as_ptr().cast::<AtomicU64>();
        // SAFETY: there is room for two of them, aligned to a page, for as long as `self`; and an atomic may be shared
        // with another process that uses it as one.
        Some(unsafe { &*start.wrapping_add(end) })
    }
}
