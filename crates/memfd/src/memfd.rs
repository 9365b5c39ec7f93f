//! A sealed memfd: memory that nobody can change any more.
//!
//! memfd_create(2) makes a file that is nothing but memory, without a name. Seals (fcntl(2), `F_ADD_SEALS`) take
//! away for good, and from everybody, what could be done to it. So a process that is given one and finds the seals in
//! place can map it and read where it lies: nothing can change or vanish under its eyes.
//!
//! ```text
//! sender    memfd_create, write, F_ADD_SEALS ──▶ pages of memory ◀── F_GET_SEALS, lseek, mmap    receiver
//! ```
//!
//! How a descriptor gets to the other process is in `scm_rights.rs`, and how messages do in `channel.rs`.
//!
//! Manual pages: memfd_create(2), fcntl(2) (File Sealing), mmap(2).
#![expect(unsafe_code, reason = "what is mapped is reached through a pointer")]

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::slice;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{Whence, lseek};

/// Nobody can write, shrink or grow it, nor add to the seals.
pub const SEALS: SealFlag =
    SealFlag::F_SEAL_WRITE.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// Makes a memfd that contains `bytes` and will never contain anything else.
///
/// # Errors
/// `EMFILE`; `ENOSPC` or `ENOMEM` where there is no memory; `EFBIG` above `ulimit -f`; as for [`seal`].
pub fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create("message", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(fd);
    // To map it and copy would be slower: a page fault for each page, which is zeroed before it is filled.
    file.write_all(bytes)?;
    seal(&file)?;
    Ok(file.into())
}

/// Puts the seals on a memfd that nobody has mapped shared and to write.
///
/// # Errors
/// `EAGAIN` while the kernel itself has a hand on one of its pages: try again.
pub fn seal(memfd: &File) -> io::Result<()> {
    match fcntl(memfd, FcntlArg::F_ADD_SEALS(SEALS)) {
        // The kernel itself, moving pages about, or splice(2) may hold a page for a moment, and cannot be told from a
        // writer. The kernel waits for that a while, and then says that it is busy.
        Err(Errno::EBUSY) => Err(Errno::EAGAIN.into()),
        other => Ok(other.map(drop)?),
    }
}

/// A sealed memfd, mapped; its bytes.
pub struct Mapping {
    address: NonNull<u8>,
    len: NonZeroUsize,
}

impl Mapping {
    /// Maps a memfd of `len` bytes that another process has sealed.
    ///
    /// # Errors
    /// `InvalidData` where it is anything else: its owner could change it, or shorten it, and then to read it is
    /// SIGBUS.
    pub fn new(memfd: OwnedFd, len: usize) -> io::Result<Mapping> {
        // Fails with EINVAL for what is no memfd.
        let seals = SealFlag::from_bits_retain(fcntl(&memfd, FcntlArg::F_GET_SEALS)?);
        if !seals.contains(SEALS) {
            return Err(invalid("a memfd without all of its seals"));
        }
        // What is read here stays true, for the seals were there before. A hole gets its memory when it is read, and where
        // there is none, that is SIGBUS too. Behind the end all is a hole, and of 0 bytes lseek(2) says ENXIO. (st_blocks
        // does not tell: it counts what lies behind the end, too.)
        let file = File::from(memfd);
        let first_hole = lseek(&file, 0, Whence::SeekHole).map_or(0, i64::cast_unsigned);
        let Some(len) = NonZeroUsize::new(len).filter(|len| first_hole == len.get() as u64) else {
            return Err(invalid("a memfd of another size than announced, or with a hole in it"));
        };
        // Before Linux 6.7 a shared mapping of what is sealed against writing is refused, even one for reading. A
        // private one is of the same pages, for nobody writes.
        // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
        let address = unsafe { mmap(None, len, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, &file, 0) }?;
        Ok(Mapping { address: address.cast(), len })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping has `len` bytes and lives as long as `self`. Other processes have the same pages, and
        // yet they are immutable: F_SEAL_WRITE was there when we mapped them. The kernel grants it only where no
        // writable mapping and no write under way is left, allows none from then on, and takes no seal back.
        // F_SEAL_SHRINK keeps the pages there, and there is no hole between them.
        unsafe { slice::from_raw_parts(self.address.as_ptr(), self.len.get()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` has mapped it, and what `deref` lends does not outlive `self`.
        let _ = unsafe { munmap(self.address.cast(), self.len.get()) };
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
