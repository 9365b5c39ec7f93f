//! A worker of the pool: one process, many connections, and one place where it waits for all of them.
//!
//! All workers watch the same listening socket. With `EPOLLEXCLUSIVE` the kernel wakes one of them for a connection, not
//! the whole herd, of which all but one would find nothing. Each takes one connection at a time, so that a worker that
//! is busy leaves the next one to somebody else.
//!
//! Manual pages: epoll(7), epoll_ctl(2), accept(2), eventfd(2).

use std::collections::HashMap;
use std::mem;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use nix::unistd::write;

use crate::children::close;
use crate::connection::{Connection, Next};
use crate::scoreboard::{Account, State};
use crate::server::{Context, accept, refuse};
use crate::signals;

/// Connections that a worker still takes when it is to end.
const LAST: usize = 16;

/// What a worker has from its parent.
#[derive(Clone, Copy)]
pub struct Inherited<'a> {
    /// What every process knows.
    pub context: &'a Context,
    /// The worker's slot.
    pub account: &'a Account,
    /// The socket that all workers accept from.
    pub listener: &'a TcpListener,
    /// The parent's descriptor, and its own.
    pub signals: &'a SignalFd,
    /// Where it says that it is ready.
    pub ready: &'a OwnedFd,
    /// How many connections it may have open.
    pub room: usize,
}

struct Worker<'a> {
    inherited: Inherited<'a>,
    epoll: Epoll,
    connections: HashMap<RawFd, (Connection, Next)>,
    /// Nothing new is accepted.
    finishing: bool,
    /// Nor is a further request waited for.
    stopping: bool,
    /// The listening socket is left alone until the next tick.
    paused: bool,
}

/// Serves until it is to end and nothing is open any more.
///
/// # Errors
/// Those of epoll_create(2) and epoll_ctl(2).
pub fn serve(inherited: Inherited) -> nix::Result<()> {
    // An epoll of its own: one inherited from the parent would tell of the parent's signals.
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let Inherited { signals, ready, .. } = inherited;
    epoll.add(signals, event(signals.as_raw_fd(), EpollFlags::EPOLLIN))?;
    let mut worker =
        Worker { inherited, epoll, connections: HashMap::new(), finishing: false, stopping: false, paused: false };
    worker.listen()?;
    worker.note(State::Waiting);
    // From here on nothing is lost that comes. The parent, who waits in poll(2), adds these up.
    write(ready, &1_u64.to_ne_bytes())?;
    worker.run()
}

