//! What both modes share: the listening socket, the scoreboard, the signals, the end.
//!
//! Manual pages: socket(2), bind(2), listen(2), accept(2), tcp(7), getrlimit(2).
#![expect(unsafe_code, reason = "TCP_DEFER_ACCEPT and accept4 have no safe wrappers")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use common::{Context as _, Error, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::sockopt::TcpNoDelay;
use nix::sys::socket::{Backlog, SockFlag, accept4, listen, setsockopt};
use nix::unistd::{Pid, getpid};
use serde::Serialize;

use crate::child::until;
use crate::children::{Children, close_range};
use crate::files::Root;
use crate::reply::{Body, Reply, Status};
use crate::scoreboard::Scoreboard;
use crate::status::Snapshot;
use crate::{fork, prefork, signals};

/// When processes are forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One for each connection.
    Fork,
    /// A few in advance, each for many connections.
    Prefork,
}

impl Mode {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Fork => "fork",
            Mode::Prefork => "prefork",
        }
    }
}

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory whose files are served.
    pub root: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// When processes are forked.
    pub mode: Mode,
    /// Processes in prefork mode.
    pub workers: usize,
    /// Processes in fork mode; 503 beyond.
    pub max_children: usize,
    /// How long a client may keep silent, take for the head of a request, or leave an answer untouched.
    pub timeout: Duration,
    /// How long answers under way may take when the server is to stop.
    pub grace: Duration,
    /// A line for each request.
    pub verbose: bool,
}

/// What every process of the server knows.
#[derive(Debug)]
pub struct Context {
    /// The files.
    pub root: Root,
    /// What all of them do.
    pub board: Scoreboard,
    /// When processes are forked.
    pub mode: Mode,
    /// The first process, the parent of all others.
    pub parent: Pid,
    /// See [`Options::timeout`].
    pub timeout: Duration,
    /// A line for each request.
    pub verbose: bool,
}

/// The parent.
#[derive(Debug)]
pub struct Server {
    pub(crate) options: Options,
    pub(crate) context: Context,
    pub(crate) listener: TcpListener,
    pub(crate) signals: SignalFd,
    pub(crate) children: Children,
    /// How many connections one process may have open.
    pub(crate) room: usize,
}

/// Serves until SIGTERM or SIGINT has come and all answers under way are complete.
///
/// # Errors
/// [`Error::System`] where the root cannot be opened, the address is in use, or the system refuses something else at the
/// start; [`Error::Unsupported`] on a kernel before 5.9.
pub fn run(options: Options) -> Result<()> {
    let server = Server::new(options)?;
    match server.context.mode {
        Mode::Fork => fork::serve(server),
        Mode::Prefork => prefork::serve(server),
    }
}

impl Server {
    fn new(options: Options) -> Result<Server> {
        let root = Root::open(&options.root);
        // It closes nothing; it only asks whether there is such a call.
        let kernel = close_range(i32::MAX, i32::MAX).map_err(io::Error::from);
        if [root.as_ref().err(), kernel.as_ref().err()].into_iter().flatten().any(is_unknown_call) {
            return Err(Error::Unsupported("openat2(2) and close_range(2) are of Linux 5.9".to_owned()));
        }
        let root = root.doing(format!("open {}", options.root.display()))?;
        let listener = bind(options.address).doing(format!("listen at {}", options.address)).map_err(explain)?;
        let slots = match options.mode {
            Mode::Fork => options.max_children,
            // Fresh workers start before the old ones end, and these may take their time.
            Mode::Prefork => 4 * options.workers,
        };
        let board = Scoreboard::new(slots).doing("mmap")?;
        let signals = signals::open().doing("signalfd")?;
        let context = Context {
            root,
            board,
            mode: options.mode,
            parent: getpid(),
            timeout: options.timeout,
            verbose: options.verbose,
        };
        let room = room_for_connections().doing("setrlimit RLIMIT_NOFILE")?;
        Ok(Server { options, context, listener, signals, children: Children::new(board), room })
    }

    /// Says where the server is, now that whoever comes will be served.
    pub(crate) fn announce(&self) -> Result<()> {
        say(&format!("ready http://{}/", self.listener.local_addr().doing("getsockname")?));
        Ok(())
    }

