//! A pool of workers that are forked in advance. The parent accepts nothing; it sees that the pool is complete.
//!
//! ```text
//! parent     poll ─▶ SIGCHLD: waitpid, fork another        SIGHUP: fork fresh ones, and when these are ready,
//!                                                                   SIGHUP to the old ones
//! worker 1   epoll_wait ─▶ accept4 ─▶ recv ─▶ send, sendfile ─▶ epoll_wait …
//! worker 2   …
//! ```
//!
//! The listening socket is open all the time, and so is its queue: whatever becomes of the workers, no connection is
//! lost that none of them has accepted.
//!
//! Manual pages: fork(2), poll(2), eventfd(2), listen(2).

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use common::{Context as _, Result};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;

use crate::child::until;
use crate::children::Child;
use crate::scoreboard::State;
use crate::server::{Server, say};
use crate::signals;
use crate::worker::{self, Inherited};

/// A worker that ends sooner than that has something wrong with it, and the next one waits for so long.
const PAUSE: Duration = Duration::from_secs(1);

struct Pool {
    server: Server,
    /// Workers add 1 when they are ready.
    ready: OwnedFd,
    /// How often fresh workers have been asked for.
    generation: u32,
    /// Has everybody been ready who belongs to it?
    complete: bool,
    /// They are wanted again, as soon as those that are being started are ready.
    again: bool,
    /// When another one may be started.
    not_before: Instant,
    failing: bool,
}

/// Serves until it is to stop.
///
/// # Errors
/// Those of eventfd(2) and poll(2).
pub fn serve(server: Server) -> Result<()> {
    let ready = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).doing("eventfd")?;
    let mut pool = Pool {
        server,
        ready: ready.into(),
        generation: 0,
        complete: false,
        again: false,
        not_before: Instant::now(),
        failing: false,
    };
    while pool.turn()? {}
    pool.server.finish()
}

impl Pool {
    /// Completes the pool, waits until something happens and does what is to be done. `false`: it is to stop.
    fn turn(&mut self) -> Result<bool> {
        let missing = self.fill();
        let mut fds = [self.server.signals.as_fd(), self.ready.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, until(missing.then_some(self.not_before))) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error).doing("poll"),
        }
        if fds[1].any().unwrap_or(false) {
            let _ = nix::unistd::read(&self.ready, &mut [0; 8]);
            self.check()?;
        }
        match signals::next(&self.server.signals) {
            Some(Signal::SIGCHLD) => self.reap(),
            Some(Signal::SIGHUP) => self.renew(),
            Some(Signal::SIGUSR1) => self.server.report(),
            Some(Signal::SIGTERM | Signal::SIGINT) => return Ok(false),
            _ => {}
        }
        Ok(true)
    }

    /// Starts workers until there are as many as there should be. Are some missing?
    fn fill(&mut self) -> bool {
        while self.current().count() < self.server.options.workers {
            if Instant::now() < self.not_before {
                return true;
            }
            // So many old ones are still at it that there is no slot for a fresh one.
            if self.server.children.is_full() {
                self.not_before = Instant::now() + PAUSE;
                return true;
            }
            let forked = self.fork();
            if let Err(error) = forked {
                if !self.failing {
                    say(&format!("fork: {error}"));
                }
                self.not_before = Instant::now() + PAUSE;
            }
            self.failing = forked.is_err();
        }
        false
    }

    fn fork(&mut self) -> nix::Result<()> {
        let Server { context, listener, signals, children, room, .. } = &mut self.server;
        let keep = [&listener.as_fd(), &signals.as_fd(), &context.root.as_fd(), &self.ready.as_fd()];
        children.spawn(self.generation, &keep.map(AsRawFd::as_raw_fd), |account| {
            let inherited = Inherited { context, account, listener, signals, ready: &self.ready, room: *room };
            if let Err(error) = worker::serve(inherited) {
                panic!("{error}");
            }
        })
    }

    /// The workers of the present generation.
    fn current(&self) -> impl Iterator<Item = &Child> {
        self.server.children.alive().iter().filter(|child| child.generation == self.generation)
    }

    /// Once all workers of the present generation are ready, the older ones may go.
    fn check(&mut self) -> Result<()> {
        let ready = |child: &&Child| self.server.context.board.view(child.slot).state != State::Starting;
        if self.complete || self.current().filter(ready).count() < self.server.options.workers {
            return Ok(());
        }
        self.complete = true;
        if self.generation == 0 {
            self.server.announce()?;
        }
        self.server.children.signal(Signal::SIGHUP, |child| child.generation < self.generation);
        if self.again {
            self.renew();
        }
        Ok(())
    }

    fn renew(&mut self) {
        self.again = !self.complete;
        if self.complete {
            self.generation += 1;
            self.complete = false;
            self.not_before = Instant::now();
        }
    }

    fn reap(&mut self) {
        while let Some(child) = self.server.children.reap() {
            if child.generation == self.generation && child.started.elapsed() < PAUSE {
                self.not_before = Instant::now() + PAUSE;
            }
        }
    }
}
