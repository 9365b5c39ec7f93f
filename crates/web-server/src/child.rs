//! The child that is forked for one connection.
//!
//! It inherits the parent's signalfd(2), and reads its own signals from it: such a descriptor means the process that
//! reads. Signals are blocked otherwise, so they are looked at while it waits and never in the middle of an answer.
//!
//! Manual pages: poll(2), signalfd(2).

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use crate::connection::{Connection, Next};
use crate::scoreboard::{Account, State};
use crate::server::Context;
use crate::signals;

/// Serves a connection to its end.
pub fn serve(mut connection: Connection, signals: &SignalFd, context: &Context, account: &Account) {
    let mut busy = State::Answering;
    let mut stop = false;
    loop {
        account.state(busy, 1);
        let next = connection.advance(context, account);
        if next == Next::Close || (stop && connection.is_idle()) {
            return;
        }
        if connection.is_idle() {
            account.state(State::Waiting, 1);
        }
        let events = if next == Next::Read { PollFlags::POLLIN } else { PollFlags::POLLOUT };
        let mut fds = [PollFd::new(connection.as_fd(), events), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        // An error can only be EINTR.
        let count = poll(&mut fds, until(Some(connection.deadline())));
        let signalled = fds[1].any().unwrap_or(false);
        if count == Ok(0) && !connection.expire(context, account) {
            return;
        }
        if signalled && let Some(signal @ (Signal::SIGTERM | Signal::SIGHUP)) = signals::next(signals) {
            // Before SIGTERM ends it, what is open is finished. Before SIGHUP does, one more request is answered: the
            // client may just be sending it, and learns from the answer that it was the last.
            stop |= signal == Signal::SIGTERM;
            connection.finish();
            busy = State::Finishing;
        }
    }
}

/// The time from now to a deadline, rounded up so that nobody wakes too early.
pub fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now()).saturating_add(Duration::from_nanos(999_999));
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}
