//! Where the part of the address space that a process can use ends, and the kernel's begins.
#![expect(unsafe_code, reason = "mmap(2) deals in addresses")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Asks the kernel for pages at ever lower powers of two, until it grants one: the first address above it is no
/// process's.
pub fn user_end() -> Option<u64> {
    (16..64).rev().map(|bits| 1 << bits).find(|end| grants(*end))
}

/// Where the kernel's part begins. All 64-bit machines of Linux leave the lowest addresses to processes and as many
/// at the other end to the kernel; what is between has no meaning.
pub fn kernel_start(user_end: u64) -> u64 {
    user_end.wrapping_neg()
}

/// Where the kernel's code begins, which root may know.
pub fn kernel_text() -> Option<u64> {
    let symbols = BufReader::new(File::open("/proc/kallsyms").ok()?);
    let line = symbols.lines().map_while(Result::ok).find(|line| line.ends_with(" _stext"))?;
    let address = u64::from_str_radix(line.split(' ').next()?, 16).ok()?;
    // For all others it is 0.
    (address != 0).then_some(address)
}

/// Can a page be mapped just below `end`?
fn grants(end: u64) -> bool {
    let page = procfs::page_size();
    // Not the very last one: x86-64 keeps it free.
    let (Some(address), Some(size)) = (NonZeroUsize::new((end - 2 * page) as usize), NonZeroUsize::new(page as usize))
    else {
        return false;
    };
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
    // SAFETY: with MAP_FIXED_NOREPLACE it overlaps nothing.
    match unsafe { mmap_anonymous(Some(address), size, ProtFlags::PROT_NONE, flags) } {
        Ok(mapped) => {
            // SAFETY: this very page has just been mapped, and nothing lies in it.
            let _ = unsafe { munmap(mapped, size.get()) };
            // A kernel before 4.17 does not know the flag and takes another place.
            mapped.as_ptr() as usize == address.get()
        }
        Err(error) => error == Errno::EEXIST,
    }
}
