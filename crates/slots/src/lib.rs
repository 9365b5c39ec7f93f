//! Slots: memory that two processes share, cut into pieces that hold one record each.
//!
//! ```text
//! slot   ┌ length ──┬ payload ────────────┐   the length is in the machine's own order;
//!        └ 4 bytes ─┴ up to 4,092 bytes ──┘   ff ff ff ff says that no record will follow
//! ```
//!
//! Nothing here sleeps or calls the kernel, and nothing says whose turn a slot is: that is for semaphores or a
//! mutex, whose operations also order the bytes stored before them. What is here is distrust: the other process can
//! write this memory at any time, even while it is being read. So nothing refers to it, all access is by atomics
//! and raw copies, and a length is read once and then checked.
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes in a slot: a page.
pub const SLOT: usize = 4096;
/// Bytes in the longest record. The first four bytes of a slot are the record's length.
pub const MAX: usize = SLOT - HEADER;

const HEADER: usize = size_of::<u32>();
/// The length that says that no record will follow.
const END: u32 = u32::MAX;

/// A row of slots. Slot `n` is the one in place `n % count`, so that a caller may simply go on counting.
pub struct Slots {
    first: *mut u8,
    count: usize,
}

impl Slots {
    /// The `count` slots that begin at `first`.
    ///
    /// # Safety
    /// `count` times [`SLOT`] bytes from `first` on are mapped for reading and writing, and stay so while the
    /// result is used. `first` is a multiple of 4, and `count` is not 0.
    pub const unsafe fn new(first: *mut u8, count: usize) -> Slots {
        Slots { first, count }
    }

    /// Copies a record into slot `n`, which must be the caller's to fill.
    ///
    /// # Panics
    /// Above [`MAX`] bytes; see [`check`].
    pub fn put(&self, n: usize, record: &[u8]) {
        assert!(record.len() <= MAX, "checked before the slot was taken");
        // SAFETY: the slot has room for MAX bytes behind its header, and nothing that Rust has lent lies in there.
        unsafe { ptr::copy_nonoverlapping(record.as_ptr(), self.payload(n), record.len()) };
        self.header(n).store(record.len() as u32, Ordering::Relaxed);
    }

    /// Notes in slot `n` that no record will follow.
    pub fn put_end(&self, n: usize) {
        self.header(n).store(END, Ordering::Relaxed);
    }

    /// Copies the record out of slot `n`, which must be the caller's to empty, and returns its length; `None` for the
    /// end.
    ///
    /// # Errors
    /// `InvalidData` for a length that no record can have.
    pub fn take(&self, n: usize, record: &mut [u8; MAX]) -> io::Result<Option<usize>> {
        // Read once, then checked: the other process could change it between the check and a second reading.
        let len = self.header(n).load(Ordering::Relaxed);
        if len == END {
            return Ok(None);
        }
        let len = len as usize;
        if len > MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a record of {len} bytes")));
        }
        // SAFETY: the slot has MAX bytes behind its header, and `record` does not lie in there.
        unsafe { ptr::copy_nonoverlapping(self.payload(n), record.as_mut_ptr(), len) };
        Ok(Some(len))
    }

    fn header(&self, n: usize) -> &AtomicU32 {
        // SAFETY: a slot begins within the mapped bytes at a multiple of 4; all access to its first four bytes is
        // atomic, here and in the other process, and `new` was promised that they stay mapped.
        unsafe { AtomicU32::from_ptr(self.slot(n).cast()) }
    }

    fn payload(&self, n: usize) -> *mut u8 {
        self.slot(n).wrapping_add(HEADER)
    }

    fn slot(&self, n: usize) -> *mut u8 {
        self.first.wrapping_add(n % self.count * SLOT)
    }
}

/// Does the record fit into a slot? To be asked before a slot is taken: afterwards there would be one too few.
///
/// # Errors
/// `EMSGSIZE` above [`MAX`].
pub fn check(record: &[u8]) -> io::Result<()> {
    if record.len() <= MAX { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EMSGSIZE)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNT: usize = 3;

    /// Slots in memory of this process's own, as words, which are aligned as a header must be.
    fn slots(memory: &mut Vec<u32>) -> Slots {
        memory.resize(COUNT * SLOT / 4, 0);
        // SAFETY: so many bytes have just been made, and each test keeps them to its end and leaves them alone
        // while it uses the slots.
        unsafe { Slots::new(memory.as_mut_ptr().cast(), COUNT) }
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut memory = Vec::new();
        let slots = slots(&mut memory);
        let mut out = [0; MAX];
        for (n, len) in [0, 1, 3, 4, 100, MAX - 1, MAX, 0, 7].into_iter().enumerate() {
            let record: Vec<u8> = (0..len).map(|at| (at + n) as u8).collect();
            slots.put(n, &record);
            assert_eq!(slots.take(n, &mut out).expect("take"), Some(len));
            assert!(out[..len] == record, "record {n}");
        }
        slots.put_end(5);
        assert_eq!(slots.take(5, &mut out).expect("take"), None);
    }

    #[test]
    fn a_record_touches_its_own_slot_only() {
        let mut memory = Vec::new();
        let slots = slots(&mut memory);
        for n in 0..COUNT {
            slots.put(n, &[n as u8 + 1; MAX]);
        }
        slots.put(COUNT + 1, &[9; MAX]);
        let mut out = [0; MAX];
        for (n, byte) in [1, 9, 3].into_iter().enumerate() {
            assert_eq!(slots.take(n, &mut out).expect("take"), Some(MAX));
            assert!(out.iter().all(|&each| each == byte), "slot {n}");
        }
    }

    #[test]
    fn a_length_that_no_record_has_is_an_error_and_copies_nothing() {
        let mut memory = Vec::new();
        let slots = slots(&mut memory);
        for bad in [MAX as u32 + 1, 0x8000_0000, END - 1] {
            slots.put(0, b"hello");
            slots.header(0).store(bad, Ordering::Relaxed);
            let mut out = [7; MAX];
            let error = slots.take(0, &mut out).expect_err("taken");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bad:#x}");
            assert!(out.iter().all(|&byte| byte == 7), "{bad:#x}");
        }
    }

    #[test]
    fn a_record_that_fits_no_slot_is_found_before() {
        assert!(check(&[0; MAX]).is_ok());
        assert_eq!(check(&[0; MAX + 1]).map_err(|error| error.raw_os_error()), Err(Some(libc::EMSGSIZE)));
    }
}