impl Worker<'_> {
    fn run(&mut self) -> nix::Result<()> {
        let mut events = [EpollEvent::empty(); 64];
        // Often enough for deadlines, and never where there is no deadline.
        let tick = (self.inherited.context.timeout / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut next_tick = Instant::now() + tick;
        while !(self.finishing && self.connections.is_empty()) {
            self.note(State::Waiting);
            let timeout = match EpollTimeout::try_from(tick) {
                Ok(tick) if self.paused || !self.connections.is_empty() => tick,
                _ => EpollTimeout::NONE,
            };
            let count = match self.epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => 0,
                other => other?,
            };
            self.note(State::Answering);
            for event in &events[..count] {
                let fd = event.data() as RawFd;
                if fd == self.inherited.listener.as_raw_fd() {
                    self.accept()?;
                } else if fd == self.inherited.signals.as_raw_fd() {
                    self.signal()?;
                } else {
                    self.advance(fd)?;
                }
            }
            if Instant::now() >= next_tick {
                self.expire()?;
                if mem::take(&mut self.paused) && !self.finishing {
                    self.listen()?;
                }
                next_tick = Instant::now() + tick;
            }
        }
        Ok(())
    }

    fn listen(&self) -> nix::Result<()> {
        let listener = self.inherited.listener;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE;
        self.epoll.add(listener, event(listener.as_raw_fd(), flags))
    }

    fn note(&self, state: State) {
        let state = if self.finishing { State::Finishing } else { state };
        self.inherited.account.state(state, self.connections.len());
    }

    /// Takes one connection. Was there one?
    fn accept(&mut self) -> nix::Result<bool> {
        let Inherited { context, listener, room, .. } = self.inherited;
        if self.finishing {
            return Ok(false);
        }
        let stream = match accept(listener, context) {
            Ok(stream) => stream,
            Err(Errno::EAGAIN) => return Ok(false),
            // Out of descriptors: who keeps silent gives theirs. With nobody to take one from, the listening socket would
            // be ready again and again, and the worker would spin.
            Err(_) if self.drop_idle() => return Ok(true),
            Err(_) => {
                self.paused = true;
                self.epoll.delete(listener)?;
                return Ok(false);
            }
        };
        if self.connections.len() >= room && !self.drop_idle() {
            refuse(stream, context);
            return Ok(true);
        }
        let fd = stream.as_raw_fd();
        let mut connection = Connection::new(stream, context);
        self.inherited.account.state(State::Answering, self.connections.len() + 1);
        // Its first bytes are there already, as a rule (TCP_DEFER_ACCEPT).
        let next = connection.advance(context, self.inherited.account);
        if next != Next::Close {
            self.epoll.add(&connection, event(fd, interest(next)))?;
            self.connections.insert(fd, (connection, next));
        }
        Ok(true)
    }

    /// Closes the connection that has been idle for longest. Was there one?
    fn drop_idle(&mut self) -> bool {
        let idle = self.connections.iter().filter(|(_, (connection, _))| connection.is_idle());
        let oldest = idle.min_by_key(|(_, (connection, _))| connection.deadline()).map(|(&fd, _)| fd);
        oldest.and_then(|fd| self.connections.remove(&fd)).is_some()
    }

    fn advance(&mut self, fd: RawFd) -> nix::Result<()> {
        let Inherited { context, account, .. } = self.inherited;
        // It may have been closed by what came before it in the same list of events.
        let Some((connection, before)) = self.connections.get_mut(&fd) else { return Ok(()) };
        let next = connection.advance(context, account);
        if next == Next::Close || (self.stopping && connection.is_idle()) {
            // With its only descriptor closed, epoll forgets it.
            self.connections.remove(&fd);
        } else if next != *before {
            *before = next;
            self.epoll.modify(&*connection, &mut event(fd, interest(next)))?;
        }
        Ok(())
    }

    fn signal(&mut self) -> nix::Result<()> {
        let signal = signals::next(self.inherited.signals);
        if !matches!(signal, Some(Signal::SIGTERM | Signal::SIGHUP)) {
            return Ok(());
        }
        self.stopping |= signal == Some(Signal::SIGTERM);
        if !self.finishing {
            // The kernel may have woken this worker, and no other, for a connection that is still in the queue.
            for _ in 0..LAST {
                if !self.accept()? {
                    break;
                }
            }
            if !mem::take(&mut self.paused) {
                self.epoll.delete(self.inherited.listener)?;
            }
            // As long as one process has it open, the kernel lets people in.
            close(self.inherited.listener.as_raw_fd())?;
            self.finishing = true;
        }
        for fd in self.descriptors(|_| true) {
            if let Some((connection, _)) = self.connections.get_mut(&fd) {
                connection.finish();
            }
            self.advance(fd)?;
        }
        Ok(())
    }

    fn expire(&mut self) -> nix::Result<()> {
        let now = Instant::now();
        for fd in self.descriptors(|connection| connection.deadline() <= now) {
            let more = self
                .connections
                .get_mut(&fd)
                .is_some_and(|(late, _)| late.expire(self.inherited.context, self.inherited.account));
            if more {
                self.advance(fd)?;
            } else {
                self.connections.remove(&fd);
            }
        }
        Ok(())
    }

    fn descriptors(&self, which: impl Fn(&Connection) -> bool) -> Vec<RawFd> {
        self.connections.iter().filter(|(_, (connection, _))| which(connection)).map(|(&fd, _)| fd).collect()
    }
}

fn event(fd: RawFd, flags: EpollFlags) -> EpollEvent {
    EpollEvent::new(flags, fd as u64)
}

fn interest(next: Next) -> EpollFlags {
    if next == Next::Write { EpollFlags::EPOLLOUT } else { EpollFlags::EPOLLIN }
}
