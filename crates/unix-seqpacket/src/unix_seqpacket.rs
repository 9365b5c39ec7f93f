//! A Unix domain seqpacket socket: a connection between two processes of one machine that carries whole records.
//!
//! `bind(2)` makes a name in the file system, `listen(2)` lets others knock at it, and each `connect(2)` makes a
//! connection, as for a stream. But what one `send(2)` puts in, one `recv(2)` takes out: never half of it, never two
//! at once. They come out in the order in which they went in, and none is lost.
//!
//! ```text
//! listener  socket, bind, listen ─▶ accept ─┐                           ┌─ connect ◀─ socket
//!                                   recv ◀──┴─ [record] [record] [ ] ◀──┴─ send
//! ```
//!
//! A connection has an end, and a record may be empty. recv(2) returns 0 for both.
//!
//! Manual pages: unix(7), socket(7), socket(2), bind(2), listen(2), accept(2), connect(2), send(2), sendmsg(2), recv(2),
//! recvmmsg(2).
#![expect(unsafe_code, reason = "nix's accept4 returns a bare number")]

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{PeerCredentials, SndBuf};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, MultiHeaders, SockFlag, SockType, UnixAddr, accept4, bind, connect as connect_to,
    getsockopt, listen, recv, recvmmsg, send, sendmsg, setsockopt, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;

/// Room for what is under way, in bytes. The default, `net.core.wmem_default`, is 208 KiB, three records of 64 KiB: then both ends
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
pub fn create(path: &Path) -> io::Result<OwnedFd> {
    check(path)?;
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    // Who may write to the name may connect. bind(2) takes its mode from the socket's, less the umask. To set
    // it afterwards would be too late for those who are quick, and the umask is every thread's.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    // One in the queue, besides the one who is served: the others wait in connect(2).
    listen(&fd, Backlog::new(0)?).inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(fd)
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
/// `EINTR` after a signal.
pub fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows its number yet.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Connects to the socket at `path`. This waits while the listener's queue is full.
///
/// # Errors
/// `ENOENT` where there is nothing; `ECONNREFUSED` where nobody listens, as after a listener was killed, which
/// leaves the name; `EPROTOTYPE` where a socket of another type is; `EACCES` where it is another user's; `EINTR`
/// after a signal.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    connect_to(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    // The kernel makes it twice as much, for what it notes beside, and without a word no more than net.core.wmem_max allows.
    setsockopt(&fd, SndBuf, &ROOM)?;
    Ok(fd)
}

/// Is the process at the other end this user's? The kernel noted it at `connect` and `listen`; nobody can lie.
///
/// # Errors
/// None for a connected socket.
pub fn is_own(socket: &OwnedFd) -> io::Result<bool> {
    Ok(getsockopt(socket, PeerCredentials)?.uid() == geteuid().as_raw())
}

/// Puts one record in; blocks while the buffer is full. It goes in whole or not at all.
///
/// # Errors
/// `EMSGSIZE` above the room that the socket has, less 32 bytes (by default 212,960); `EPIPE` or `ECONNRESET` where the other end is
/// closed; `EINTR` after a signal, and then nothing was put in.
pub fn put(socket: &OwnedFd, record: &[u8]) -> io::Result<()> {
    // Not write(2), which does nothing at all where there is nothing to write, and an empty record is something.
    // MSG_NOSIGNAL: EPIPE shall be an error, and not a deadly SIGPIPE.
    send(socket.as_raw_fd(), record, MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

/// Puts one record in that is made of several parts: one call, and no copy to join them.
///
/// # Errors
/// As [`put`].
pub fn put_parts(socket: &OwnedFd, parts: &[IoSlice<'_>]) -> io::Result<()> {
    sendmsg::<UnixAddr>(socket.as_raw_fd(), parts, &[], MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Takes one record out and returns its length; blocks while there is none. What does not fit into `buffer` is gone,
/// and only a length greater than the buffer's tells. **0 is an empty record or the end**: the result does not tell which.
///
/// # Errors
/// `EINTR` after a signal; `ECONNRESET`, once, where the other end was closed with records unread.
pub fn take(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // Without MSG_TRUNC the length would be what was copied, and a record cut short would look like a whole one.
    Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)?)
}

/// As [`take`], of as many records as there are, one into each buffer, and returns how many; blocks while there is none.
/// After the end all the buffers have their 0. `headers` is room for what the kernel is told of the buffers, to be used
/// again and again.
///
/// # Errors
/// As [`take`], with nothing taken. What fails behind the first record is told by the next call.
pub fn take_several<const N: usize>(
    socket: &OwnedFd,
    headers: &mut MultiHeaders<()>,
    buffers: [&mut [u8]; N],
    lengths: &mut [usize; N],
) -> io::Result<usize> {
    let mut buffers = buffers.map(|buffer| [IoSliceMut::new(buffer)]);
    // Without MSG_WAITFORONE it would wait until each buffer has a record.
    let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_WAITFORONE;
    let taken = recvmmsg(socket.as_raw_fd(), headers, &mut buffers, flags, None)?;
    Ok(lengths.iter_mut().zip(taken).map(|(len, record)| *len = record.bytes).count())
}
