//! Passing an open file to another process: a descriptor rides on a record of a socket.
//!
//! A descriptor is a number that means something in one process only. With `SCM_RIGHTS` in its control message,
//! sendmsg(2) says "and this one", and the kernel gives whoever receives the record a descriptor of its own for
//! the same open file: a dup(2) that reaches into another process.
//!
//! ```text
//! sender  fd 5 ──▶ the open file ◀── fd 7  receiver
//! ```
//!
//! Manual pages: unix(7), cmsg(3), sendmsg(2), recvmsg(2).
#![expect(unsafe_code, reason = "nix loses the descriptors of a record whose control message was cut off")]

use std::io::{self, IoSlice};
use std::mem::{offset_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Room for one control message. A right one has one descriptor, but alignment makes the room of one that of two.
/// The kernel installs no more than there is room for, and tells that it had more by `MSG_CTRUNC`.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    fds: [RawFd; 2],
}

/// Sends one record, made of two parts, and with it a descriptor; waits while the socket is full. The sender may
/// then close its own: the one under way keeps the file open.
///
/// # Errors
/// `EINTR` after a signal, with nothing sent; `EPIPE`; `EMSGSIZE` for a record that the socket's buffer cannot hold;
/// `ETOOMANYREFS` where this user has more descriptors under way than one process may have open (`ulimit -n`).
pub fn send(socket: &OwnedFd, parts: [&[u8]; 2], fd: Option<&OwnedFd>) -> io::Result<()> {
    let parts = parts.map(IoSlice::new);
    let fd = fd.map(AsRawFd::as_raw_fd);
    let rights = [ControlMessage::ScmRights(fd.as_slice())];
    // A control message without a descriptor would be one all the same.
    let rights = if fd.is_some() { &rights[..] } else { &[] };
    sendmsg::<()>(socket.as_raw_fd(), &parts, rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receives one record, its length and its descriptor, if it has one; waits for it. 0 bytes are the end.
///
/// # Errors
/// `EINTR` after a signal, with nothing received; `InvalidData` for a record longer than `buffer` or with more than
/// one descriptor. Whatever came with it is closed.
pub fn recv(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    // SAFETY: it consists of integers, and 0 is one. This says: no descriptors.
    let mut control: Control = unsafe { zeroed() };
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: it consists of integers and of pointers to nothing.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<Control>();
    // SAFETY: both pointers are of the lengths given and live through the call, which keeps neither.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let Ok(len) = usize::try_from(len) else { return Err(io::Error::last_os_error()) };

    // First of all, everything that came gets an owner who will close it.
    let mut fds = control.fds.into_iter().take(count(&control.header)).map(|fd| {
        // SAFETY: the kernel has just made this descriptor, for us alone.
        unsafe { OwnedFd::from_raw_fd(fd) }
    });
    let (fd, another) = (fds.next(), fds.next());
    let why = match header.msg_flags {
        flags if flags & libc::MSG_TRUNC != 0 => "a record that is too long",
        flags if flags & libc::MSG_CTRUNC != 0 || another.is_some() => {
            "more descriptors than one, or than ulimit -n allows"
        }
        _ => return Ok((len, fd)),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// How many descriptors there are. Other kinds of control messages come only to who has asked for them.
fn count(header: &libc::cmsghdr) -> usize {
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
        return 0;
    }
    header.cmsg_len.saturating_sub(offset_of!(Control, fds)) / size_of::<RawFd>()
}
