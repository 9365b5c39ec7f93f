//! TCP: a connection between two processes that may be on two machines.
//!
//! One listens at an address and a port, the other connects to it. The connection has two directions. The bytes
//! come out in the order in which they went in, for what the network loses or mixes up the two kernels send again
//! and sort; and nothing marks where one write ended and the next began. What `write` has accepted is on its way,
//! and nothing says how far it got: only an answer of the other program does.
//!
//! ```text
//! listener  socket, bind, listen ─▶ accept ─┐                                    ┌─ connect ◀─ socket
//!                                   read ◀──┴─ receive buffer ◀~~~ send buffer ◀─┴─ write
//! ```
//!
//! Manual pages: tcp(7), ip(7), socket(7), listen(2), accept(2), connect(2), poll(2).

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::{KeepAlive, ReuseAddr, TcpKeepCount, TcpKeepIdle, TcpKeepInterval};
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, bind, connect, listen as set_backlog,
    setsockopt, shutdown, socket,
};

/// Listens at the first of the addresses that is possible. Port 0 takes a free one: ask `local_addr` which.
///
/// # Errors
/// `EADDRINUSE` where another process listens there; `EADDRNOTAVAIL` where no interface of this machine has the
/// address; `EACCES` for ports below 1024.
pub fn listen(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    // std sets SO_REUSEADDR. Without it, a connection that has just been closed would keep its port from being
    // bound for a minute (TIME_WAIT), and a server could not be started again at once.
    let listener = TcpListener::bind(addresses)?;
    // One in the queue. Whoever waits longer in it talks to nobody, and can only find out by being told nothing.
    set_backlog(&listener, Backlog::new(0)?)?;
    listener.set_nonblocking(true)?; // for `accept`
    Ok(listener)
}

/// Waits for the next connection.
///
/// # Errors
/// `EINTR` after a signal, unlike [`TcpListener::accept`], which would go back to sleep: that is why poll(2)
/// does the waiting here.
pub fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        poll(&mut [PollFd::new(listener.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        match listener.accept() {
            Ok((stream, _)) => {
                tune(&stream)?;
                return Ok(stream);
            }
            // Whoever knocked has gone again. Had `accept` waited, it would now wait for the next one.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Refuses who comes from now on, and whoever is in the queue, but keeps the port for as long as the value lives.
///
/// # Errors
/// None that an open socket could have.
pub fn stop_listening(listener: &TcpListener) -> io::Result<()> {
    // To close it would free the port for another process while our connection still uses it.
    let address = listener.local_addr()?;
    shutdown(listener.as_raw_fd(), Shutdown::Read)?;
    // A port that the kernel has chosen went with that and is taken again. One that was asked for is still there,
    // and EINVAL says so.
    let _ = bind(listener.as_raw_fd(), &SockaddrStorage::from(address));
    Ok(setsockopt(listener, ReuseAddr, &false)?)
}

/// Begins to connect. [`finish_connect`] must follow.
///
/// # Errors
/// `ECONNREFUSED` where nobody listens; `ENETUNREACH`, `EHOSTUNREACH` where no way leads there.
pub fn start_connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    // Not blocking, for connect(2) could take minutes, and after a signal it goes on without us: called again it
    // would say EALREADY.
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(fd.into()),
        Err(error) => Err(error.into()),
    }
}

/// Waits until the connection stands. After `EINTR` it may be called again, and goes on waiting.
///
/// # Errors
/// `EINTR` after a signal; `ECONNREFUSED` where nobody listens; `ETIMEDOUT` where nobody answers.
pub fn finish_connect(stream: &TcpStream) -> io::Result<()> {
    poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    // Where nobody listens, the kernel may give the socket the very port that it knocks at. Then TCP takes the two
    // directions of one socket for two ends that have met, and it will read what it writes.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(Errno::ECONNREFUSED.into());
    }
    stream.set_nonblocking(false)?;
    tune(stream)
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    // Nagle's algorithm holds a small segment back until the one before it is acknowledged, and the other end
    // holds that back for up to 40 ms, hoping to send it along with data. Together they make small messages slow.
    stream.set_nodelay(true)?;
    // A cut line or a machine without power says nothing, and who only reads would wait for ever. So after 20 s of
    // silence the kernel asks, and after four questions without an answer it gives up: ETIMEDOUT, 40 s after the
    // last word. TCP_USER_TIMEOUT would be quicker for a writer, but it ends a connection as well whose other end
    // is alive and merely slow to read.
    setsockopt(stream, KeepAlive, &true)?;
    setsockopt(stream, TcpKeepIdle, &20)?;
    setsockopt(stream, TcpKeepInterval, &5)?;
    setsockopt(stream, TcpKeepCount, &4)?;
    Ok(())
}
