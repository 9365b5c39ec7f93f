//! Bounding a wait from outside: a blocked system call is ended by a signal to its thread.
//!
//! Most mechanisms have no timed call, few tell of a dead peer, and none should pay for either on every
//! message. So a wait is one plain blocking call, and other threads look after it: one sleeps until the
//! time is up, one sleeps in poll(2) on the peer's pidfd. When there is a cause to stop, it is noted first,
//! and then the waiting thread gets SIGURG, whose handler does nothing but let the call end with EINTR. The
//! signal is repeated until the waiting thread has seen the cause, because one that comes just before the
//! call begins is lost.
#![expect(unsafe_code, reason = "installing a signal handler is unsafe")]

use std::cell::OnceCell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::helper::{self, Table};

/// Why a wait must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    PeerGone = 1,
    TimedOut = 2,
}

/// Between two signals to a thread that has not seen the first.
const REPEAT: Duration = Duration::from_millis(2);

/// Looks after the waits of the thread that made it.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    timed: bool,
    /// The thread that acts when a wait must end.
    actor: OnceCell<JoinHandle<()>>,
    _of_one_thread: PhantomData<*const ()>,
}

struct Shared {
    start: Instant,
    /// Nanoseconds from `start` to the beginning of the wait under way; 0 while there is none.
    waiting_since: AtomicU64,
    cause: AtomicU8,
    /// `None` once the `Watch` is gone.
    waiter: Mutex<Option<Waiter>>,
}

/// The thread that waits, and who else must hear of it when a wait must end.
struct Waiter {
    thread: Pthread,
    actor: Option<Sender<()>>,
}

impl Shared {
    fn waiter(&self) -> MutexGuard<'_, Option<Waiter>> {
        self.waiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    pub(crate) fn new(timeout: Option<Duration>) -> io::Result<Watch> {
        install_handler()?;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            waiting_since: AtomicU64::new(0),
            cause: AtomicU8::new(0),
            waiter: Mutex::new(Some(Waiter { thread: pthread_self(), actor: None })),
        });
        let watch = Watch { shared, timed: timeout.is_some(), actor: OnceCell::new(), _of_one_thread: PhantomData };
        if let Some(timeout) = timeout {
            let shared = Arc::downgrade(&watch.shared);
            helper::spawn("timeout", Table::Own, &[], move |_| watch_clock(&shared, timeout))?;
        }
        Ok(watch)
    }

    /// Starts a thread that waits for the peer's death; `death` returns when it has happened. It gets `descriptors` as
    /// its own.
    pub(crate) fn peer(
        &self,
        descriptors: &[BorrowedFd<'_>],
        death: impl FnOnce(Vec<OwnedFd>) -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        helper::spawn("peer", Table::Own, descriptors, self.stopping_after(death)).map(drop)
    }

    /// As [`peer`](Self::peer), for a `death` that looks at what the program opens later.
    pub(crate) fn peer_of_program(&self, death: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        helper::spawn("peer", Table::Shared, &[], self.stopping_after(|_| death())).map(drop)
    }

    fn stopping_after(
        &self,
        death: impl FnOnce(Vec<OwnedFd>) -> io::Result<()> + Send + 'static,
    ) -> impl FnOnce(Vec<OwnedFd>) + Send + 'static {
        let shared = Arc::downgrade(&self.shared);
        move |own| {
            // An error here means that the peer can no longer be watched; better to stop than to hang.
            let _ = death(own);
            stop(&shared, Cause::PeerGone);
        }
    }

    /// What else it takes to end a wait, for a library that hides EINTR. To be called once. It runs in a thread of its
    /// own, which has a descriptor of its own.
    pub(crate) fn on_stop(
        &self,
        descriptor: BorrowedFd<'_>,
        action: impl Fn(&OwnedFd) + Send + 'static,
    ) -> io::Result<()> {
        let (tell, told) = channel();
        let act = move |own: Vec<OwnedFd>| told.iter().for_each(|()| own.iter().for_each(&action));
        let _ = self.actor.set(helper::spawn("stop", Table::Own, &[descriptor], act)?);
        if let Some(waiter) = &mut *self.shared.waiter() {
            waiter.actor = Some(tell);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn begin_wait(&self) {
        // The clock is read only if somebody will look at it.
        let since = if self.timed { nanoseconds(self.shared.start.elapsed()).max(1) } else { 1 };
        self.shared.waiting_since.store(since, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn end_wait(&self) {
        self.shared.waiting_since.store(0, Ordering::Relaxed);
    }

    /// Why to stop, if there is a cause. Whatever the peer did before its death is visible after this.
    #[inline]
    pub(crate) fn cause(&self) -> Option<Cause> {
        match self.shared.cause.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Cause::PeerGone),
            _ => Some(Cause::TimedOut),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.shared.waiter() = None;
        // Its descriptor is closed when this returns, and a kernel's object that nobody has open any more is gone: the
        // next one may need its room.
        if let Some(actor) = self.actor.take() {
            let _ = actor.join();
        }
    }
}

fn watch_clock(shared: &Weak<Shared>, timeout: Duration) {
    let limit = nanoseconds(timeout);
    loop {
        let sleep = {
            let Some(shared) = shared.upgrade() else { return };
            let now = nanoseconds(shared.start.elapsed());
            match shared.waiting_since.load(Ordering::Relaxed) {
                // A wait that begins from now on cannot be due before `timeout` has passed.
                0 => limit,
                since => since.saturating_add(limit).saturating_sub(now),
            }
        };
        if sleep == 0 {
            return stop(shared, Cause::TimedOut);
        }
        thread::park_timeout(Duration::from_nanos(sleep));
    }
}

/// Notes the cause and interrupts the waiting thread until there is nobody left to interrupt.
fn stop(shared: &Weak<Shared>, cause: Cause) {
    while let Some(shared) = shared.upgrade() {
        match cause {
            // It outranks a deadline that passed while this process was stopped and that no call has run
            // into: who never blocks, as in a file, would otherwise go on for ever.
            Cause::PeerGone => shared.cause.store(cause as u8, Ordering::Release),
            Cause::TimedOut => {
                let _ = shared.cause.compare_exchange(0, cause as u8, Ordering::Release, Ordering::Relaxed);
            }
        }
        {
            let waiter = shared.waiter();
            let Some(Waiter { thread, actor }) = &*waiter else { return };
            if shared.waiting_since.load(Ordering::Relaxed) != 0 {
                if let Some(tell) = actor {
                    let _ = tell.send(());
                }
                let _ = pthread_kill(*thread, Signal::SIGURG);
            }
        }
        drop(shared);
        thread::park_timeout(REPEAT);
    }
}

/// SIGURG is ignored by default, so a stray one harms no program.
fn install_handler() -> io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    // No SA_RESTART: the point is that the system call ends.
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: a handler that does nothing is async-signal-safe.
    unsafe { sigaction(Signal::SIGURG, &action) }?;
    // Whoever started this program may have blocked it, and a blocked signal ends no call.
    SigSet::from(Signal::SIGURG).thread_unblock()?;
    Ok(())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, pipe};
    use std::os::fd::AsFd;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::Watch;

    #[test]
    fn what_ends_waits_has_nothing_open_after_them() {
        for _ in 0..100 {
            let (mut read, end) = pipe().unwrap();
            fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
            let watch = Watch::new(None).unwrap();
            watch.on_stop(end.as_fd(), |_| ()).unwrap();
            drop(end);
            drop(watch);
            assert_eq!(read.read(&mut [0]).unwrap(), 0, "nobody has the other end");
        }
    }
}
