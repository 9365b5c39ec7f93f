//! A socketpair: two connected sockets, one for a process and one for a relative of it.
//!
//! `socketpair(2)` makes both at once and connected, so there is no name, no `listen(2)` and nobody to wait for.
//! Each of the two descriptors reads *and* writes: what goes in at one comes out at the other, in its order, and
//! nothing marks where one write ended and the next began. The two directions have a buffer each and know
//! nothing of one another.
//!
//! ```text
//! parent  write ──▶ up to 1 MiB in kernel ──▶ read   child, with its socket as its standard input
//!         read  ◀── up to 1 MiB in kernel ◀── write
//! ```
//!
//! Manual pages: socketpair(2), unix(7), socket(7), shutdown(2), poll(2).

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{Shutdown, setsockopt, shutdown};

/// Room for what is under way, in bytes. The default, `net.core.wmem_default`, is 208 KiB, three messages of 64 KiB: then both ends
/// sleep and wake each other again and again.
const ROOM: usize = 512 << 10;

/// Makes the pair. Keep one, and give the other one away (`Command::stdin`).
///
/// Both are close-on-exec: a child gets the one that it is given and no copy of its parent's. A reader finds
/// the end of file when the last copy of the other socket is closed, and must not have one itself.
///
/// # Errors
/// `EMFILE`, `ENFILE` where too many descriptors are open.
pub fn create() -> io::Result<(Socket, Socket)> {
    let (one, other) = UnixStream::pair()?;
    // The kernel makes it twice as much, for what it notes beside, and without a word no more than net.core.wmem_max allows.
    setsockopt(&one, SndBuf, &ROOM)?;
    setsockopt(&other, SndBuf, &ROOM)?;
    Ok((OwnedFd::from(one).into(), OwnedFd::from(other).into()))
}

/// One of the two. Dropping it closes it, in both directions.
///
/// A reference is enough to read and to write, so that two threads can do both at once.
#[derive(Debug)]
pub struct Socket {
    file: File,
    spins: bool,
}

impl Socket {
    /// The socket that this process was started with as its standard input. It can be written to as well.
    ///
    /// # Errors
    /// `EMFILE` where too many descriptors are open.
    pub fn from_stdin() -> io::Result<Socket> {
        // A copy of the descriptor, because Rust's own handle buffers. It is the same socket.
        Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
    }

    /// The socket that this process was started with as its standard output. It can be read from as well.
    ///
    /// # Errors
    /// As [`from_stdin`](Self::from_stdin).
    pub fn from_stdout() -> io::Result<Socket> {
        Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
    }

    /// Does not wait any more: a read or write that would have to now fails with `EAGAIN`.
    ///
    /// # Errors
    /// None for an open descriptor; see fcntl(2).
    pub fn spin(&mut self) -> io::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&self.file, FcntlArg::F_GETFL)?);
        fcntl(&self.file, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        self.spins = true;
        Ok(())
    }

    /// Is it a socket at all? A shell gives its programs pipes, and those have one direction.
    ///
    /// # Errors
    /// None for an open descriptor.
    pub fn has_two_directions(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.file_type().is_socket())
    }

    /// Closes one direction: the other end reads the end of file, and can still write.
    ///
    /// # Errors
    /// `ENOTSOCK` where it is none.
    pub fn finish_writing(&self) -> io::Result<()> {
        // To drop the socket would close both, and throw away what the other end has yet to answer.
        Ok(shutdown(self.file.as_raw_fd(), Shutdown::Write)?)
    }

    fn waits(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::WouldBlock && !self.spins
    }

    /// Waits until the socket is ready, where `EAGAIN` says that it does not wait by itself: whoever gave it to us may
    /// have set `O_NONBLOCK`, and to clear that would clear it for every other process that has the same socket.
    fn ready(&self, events: PollFlags) -> io::Result<()> {
        poll(&mut [PollFd::new(self.file.as_fd(), events)], PollTimeout::NONE)?;
        Ok(())
    }
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Socket {
        Socket { file: fd.into(), spins: false }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        socket.file.into()
    }
}

impl Read for &Socket {
    /// One read(2), which waits while nothing is there. It returns 0, the end of file, once everything is read
    /// and nobody has the other socket open any more, or its owner has finished writing.
    ///
    /// # Errors
    /// `ECONNRESET`, once and instead of the end of file, when the other socket was closed before all that we had
    /// written was read; `EINTR` after a signal.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.file).read(buffer) {
                Err(error) if self.waits(&error) => self.ready(PollFlags::POLLIN)?,
                other => return other,
            }
        }
    }
}

impl Write for &Socket {
    /// One write(2), which waits while the buffer of this direction is full.
    ///
    /// # Errors
    /// `EPIPE` when the other socket is closed, or `ECONNRESET`, once, as for `read`. With `EPIPE` the kernel sends
    /// SIGPIPE, which would end the program; Rust's programs ignore it from the start, C's do not. `EINTR` after a
    /// signal.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match (&self.file).write(bytes) {
                Err(error) if self.waits(&error) => self.ready(PollFlags::POLLOUT)?,
                other => return other,
            }
        }
    }

    /// One writev(2): several pieces, as if they were one.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match (&self.file).write_vectored(pieces) {
                Err(error) if self.waits(&error) => self.ready(PollFlags::POLLOUT)?,
                other => return other,
            }
        }
    }

    /// Does nothing: what write(2) has taken is in the kernel, not here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
