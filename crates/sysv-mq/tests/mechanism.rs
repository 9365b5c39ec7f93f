//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "installing a signal handler and signalling a thread are unsafe")]

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use std::{io, process, thread};

use libc::{c_int, c_long};
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use sysv_mq::sysv_mq::{self as mq, MAX_MESSAGE, Message, Queue};

/// A queue of its own for each test, removed even if the test fails.
struct Own(i32, Queue);

impl Own {
    fn new() -> io::Result<Own> {
        static NUMBER: AtomicI32 = AtomicI32::new(0);
        let key = (process::id() as i32) << 8 | NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Own(key, Queue::create(key)?))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = mq::remove(self.0);
    }
}

fn put(queue: &Queue, mtype: c_long, text: &str) -> io::Result<()> {
    let mut message = Message::empty();
    message.set(mtype, text.as_bytes())?;
    queue.put(&message)
}

fn take(queue: &Queue, msgtyp: c_long) -> io::Result<(c_long, String)> {
    let mut message = Message::empty();
    queue.take(msgtyp, &mut message)?;
    Ok((message.mtype(), String::from_utf8_lossy(message.text()).into_owned()))
}

/// Runs `call` in a thread of its own and signals that thread until the call has ended.
///
/// This is how to bound a wait that has no time limit: by a signal, sent again until it has been seen, for one
/// that comes just before the call begins is lost.
fn interrupted<T: Send + 'static>(call: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    extern "C" fn nothing(_: c_int) {}
    // SA_RESTART does not help: signal(7) lists msgrcv and msgsnd among the calls that never go on by themselves.
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: a handler that does nothing is async-signal-safe.
    unsafe { sigaction(Signal::SIGUSR1, &action) }?;
    let thread = thread::spawn(call);
    while !thread.is_finished() {
        thread::sleep(Duration::from_millis(5));
        // SAFETY: the thread has not been joined, so its identifier is still its own.
        unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
    }
    thread.join().expect("the call panicked")
}

fn errno<T>(result: io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::try_from(error).ok())
}

#[test]
fn a_message_is_chosen_by_its_type() -> io::Result<()> {
    let own = Own::new()?;
    for (mtype, text) in [(3, "three"), (1, "one"), (2, "two"), (3, "three again"), (2, "")] {
        put(&own.1, mtype, text)?;
    }
    let is = |msgtyp, mtype, text: &str| take(&own.1, msgtyp).map(|taken| assert_eq!(taken, (mtype, text.to_owned())));
    is(2, 2, "two")?;
    is(-9, 1, "one")?;
    is(-2, 2, "")?;
    is(0, 3, "three")?;
    is(-3, 3, "three again")
}

#[test]
fn one_of_another_type_does_not_end_a_wait() -> io::Result<()> {
    let own = Own::new()?;
    put(&own.1, 3, "not this one")?;
    let queue = Queue::open(own.0)?;
    assert_eq!(errno(interrupted(move || take(&queue, 2))), Some(Errno::EINTR));
    let queue = Queue::open(own.0)?;
    let waiting = thread::spawn(move || take(&queue, 2));
    put(&own.1, 2, "this one")?;
    assert_eq!(waiting.join().expect("the reader panicked")?, (2, "this one".to_owned()));
    assert_eq!(take(&own.1, 0)?, (3, "not this one".to_owned()));
    Ok(())
}

#[test]
fn a_full_queue_blocks_and_a_signal_ends_the_wait() -> io::Result<()> {
    let own = Own::new()?;
    let longest = "x".repeat(MAX_MESSAGE);
    put(&own.1, 1, &longest)?;
    put(&own.1, 1, &longest)?;
    let queue = Queue::open(own.0)?;
    assert_eq!(errno(interrupted(move || put(&queue, 1, "x"))), Some(Errno::EINTR));
    assert_eq!(take(&own.1, 1)?.1.len(), MAX_MESSAGE);
    put(&own.1, 1, "x")
}

#[test]
fn many_messages_keep_their_order() -> io::Result<()> {
    let own = Own::new()?;
    let queue = Queue::open(own.0)?;
    let putting = thread::spawn(move || (0..50_000).try_for_each(|n: u32| put(&queue, 1, &n.to_string())));
    for n in 0..50_000 {
        assert_eq!(take(&own.1, 0)?, (1, n.to_string()));
    }
    putting.join().expect("the writer panicked")
}

#[test]
fn who_waits_and_who_comes_later_is_told_that_the_queue_is_gone() -> io::Result<()> {
    let own = Own::new()?;
    let queue = Queue::open(own.0)?;
    let waiting = thread::spawn(move || take(&queue, 0));
    // Long enough to be waiting; if it is not yet, it is one that comes later.
    thread::sleep(Duration::from_millis(50));
    mq::remove(own.0)?;
    assert_eq!(errno(waiting.join().expect("the reader panicked")), Some(Errno::EIDRM));
    assert_eq!(errno(put(&own.1, 1, "x")), Some(Errno::EIDRM));
    assert_eq!(errno(take(&own.1, 0)), Some(Errno::EIDRM));
    assert_eq!(errno(Queue::open(own.0)), Some(Errno::ENOENT));
    assert_eq!(errno(mq::remove(own.0)), Some(Errno::ENOENT));
    Ok(())
}

#[test]
fn what_cannot_be_is_refused() -> io::Result<()> {
    let own = Own::new()?;
    assert_eq!(errno(Queue::create(own.0)), Some(Errno::EEXIST));
    assert_eq!(errno(put(&own.1, 0, "no type")), Some(Errno::EINVAL));
    assert_eq!(errno(put(&own.1, 1, &"x".repeat(MAX_MESSAGE + 1))), Some(Errno::EMSGSIZE));
    Ok(())
}
