//! A mapped file: a file's pages in the address spaces of two processes.
//!
//! mmap(2) with MAP_SHARED makes the pages of a file, as the kernel has them in its page cache, part of a process's
//! memory. Two processes that map the same file have the same pages, so it is shared memory; and since the pages
//! are a file's, what has been stored is still there when both processes are gone, however they ended. The kernel
//! writes the pages to the disk when it sees fit, or when msync(2) demands it.
//!
//! ```text
//! writer  copy ─▶ ┌ header ─┬─── ring of 4 MiB ─────┐ ─▶ copy  reader
//!                 └─────────┴───────────────────────┘
//!                    pages of the file's ── sometimes, or by msync ──▶ disk
//! ```
//!
//! The ring in it is the crate `ring`.
//!
//! Manual pages: mmap(2), msync(2), open(2), posix_fallocate(3).
#![expect(unsafe_code, reason = "mapping a file and promising the ring that the memory is there")]

use std::ffi::c_void;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::fcntl::{OFlag, posix_fallocate};
use nix::sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap};
use nix::unistd::geteuid;
pub use ring::LONGEST;
use ring::{CELL, Memory};

/// Cells in the ring, which have 4 MiB together. More than a core's own cache holds, for where both ends are busy, what has
/// been pushed out to the cache that the cores share is read faster than what must be fetched from another core's own.
pub const CELLS: u32 = (4 << 20) / CELL as u32;

const SIZE: NonZeroUsize = NonZeroUsize::new(ring::size(CELLS)).unwrap();

/// The reading end, which makes the file.
pub type Reader = ring::Reader<Mapping>;

/// Makes the file, for this user alone, and the ring in it.
///
/// # Errors
/// `EEXIST` where the path exists, whatever it is; `ENOSPC` where the disk is full; `ENODEV` where the file system
/// cannot map files.
pub fn create(path: &Path) -> io::Result<Reader> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    let make = || {
        // Blocks for all pages now, or ENOSPC. A file that was only made long, by ftruncate(2), would have holes, and
        // on a full disk the first touch of one is SIGBUS.
        posix_fallocate(&file, 0, SIZE.get() as i64)?;
        Ok(Reader::create(Mapping::new(&file)?, CELLS))
    };
    make().inspect_err(|_| drop(fs::remove_file(path)))
}

/// The writing end, which opens the file that a reader has made.
pub struct Writer {
    ring: ring::Writer<Mapping>,
    sync: bool,
}

impl Writer {
    /// Opens the file. With `sync`, every message waits until it is on the disk.
    ///
    /// # Errors
    /// `ENOENT`; `ELOOP` where it is a link; `EPERM` where it is another user's; `EAGAIN` while it is half-made;
    /// `InvalidData` where it is something else.
    pub fn open(path: &Path, sync: bool) -> io::Result<Writer> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK; // neither through a link nor waiting at a FIFO
        let file = OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path)?;
        let meta = file.metadata()?;
        if meta.uid() != geteuid().as_raw() {
            return Err(Errno::EPERM.into());
        }
        match meta.len() {
            0 => Err(Errno::EAGAIN.into()),
            len if len == SIZE.get() as u64 && meta.is_file() => {
                Ok(Writer { ring: ring::Writer::open(Mapping::new(&file)?, CELLS)?, sync })
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("not a file of {SIZE} bytes"))),
        }
    }

    /// Never sleeps, but looks again and again.
    pub fn spin(&mut self) {
        self.ring.spin();
    }

    /// Puts a message, or as much of it as there is room for: see [`ring::Writer::put`]. With `sync` it waits until the pages
    /// are on the disk (msync(2)). The other process sees them without that, and a crash of either process loses none;
    /// it is the machine's own crash that this is for.
    ///
    /// # Errors
    /// As there; `EIO` from the disk.
    #[inline]
    pub fn put(&mut self, message: &[u8]) -> io::Result<usize> {
        let len = self.ring.put(message)?;
        self.sync()?;
        Ok(len)
    }

    /// Puts all of a message.
    ///
    /// # Errors
    /// As [`put`](Self::put). After any of them it is not known how much has been put.
    pub fn put_all(&mut self, message: &[u8]) -> io::Result<()> {
        self.ring.put_all(message)?;
        self.sync()
    }

    /// Says that there will be no more messages, as [`put`](Self::put) puts one.
    ///
    /// # Errors
    /// As there.
    pub fn end(&mut self) -> io::Result<()> {
        self.ring.end()?;
        self.sync()
    }

    #[inline]
    fn sync(&self) -> io::Result<()> {
        if self.sync { self.ring.memory().sync() } else { Ok(()) }
    }
}

/// Removes the file. The pages live on until both processes have unmapped them.
///
/// # Errors
/// `EEXIST` where it is not such a file as [`create`] makes; `ENOENT`.
pub fn remove(path: &Path) -> io::Result<()> {
    if !is_ours(&fs::symlink_metadata(path)?) {
        return Err(Errno::EEXIST.into());
    }
    fs::remove_file(path)
}

/// One that was killed while it was made is empty.
fn is_ours(meta: &Metadata) -> bool {
    let size = meta.len() == SIZE.get() as u64 || meta.len() == 0;
    meta.is_file() && size && meta.uid() == geteuid().as_raw() && meta.mode() & 0o7777 == 0o600
}

/// The file, mapped. The mapping needs no descriptor: it lives on when the file is closed.
pub struct Mapping(NonNull<c_void>);

impl Mapping {
    fn new(file: &File) -> io::Result<Mapping> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // MAP_SHARED: with MAP_PRIVATE each process would write into copies of its own (copy-on-write).
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        Ok(Mapping(unsafe { mmap(None, SIZE, protection, MapFlags::MAP_SHARED, file, 0) }?))
    }

    fn sync(&self) -> io::Result<()> {
        // SAFETY: the mapping has SIZE bytes and lives as long as `self`; msync reads it only.
        Ok(unsafe { msync(self.0, SIZE.get(), MsFlags::MS_SYNC) }?)
    }
}

// SAFETY: `new` maps SIZE bytes here, for reading and writing, page-aligned, until the drop. (Whoever may write the file
// may also truncate it, and then every touch is SIGBUS: that is why it is this user's alone.)
unsafe impl Memory for Mapping {
    fn start(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    fn size(&self) -> usize {
        SIZE.get()
    }
}

// SAFETY: the mapping belongs to the whole process, not to the thread that has made it.
unsafe impl Send for Mapping {}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped so many bytes here, and nothing refers to them after this.
        let _ = unsafe { munmap(self.0, SIZE.get()) };
    }
}
