//! The lecture's way: a process for every connection.
//!
//! ```text
//! parent   epoll_wait ─▶ accept4 ─▶ fork ─▶ close ─▶ epoll_wait …        SIGCHLD ─▶ waitpid
//! child                              └─▶ recv ─▶ send, sendfile ─▶ … ─▶ _exit
//! ```
//!
//! The parent never waits for a client. fork(2) copies the parent's page tables, so the parent stays small: one
//! thread, no caches, a few descriptors.
//!
//! Manual pages: fork(2), accept(2), epoll(7).

use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use common::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, recv};

use crate::answer::answer;
use crate::child::{self, until};
use crate::connection::Connection;
use crate::lobby::Lobby;
use crate::request::{Parsed, parse};
use crate::server::{Context, Server, accept, refuse, say};
use crate::signals;

/// Connections that are accepted before signals have their turn.
const TURN: usize = 16;
/// How long to let descriptors or memory come back before connections are accepted again.
const PAUSE: Duration = Duration::from_millis(100);

struct Parent {
    server: Server,
    epoll: Epoll,
    lobby: Lobby,
    /// Until when the listening socket is left alone.
    paused: Option<Instant>,
    /// Has the last fork failed?
    failing: bool,
}

/// Serves until it is to stop.
///
/// # Errors
/// Those of epoll_create(2) and epoll_ctl(2).
pub fn serve(server: Server) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).doing("epoll_create")?;
    let lobby = Lobby::new(server.room, &server.context);
    let mut parent = Parent { server, epoll, lobby, paused: None, failing: false };
    let signals = &parent.server.signals;
    parent.epoll.add(signals, EpollEvent::new(EpollFlags::EPOLLIN, signals.as_raw_fd() as u64)).doing("epoll_ctl")?;
    parent.listen().doing("epoll_ctl")?;
    parent.server.announce()?;
    warm_up(&parent.server.context);
    while parent.turn()? {}
    // Those who came before the signal are served.
    parent.accept();
    parent.server.finish()
}

/// Answers a request of nobody's. What a program does for the first time costs more: the parser asks the processor what it
/// can, which a virtual machine takes long to tell. Every child inherits the result.
fn warm_up(context: &Context) {
    if let Parsed::Whole(request, _) = parse(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") {
        answer(&request, context, || None).write_head(None, &mut Vec::new());
    }
}

impl Parent {
    /// Waits until something happens and does what is to be done. `false`: it is to stop.
    fn turn(&mut self) -> Result<bool> {
        let mut events = [EpollEvent::empty(); 32];
        let wake = self.lobby.deadline().into_iter().chain(self.paused).min();
        let count = match self.epoll.wait(&mut events, until(wake)) {
            Err(Errno::EINTR) => 0,
            other => other.doing("epoll_wait")?,
        };
        for event in &events[..count] {
            let fd = event.data() as i32;
            if fd == self.server.signals.as_raw_fd() {
                if !self.signal() {
                    return Ok(false);
                }
            } else if fd == self.server.listener.as_raw_fd() {
                self.accept();
            } else if let Some(stream) = self.lobby.leave(fd, &self.epoll, &self.server.context) {
                self.welcome(stream);
            }
        }
        self.lobby.expire(&self.epoll, &self.server.context);
        if self.paused.take_if(|until| *until <= Instant::now()).is_some() {
            self.listen().doing("epoll_ctl")?;
        }
        Ok(true)
    }

    /// Does what a signal asks for. `false`: to stop.
    fn signal(&mut self) -> bool {
        match signals::next(&self.server.signals) {
            Some(Signal::SIGCHLD) => while self.server.children.reap().is_some() {},
            // Every child is fresh here. The old ones end with their next answer.
            Some(Signal::SIGHUP) => self.server.children.signal(Signal::SIGHUP, |_| true),
            Some(Signal::SIGUSR1) => self.server.report(),
            Some(Signal::SIGTERM | Signal::SIGINT) => return false,
            _ => {}
        }
        true
    }

    fn accept(&mut self) {
        for _ in 0..TURN {
            match accept(&self.server.listener, &self.server.context) {
                Ok(stream) => self.welcome(stream),
                Err(Errno::EAGAIN) => return,
                // Out of descriptors: who keeps silent gives theirs. With nobody to take one from, the listening socket
                // would be ready again and again, and the parent would spin.
                Err(_) if self.lobby.drop_oldest(&self.epoll, &self.server.context) => {}
                Err(_) => {
                    let _ = self.epoll.delete(&self.server.listener);
                    self.paused = Some(Instant::now() + PAUSE);
                    return;
                }
            }
        }
    }

    fn listen(&self) -> nix::Result<()> {
        let fd = self.server.listener.as_raw_fd();
        self.epoll.add(&self.server.listener, EpollEvent::new(EpollFlags::EPOLLIN, fd as u64))
    }

    /// A child for a connection that has said something; the lobby for one that has not.
    fn welcome(&mut self, stream: TcpStream) {
        match recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK) {
            Ok(1..) => self.fork(stream),
            Err(Errno::EAGAIN) => drop(self.lobby.enter(stream, &self.epoll, &self.server.context)),
            // It has gone.
            Ok(0) | Err(_) => {}
        }
    }

    fn fork(&mut self, stream: TcpStream) {
        let Server { children, context, signals, .. } = &mut self.server;
        if children.is_full() {
            while children.reap().is_some() {}
        }
        let keep = [stream.as_raw_fd(), signals.as_raw_fd(), context.root.as_fd().as_raw_fd()];
        let mut guest = Some(stream);
        let forked = children.spawn(0, &keep, |account| {
            if let Some(stream) = guest.take() {
                child::serve(Connection::new(stream, context), signals, context, account);
            }
        });
        let Err(error) = forked else {
            self.failing = false;
            return;
        };
        if !children.is_full() {
            // Once is enough: the figure of refused connections tells the rest.
            if !self.failing {
                say(&format!("fork: {error}"));
            }
            self.failing = true;
        }
        // It is still the parent's: what the child has taken was the child's copy.
        guest.into_iter().for_each(|stream| refuse(stream, context));
    }
}
