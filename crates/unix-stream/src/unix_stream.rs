//! A Unix domain stream socket: a connection between two processes of one machine that know one path.
//!
//! `bind(2)` makes a name in the file system, and `listen(2)` lets others knock at it. Each `connect(2)` makes a
//! connection of its own, which has two directions and no name. The bytes wait in the kernel, on the side of
//! the one who will read them. They come out in the order in which they went in, and nothing marks where one
//! write ended and the next began.
//!
//! ```text
//! listener  socket, bind, listen ─▶ accept ─┐          ┌─ connect ◀─ socket
//!                                   read ◀──┴─ kernel ◀┴─ write
//! ```
//!
//! Manual pages: unix(7), socket(7), socket(2), bind(2), listen(2), accept(2), connect(2), poll(2).

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{PeerCredentials, SndBuf};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, setsockopt, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;

/// Room for what is under way, in bytes. The default, `net.core.wmem_default`, is 208 KiB, three messages of 64 KiB: then both ends
/// sleep and wake each other again and again.
const ROOM: usize = 512 << 10;

/// Says whether a path fits into the 108 bytes of a socket's address, the last of which must be 0.
///
/// # Errors
/// `ENAMETOOLONG`.
pub fn check(path: &Path) -> io::Result<()> {
    // Linux would take 108 bytes without a 0, and other programs would then miss the last one or read on.
    let too_long = path.as_os_str().len() > 107;
    if too_long { Err(Errno::ENAMETOOLONG.into()) } else { UnixAddr::new(path).map(drop).map_err(Into::into) }
}

/// Makes the socket at `path`, to which only this user can connect, and listens.
///
/// # Errors
/// `EADDRINUSE` where the path exists, whatever it is, even if nobody listens there any more; `ENAMETOOLONG`.
pub fn create(path: &Path) -> io::Result<UnixListener> {
    check(path)?;
    // Not blocking, for `accept`; what it accepts blocks.
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    // Who may write to the name may connect. bind(2) takes its mode from the socket's, less the umask. To set
    // it afterwards would be too late for those who are quick, and the umask is every thread's.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    // One in the queue, besides the one who is served: the others wait in connect(2).
    listen(&fd, Backlog::new(0)?).inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(fd.into())
}

/// Removes the name. A connection goes on without it.
///
/// # Errors
/// `EEXIST` where the path is not a socket of this user's; `ENOENT`.
pub fn remove(path: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.file_type().is_socket() || meta.uid() != geteuid().as_raw() {
        return Err(Errno::EEXIST.into());
    }
    fs::remove_file(path)
}

/// Waits for the next connection.
///
/// # Errors
/// `EINTR` after a signal, unlike [`UnixListener::accept`], which would go back to sleep: that is why poll(2)
/// does the waiting here.
pub fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    loop {
        poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        match listener.accept() {
            Ok((stream, _)) => return Ok(stream),
            // Whoever knocked has gone again. Had `accept` waited, it would now wait for the next one.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Connects to the socket at `path`. This waits while the listener's queue is full.
///
/// # Errors
/// `ENOENT` where there is nothing; `ECONNREFUSED` where nobody listens, as after a listener was killed, which
/// leaves the name; `EACCES` where it is another user's; `EINTR` after a signal.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    // The kernel makes it twice as much, for what it notes beside, and without a word no more than net.core.wmem_max allows.
    setsockopt(&stream, SndBuf, &ROOM)?;
    Ok(stream)
}

/// Is the process at the other end this user's? The kernel noted it at `connect` and `listen`; nobody can lie.
///
/// # Errors
/// None for a connected socket.
pub fn is_own(stream: &UnixStream) -> io::Result<bool> {
    Ok(getsockopt(stream, PeerCredentials)?.uid() == geteuid().as_raw())
}
