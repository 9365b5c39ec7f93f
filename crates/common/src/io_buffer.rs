//! Memory for messages, at a place to and from which they are copied fast.

use std::ops::{Deref, DerefMut};

/// A buffer that begins in the middle of a page; zeroes at first.
///
/// The kernel and the C library copy memory with the instruction `rep movsb`, and some processors (AMD's Zen 3 and
/// Zen 4, where it was tried) are twenty times slower at it where the target lies 1 to 31 bytes further into its page
/// than the source does into its own. The kernel's own buffers begin with a page as a rule, and large memory of malloc(3)
/// begins 16 bytes behind one: so a read(2) into that is as slow as can be. And so is a write(2) of a message that begins
/// with a page, if there are four bytes of length in front of it.
#[derive(Debug)]
pub struct IoBuffer {
    memory: Vec<u8>,
    start: usize,
    len: usize,
}

const PAGE: usize = 4096;
/// Far from where anything else begins.
const MIDDLE: usize = PAGE / 2;

impl IoBuffer {
    /// `len` bytes. Pages of them that nobody touches take no memory.
    pub fn new(len: usize) -> IoBuffer {
        let memory = vec![0; len + PAGE + MIDDLE];
        let address = memory.as_ptr().addr();
        IoBuffer { start: address.next_multiple_of(PAGE) - address + MIDDLE, memory, len }
    }

    /// Makes it `len` bytes long, if it is shorter.
    #[inline]
    pub fn grow(&mut self, len: usize) {
        if len > self.len {
            self.replace(len);
        }
    }

    #[cold]
    fn replace(&mut self, len: usize) {
        let mut longer = IoBuffer::new(len);
        longer[..self.len].copy_from_slice(self);
        *self = longer;
    }
}

impl Deref for IoBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl DerefMut for IoBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::{IoBuffer, MIDDLE, PAGE};

    #[test]
    fn it_stays_where_it_should_be_and_keeps_what_is_in_it() {
        for len in [1, 100, 4096, 1 << 20] {
            let mut buffer = IoBuffer::new(len);
            assert_eq!(buffer.as_ptr().addr() % PAGE, MIDDLE);
            buffer.fill(7);
            buffer.grow(len - 1);
            assert_eq!(buffer.len(), len);
            buffer.grow(3 * len);
            assert_eq!(buffer.as_ptr().addr() % PAGE, MIDDLE);
            assert!(buffer[..len].iter().all(|&byte| byte == 7) && buffer[len..].iter().all(|&byte| byte == 0));
        }
    }
}
