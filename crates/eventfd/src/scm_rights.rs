//! Descriptors on their way from one process to another, over a Unix socket.
//!
//! A descriptor is a number that means something to one process only. `sendmsg(2)` with `SCM_RIGHTS` sends what it
//! stands for, and `recvmsg(2)` finds the receiver a number for it. It is as if the sender's descriptor had been
//! inherited: both stand for the same thing, and it lives until both are closed.
//!
//! Manual pages: unix(7), cmsg(3), sendmsg(2), recvmsg(2).
#![expect(unsafe_code, reason = "recvmsg(2) tells of descriptors by their numbers")]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// What one message can carry at most: `SCM_MAX_FD` of unix(7).
const MOST: usize = 253;

/// Sends copies of some descriptors.
///
/// # Errors
/// `EPIPE` when the other end is closed; `ENOTSOCK` where it is no socket; `EINTR` after a signal.
pub fn send(socket: &UnixStream, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    // Descriptors travel with at least one byte of data.
    let data = [IoSlice::new(b"\0")];
    let rights = [ControlMessage::ScmRights(&numbers)];
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &data, &rights, MsgFlags::MSG_NOSIGNAL, None) {
            Err(nix::Error::EAGAIN) => ready(socket.as_fd(), PollFlags::POLLOUT)?,
            other => return Ok(other.map(drop)?),
        }
    }
}

/// Waits for descriptors, exactly `N`.
///
/// # Errors
/// `UnexpectedEof` when the other end is closed; `InvalidData` where something else came; `ENOTSOCK` where it is no
/// socket; `EINTR` after a signal.
pub fn receive<const N: usize>(socket: &UnixStream) -> io::Result<[OwnedFd; N]> {
    let mut data = [0];
    // Room for all that may come. What does not fit is lost, and what does would then be nobody's.
    let mut space = cmsg_space!([RawFd; MOST]);
    let mut data = [IoSliceMut::new(&mut data)];
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(nix::Error::EAGAIN) => ready(socket.as_fd(), PollFlags::POLLIN)?,
            other => break other?,
        }
    };
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just made these descriptors for us, and nobody else knows their numbers.
            fds.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    let count = fds.len();
    fds.try_into()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{count} descriptors instead of {N}")))
}

/// Waits until a socket or an eventfd is ready, where `EAGAIN` says that it does not wait by itself: whoever has the
/// same one can set its `O_NONBLOCK`.
pub(crate) fn ready(fd: BorrowedFd<'_>, events: PollFlags) -> io::Result<()> {
    poll(&mut [PollFd::new(fd, events)], PollTimeout::NONE)?;
    Ok(())
}
