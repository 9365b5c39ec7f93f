//! A control socket: a connection by which two ends tell each other where their messages are, for techniques whose
//! messages go another way. It is a Unix domain socket at the path that is the endpoint, of the kind that keeps
//! records apart (unix(7), `SOCK_SEQPACKET`).
//!
//! This is how the two ends meet and nothing else; what they then say belongs to their mechanism. A mechanism
//! that is a socket, such as `unix-stream`, has all of this in its own file.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::socket::{bind, connect, getsockopt, listen, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::geteuid;

use crate::{Args, Context, Link, Result};

/// What one sender can come in by: a receiver's listening socket.
pub struct Door(Option<UnixListener>);

impl Link {
    /// The receiver's end of a control socket: as [`claim`](Link::claim), and the first sender comes in by the door.
    ///
    /// # Errors
    /// As [`claim`](Link::claim); `ENAMETOOLONG` for a path of more than 107 bytes.
    pub fn listen(args: &Args) -> Result<(Link, Door)> {
        let path = path(args)?;
        let remove_path = path.clone();
        Link::claim(args, || create(&path), move || remove(&remove_path))
    }

    /// The sender's end of a control socket: as [`attach`](Link::attach), and connects.
    ///
    /// # Errors
    /// As [`attach`](Link::attach); `EPERM` where another user's process listens; `ENAMETOOLONG`.
    pub fn connect(args: &Args) -> Result<(Link, OwnedFd)> {
        let path = path(args)?;
        let link = Link::attach(args)?;
        let call = || format!("connect {}", path.display());
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).doing(call())?;
        let address = UnixAddr::new(&path).doing(call())?;
        link.wait("connect", || Ok(connect(fd.as_raw_fd(), &address)?))?;
        if !is_own(&fd).doing(call())? {
            let refused = Err(Errno::EPERM).doing(call());
            return refused.map_err(|error| error.with_hint("another user's process listens there"));
        }
        Ok((link, fd))
    }
}

impl Door {
    /// Waits for the sender. Then nobody listens any more: whoever connects next is refused at once.
    ///
    /// # Errors
    /// `EINTR` after a signal; `ENOTCONN` for a second call.
    pub fn accept(&mut self) -> io::Result<OwnedFd> {
        loop {
            let listener = self.0.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            // poll(2) waits, because accept(2) would hang where whoever knocked has gone again.
            poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
            let socket = match listener.accept() {
                Ok((socket, _)) => OwnedFd::from(socket),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            };
            // Strangers are turned away.
            if is_own(&socket)? {
                self.0 = None;
                return Ok(socket);
            }
        }
    }
}

fn create(path: &Path) -> io::Result<Door> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    // bind(2) takes the name's mode from the socket's. Set afterwards, it would be too late for those who are quick.
    fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path)?).map_err(not_a_receiver)?;
    // One in the queue, besides the one who is served.
    listen(&fd, Backlog::new(0)?).inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(Door(Some(fd.into())))
}

/// bind(2) says the same of a living receiver and of any other file. The lock is ours, so it is another file.
fn not_a_receiver(error: Errno) -> Errno {
    if error == Errno::EADDRINUSE { Errno::EEXIST } else { error }
}

fn remove(path: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.file_type().is_socket() || meta.uid() != geteuid().as_raw() {
        return Err(Errno::EEXIST.into());
    }
    fs::remove_file(path)
}

/// Is the process at the other end this user's? The kernel noted it at connect(2) and listen(2).
fn is_own(socket: &OwnedFd) -> io::Result<bool> {
    Ok(getsockopt(socket, PeerCredentials)?.uid() == geteuid().as_raw())
}

/// The path, if a socket can have it: the last of the 108 bytes of its address must be 0.
fn path(args: &Args) -> Result<PathBuf> {
    let path = PathBuf::from(args.endpoint()?);
    let too_long = path.as_os_str().len() > 107;
    let checked = if too_long { Err(Errno::ENAMETOOLONG) } else { UnixAddr::new(&path).map(drop) };
    let hint = "a socket's path has at most 107 bytes; choose a shorter --endpoint";
    checked.doing(format!("bind {}", path.display())).map_err(|error| error.with_hint(hint))?;
    Ok(path)
}