    /// Prints the state.
    pub(crate) fn report(&self) {
        Snapshot::take(&self.context).lines().iter().for_each(|line| say(line));
    }

    /// Waits until all children have finished what is open. At the end of the grace, or when asked once more, they
    /// are killed.
    pub(crate) fn finish(self) -> Result<()> {
        let Server { listener, mut children, signals, options, .. } = self;
        // Whoever comes from now on is refused by the kernel.
        drop(listener);
        children.signal(Signal::SIGTERM, |_| true);
        let mut deadline = Some(Instant::now() + options.grace);
        loop {
            while children.reap().is_some() {}
            if children.alive().is_empty() {
                return Ok(());
            }
            let count = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], until(deadline));
            let again = matches!(signals::next(&signals), Some(Signal::SIGTERM | Signal::SIGINT));
            if deadline.is_some() && (again || count == Ok(0)) {
                say(&format!("{} children have not finished and are killed", children.alive().len()));
                children.signal(Signal::SIGKILL, |_| true);
                deadline = None;
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    // std sets SO_REUSEADDR: connections that have just been closed do not keep the port from being bound again.
    let listener = TcpListener::bind(address)?;
    // A queue as long as the system allows, for those who come faster than anybody accepts.
    listen(&listener, Backlog::MAXCONN)?;
    listener.set_nonblocking(true)?;
    // Connections inherit both options from the listening socket, which saves two calls for each of them.
    // Without TCP_NODELAY the last part of a file could wait for an acknowledgement that is late itself.
    setsockopt(&listener, TcpNoDelay, &true)?;
    defer_accept(&listener)?;
    Ok(listener)
}

/// A connection comes to accept(2) when its first bytes are there; after about a second it comes without.
fn defer_accept(listener: &TcpListener) -> io::Result<()> {
    let seconds: libc::c_int = 1;
    let size = size_of_val(&seconds) as libc::socklen_t;
    let (level, option) = (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT);
    // SAFETY: the option's value is a c_int, and pointer and size are those of one.
    let result = unsafe { libc::setsockopt(listener.as_raw_fd(), level, option, (&raw const seconds).cast(), size) };
    Errno::result(result)?;
    Ok(())
}

/// The next connection, close-on-exec and not blocking.
///
/// # Errors
/// `EAGAIN` where there is none; `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM` where something has run out.
pub(crate) fn accept(listener: &TcpListener, context: &Context) -> nix::Result<TcpStream> {
    loop {
        match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
            Ok(fd) => {
                context.board.totals.connections.fetch_add(1, Ordering::Relaxed);
                // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
                return Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into());
            }
            // Whoever knocked has gone again.
            Err(Errno::ECONNABORTED | Errno::EINTR | Errno::EPROTO) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Answers with 503, without a child and without waiting.
pub(crate) fn refuse(mut stream: TcpStream, context: &Context) {
    context.board.totals.refused.fetch_add(1, Ordering::Relaxed);
    // Read first: to close a socket that holds unread bytes resets the connection, and the answer would be lost.
    let _ = stream.read(&mut [0; 8192]);
    let reply = Reply::plain(Status::ServiceUnavailable);
    let mut answer = Vec::new();
    reply.write_head(Some("close"), &mut answer);
    if let Body::Text(text) = &reply.body {
        answer.extend_from_slice(text.as_bytes());
    }
    // A new connection has room for so little.
    let _ = stream.write_all(&answer);
    let _ = stream.shutdown(Shutdown::Write);
}

/// Raises the limit on descriptors as far as it goes, and tells how many connections that allows: each may need one
/// for its file, too.
fn room_for_connections() -> io::Result<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.min(4096).max(soft);
    setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)?;
    Ok((wanted.saturating_sub(64) / 2).clamp(8, 1024) as usize)
}

fn explain(error: Error) -> Error {
    match &error {
        Error::System { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
            error.with_hint("another program listens there; --port 0 takes a free port")
        }
        _ => error,
    }
}

fn is_unknown_call(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSYS)
}

/// One line on standard error. A line that cannot be written is no reason to fail.
pub(crate) fn say(text: &str) {
    // One write, so that the lines of all processes do not mix.
    let line = format!("web-server: {}\n", text.replace('\n', " "));
    let _ = io::stderr().lock().write_all(line.as_bytes());
}
