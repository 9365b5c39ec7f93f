//! One page of memory, in a mapping of its own.
#![expect(unsafe_code, reason = "mmap(2) deals in addresses")]

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

/// A page whose first four bytes are a variable.
pub struct Page {
    guarded: NonNull<u8>,
    size: usize,
}

impl Page {
    /// `MAP_PRIVATE`: after fork(2) each process has its own, or behaves as if. This is how all ordinary memory is mapped.
    pub fn private(value: u32) -> io::Result<Page> {
        Page::map(MapFlags::MAP_PRIVATE, value)
    }

    /// `MAP_SHARED`: after fork(2) both have the same.
    pub fn shared(value: u32) -> io::Result<Page> {
        Page::map(MapFlags::MAP_SHARED, value)
    }

    fn map(flags: MapFlags, value: u32) -> io::Result<Page> {
        let size = procfs::page_size() as usize;
        let whole = NonZeroUsize::new(3 * size).ok_or(Errno::EINVAL)?;
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let guarded = unsafe { mmap_anonymous(None, whole, ProtFlags::PROT_NONE, flags) }?.cast();
        let page = Page { guarded, size };
        // Between two pages without access: the kernel would merge it with a neighbour of the same kind, and
        // then smaps gives the figures of both together.
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: it is the middle one of the three pages that have just been mapped.
        unsafe { mprotect(page.start().cast(), size, access) }?;
        // Before the first write there is no frame behind it.
        page.write(value);
        Ok(page)
    }

    /// Where it is, in this process.
    pub fn address(&self) -> u64 {
        self.start().as_ptr() as u64
    }

    /// The variable.
    pub fn read(&self) -> u32 {
        self.variable().load(Ordering::SeqCst)
    }

    /// Sets the variable.
    pub fn write(&self, value: u32) {
        self.variable().store(value, Ordering::SeqCst);
    }

    fn start(&self) -> NonNull<u8> {
        // SAFETY: `map` has mapped three pages from here on.
        unsafe { self.guarded.add(self.size) }
    }

    fn variable(&self) -> &AtomicU32 {
        // SAFETY: a page's first bytes are aligned, mapped while `self` lives, and accessed as an atomic by all.
        unsafe { AtomicU32::from_ptr(self.start().as_ptr().cast()) }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: `map` has mapped so much here, and no reference to it outlives `self`.
        let _ = unsafe { munmap(self.guarded.cast(), 3 * self.size) };
    }
}
