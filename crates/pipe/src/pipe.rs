//! A pipe: one process writes, a relative of it reads.
//!
//! `pipe(2)` makes a buffer in the kernel, of 64 KiB where nobody asks for more, and two descriptors for it, one to
//! write and one to read.
//! There is no name: another process gets an end by being started with it, as a shell starts the programs of
//! `ls | wc`. The bytes come out in the order in which they went in, and nothing marks where one write ended
//! and the next began.
//!
//! ```text
//! parent  write ──▶ 256 KiB in kernel ──▶ read  child, with the reading end as its standard input
//! ```
//!
//! Manual pages: pipe(7), pipe(2), dup(2), poll(2).

use std::fs::File;
use std::io::{self, IoSlice, PipeReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Bytes that a pipe of [`create`]'s holds.
pub const CAPACITY: i32 = 256 << 10;

/// Makes a pipe. Give the reading end away (`Command::stdin`), and write into the other one.
///
/// Both ends are close-on-exec: a child gets the end that it is given and no copy of the other one. That
/// matters, because a reader finds the end of file only when the last copy of the writing end is closed. A
/// child that had inherited one would wait for ever for itself to write.
///
/// # Errors
/// `EMFILE`, `ENFILE` where too many descriptors are open.
pub fn create() -> io::Result<(PipeReader, Writer)> {
    let (reader, writer) = io::pipe()?;
    // Whoever has to wait for a full or an empty pipe sleeps and is woken, which takes longer than the bytes do. More
    // room means fewer of these waits. An ordinary user may have so much in 256 pipes (pipe-user-pages-soft in
    // pipe(7)) and then gets EPERM; the 64 KiB of every pipe are enough, too.
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(CAPACITY));
    Ok((reader, Writer { file: OwnedFd::from(writer).into(), spins: false }))
}

/// The end of a pipe to write into. Dropping it closes it.
#[derive(Debug)]
pub struct Writer {
    file: File,
    spins: bool,
}

impl Writer {
    /// The writing end that this process was started with as its standard output.
    ///
    /// # Errors
    /// `EMFILE` where too many descriptors are open.
    pub fn from_stdout() -> io::Result<Writer> {
        // A copy of the descriptor, because Rust's own handle buffers. It is the same pipe.
        Ok(Writer { file: io::stdout().as_fd().try_clone_to_owned()?.into(), spins: false })
    }

    /// Does not wait any more: a write for which there is no room now fails with `EAGAIN`.
    ///
    /// # Errors
    /// None for an open descriptor; see fcntl(2).
    pub fn spin(&mut self) -> io::Result<()> {
        self.spins = true;
        stop_waiting(self.file.as_fd())
    }

    fn waits(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock && !self.spins
    }
}

impl Write for Writer {
    /// One write(2), which waits while the pipe is full.
    ///
    /// # Errors
    /// `EPIPE` when nobody has the reading end open any more. The kernel sends SIGPIPE as well, which would
    /// end the program; Rust's programs ignore it from the start, C's do not. `EINTR` after a signal.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if self.waits(&error) => ready(self.file.as_fd(), PollFlags::POLLOUT)?,
                other => return other,
            }
        }
    }

    /// One writev(2): several pieces, as if they were one.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.file.write_vectored(pieces) {
                Err(error) if self.waits(&error) => ready(self.file.as_fd(), PollFlags::POLLOUT)?,
                other => return other,
            }
        }
    }

    /// Does nothing: what write(2) has taken is in the kernel, not here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of a pipe to read from. Dropping it closes it.
#[derive(Debug)]
pub struct Reader {
    file: File,
    spins: bool,
}

impl Reader {
    /// The reading end that this process was started with as its standard input.
    ///
    /// # Errors
    /// As [`Writer::from_stdout`].
    pub fn from_stdin() -> io::Result<Reader> {
        Ok(Reader { file: io::stdin().as_fd().try_clone_to_owned()?.into(), spins: false })
    }

    /// As [`Writer::spin`].
    ///
    /// # Errors
    /// None for an open descriptor; see fcntl(2).
    pub fn spin(&mut self) -> io::Result<()> {
        self.spins = true;
        stop_waiting(self.file.as_fd())
    }

    fn waits(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock && !self.spins
    }
}

impl Read for Reader {
    /// One read(2), which waits while the pipe is empty and returns 0, the end of file, once it is empty and
    /// nobody has the writing end open any more.
    ///
    /// # Errors
    /// `EINTR` after a signal.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if self.waits(&error) => ready(self.file.as_fd(), PollFlags::POLLIN)?,
                other => return other,
            }
        }
    }
}

fn stop_waiting(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Waits until the pipe is ready, where `EAGAIN` says that it does not wait by itself.
///
/// Whoever made an inherited pipe may have set `O_NONBLOCK`. The flag belongs to the open file description and not
/// to our descriptor, so to clear it would clear it for every other process that has inherited the same end.
fn ready(fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
    poll(&mut [PollFd::new(fd, events)], PollTimeout::NONE)?;
    Ok(())
}
