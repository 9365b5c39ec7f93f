//! The waiting room: connections that have not said anything yet.
//!
//! A child costs a process, so a connection gets one when its first byte has come. Until then it costs a descriptor;
//! hundreds of silent ones keep nobody from being served. When the room is full, who has been silent for longest goes.
//!
//! Manual pages: epoll(7), epoll_ctl(2).

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};

use crate::server::Context;

/// Connections, in the order in which they have come.
#[derive(Debug)]
pub struct Lobby {
    waiting: VecDeque<(TcpStream, Instant)>,
    room: usize,
    patience: Duration,
}

impl Lobby {
    /// Room for so many, each for as long as the server's timeout.
    pub fn new(room: usize, context: &Context) -> Lobby {
        Lobby { waiting: VecDeque::new(), room, patience: context.timeout }
    }

    /// Lets a connection wait. `epoll` will tell, with its descriptor, when it says something.
    ///
    /// # Errors
    /// `ENOMEM`, `ENOSPC` (epoll_ctl(2)).
    pub fn enter(&mut self, stream: TcpStream, epoll: &Epoll, context: &Context) -> io::Result<()> {
        if self.waiting.len() >= self.room {
            self.drop_oldest(epoll, context);
        }
        epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, stream.as_raw_fd() as u64))?;
        self.waiting.push_back((stream, Instant::now() + self.patience));
        self.count(context);
        Ok(())
    }

    /// Takes out a connection that has said something.
    pub fn leave(&mut self, fd: RawFd, epoll: &Epoll, context: &Context) -> Option<TcpStream> {
        let at = self.waiting.iter().position(|(stream, _)| stream.as_raw_fd() == fd)?;
        let (stream, _) = self.waiting.remove(at)?;
        // To close it would not be enough: epoll watches the connection, not the descriptor, and a child that has just
        // been forked may have another descriptor of the same connection.
        let _ = epoll.delete(&stream);
        self.count(context);
        Some(stream)
    }

    /// Sends the one away that has waited for longest. Was there one?
    pub fn drop_oldest(&mut self, epoll: &Epoll, context: &Context) -> bool {
        let oldest = self.waiting.front().map(|(stream, _)| stream.as_raw_fd());
        oldest.and_then(|fd| self.leave(fd, epoll, context)).is_some()
    }

    /// Sends those away whose time is up.
    pub fn expire(&mut self, epoll: &Epoll, context: &Context) {
        while self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.drop_oldest(epoll, context);
        }
    }

    /// When the next one's time will be up.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|&(_, deadline)| deadline)
    }

    fn count(&self, context: &Context) {
        context.board.totals.waiting.store(self.waiting.len() as u64, Ordering::Relaxed);
    }
}
