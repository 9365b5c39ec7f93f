//! A Unix domain datagram socket: whole messages between processes of one machine that know one path.
//!
//! `bind(2)` makes a name in the file system, and whoever may write to it can send there. There is no connection: one
//! receiver may hear many senders, and their datagrams wait in one queue, each with its sender's address. What one
//! `send(2)` puts in, one `recv(2)` takes out. Unlike UDP's, they come in order and none is lost: where the queue
//! is full, the sender waits. But nothing tells a receiver that a sender has ended.
//!
//! ```text
//! sender   socket, connect ─▶ send ──┐
//!                                    ├─▶ /path: [datagram] [ ] [datagram] ──▶ recv  receiver
//! another  socket, connect ─▶ send ──┘
//! ```
//!
//! `connect(2)` makes no connection here. It notes where to send to, and from whom alone to take.
//!
//! Manual pages: unix(7), socket(7), socket(2), bind(2), connect(2), send(2), sendmsg(2), recv(2), recvmsg(2), recvmmsg(2).

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrLike, UnixAddr, bind, connect as connect_to,
    recv, recvmmsg, recvmsg, send, sendmsg, setsockopt, socket,
};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;

/// Room for what is under way, in bytes. The default, `net.core.wmem_default`, is 208 KiB, three datagrams of 64 KiB: then both ends
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

/// Makes the socket at `path`, to which only this user can send.
///
/// # Errors
/// `EADDRINUSE` where the path exists, whatever it is, even if nobody takes anything there any more; `ENAMETOOLONG`.
pub fn create(path: &Path) -> io::Result<UnixDatagram> {
    check(path)?;
    let fd = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // Who may write to the name may send. bind(2) takes its mode from the socket's, less the umask. To set it
    // afterwards would be too late for those who are quick, and the umask is every thread's.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(fd.into())
}

/// Removes the name.
///
/// # Errors
/// `EEXIST` where the path is not a socket of this user's; `ENOENT`.
pub fn remove(path: &Path) -> io::Result<()> {
    if !is_own_socket(&fs::symlink_metadata(path)?) {
        return Err(Errno::EEXIST.into());
    }
    fs::remove_file(path)
}

/// Makes a socket that sends to the one at `path`, takes from it alone, and has an address at which to be answered.
///
/// # Errors
/// `ENOENT` where there is nothing; `ECONNREFUSED` where nobody has the socket open any more; `EPERM` where it takes
/// from another one alone; `EPROTOTYPE` where it is of another type; `EEXIST` as for [`remove`].
pub fn connect(path: &Path) -> io::Result<UnixDatagram> {
    // No SO_PEERCRED here: the kernel notes it for connections. So the owner of the name must do, and the name is
    // looked up once, lest it be another's by the time we connect.
    let found = File::from(open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?);
    if !is_own_socket(&found.metadata()?) {
        return Err(Errno::EEXIST.into());
    }
    let socket = UnixDatagram::unbound()?;
    // The kernel makes it twice as much, for what it notes beside, and without a word no more than net.core.wmem_max allows.
    setsockopt(&socket, SndBuf, &ROOM)?;
    socket.connect(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    // An address of no characters asks the kernel for a free one: five hexadecimal digits in the abstract namespace,
    // which is no folder's. Last, because until it is connected anybody could send there.
    bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
    Ok(socket)
}

fn is_own_socket(meta: &fs::Metadata) -> bool {
    meta.file_type().is_socket() && meta.uid() == geteuid().as_raw()
}

/// From now on the socket sends to this address, and the kernel refuses what others send to it: `EPERM`. What they have
/// sent before is still in the queue.
///
/// # Errors
/// `ECONNREFUSED` where nobody has that address any more, or in another network namespace.
pub fn take_only_from(socket: &UnixDatagram, address: &UnixAddr) -> io::Result<()> {
    Ok(connect_to(socket.as_raw_fd(), address)?)
}

/// Puts one datagram in; blocks while the queue is full. It goes in whole or not at all.
///
/// # Errors
/// `EMSGSIZE` above the room that the socket has, less 32 bytes (by default 212,960); `ECONNREFUSED` where the receiver is gone; `EPERM`
/// where it takes from another one alone; `EINTR` after a signal, and then nothing was put in.
pub fn put(socket: &UnixDatagram, datagram: &[u8]) -> io::Result<()> {
    // Not write(2), which does nothing at all where there is nothing to write, and an empty datagram is something.
    send(socket.as_raw_fd(), datagram, MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

/// Puts one datagram in that is made of several parts: one call, and no copy to join them.
///
/// # Errors
/// As [`put`].
pub fn put_parts(socket: &UnixDatagram, parts: &[IoSlice<'_>]) -> io::Result<()> {
    sendmsg::<UnixAddr>(socket.as_raw_fd(), parts, &[], MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Takes one datagram out and returns its length and its sender's address, if that has one; blocks while there is none.
/// What does not fit into `buffer` is gone, and only a length greater than the buffer's tells. 0 is an empty datagram.
///
/// # Errors
/// `EINTR` after a signal.
pub fn take(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<(usize, Option<UnixAddr>)> {
    let mut buffer = [IoSliceMut::new(buffer)];
    // Without MSG_TRUNC the length would be what was copied, and a datagram cut short would look like a whole one.
    let taken = recvmsg(socket.as_raw_fd(), &mut buffer, None, MsgFlags::MSG_TRUNC)?;
    // Without an address recvmsg(2) leaves its place as it was and says that 0 bytes of it are filled. nix makes an
    // address even of that, which panics when it is compared.
    let address = taken.address.filter(|address: &UnixAddr| address.len() > 0);
    Ok((taken.bytes, address))
}

/// As [`take`], where it is known who has sent it: one thing less to ask the kernel for.
///
/// # Errors
/// `EINTR` after a signal.
pub fn take_known(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC)?)
}

/// As [`take_known`], of as many datagrams as there are, one into each buffer, and returns how many; blocks while there is
/// none. `headers` is room for what the kernel is told of the buffers, to be used again and again.
///
/// # Errors
/// `EINTR` after a signal, with nothing taken.
pub fn take_several<const N: usize>(
    socket: &UnixDatagram,
    headers: &mut MultiHeaders<()>,
    buffers: [&mut [u8]; N],
    lengths: &mut [usize; N],
) -> io::Result<usize> {
    let mut buffers = buffers.map(|buffer| [IoSliceMut::new(buffer)]);
    // Without MSG_WAITFORONE it would wait until each buffer has a datagram.
    let flags = MsgFlags::MSG_TRUNC | MsgFlags::MSG_WAITFORONE;
    let taken = recvmmsg(socket.as_raw_fd(), headers, &mut buffers, flags, None)?;
    Ok(lengths.iter_mut().zip(taken).map(|(len, datagram)| *len = datagram.bytes).count())
}
