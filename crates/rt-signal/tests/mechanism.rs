//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "the two ends must be processes of one thread each, which fork(2) makes")]

use std::io::{self, Read, Write};
use std::{process, ptr};

use nix::errno::Errno;
use rt_signal::rt_signal::{self as rt, BYTES, Inbox, Peer, Reader, WINDOW, Writer};

/// Runs `body` in a child process, in which the signals are blocked.
///
/// The test's own process must not be an end: its other threads do not block the signals and would be killed.
fn child(body: impl FnOnce() -> io::Result<()>) -> i32 {
    rt::block().expect("block");
    // SAFETY: the child goes on with this thread only; glibc keeps its allocator usable after a fork, and
    // nothing else is used there that another thread could have locked.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", io::Error::last_os_error());
    if pid == 0 {
        let code = i32::from(body().is_err());
        // SAFETY: ends the child at once, without the test harness's own clean-up.
        unsafe { libc::_exit(code) };
    }
    pid
}

fn exit_status(pid: i32) -> i32 {
    let mut status = -1;
    // SAFETY: `status` has room for the answer, and `pid` is a child that nobody else waits for.
    let waited = unsafe { libc::waitpid(pid, ptr::from_mut(&mut status), 0) };
    assert_eq!(waited, pid);
    status
}

/// What does not hold in a child ends it with a code that is not 0.
fn ensure(condition: bool) -> io::Result<()> {
    if condition { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[test]
fn every_byte_arrives_as_it_was() {
    // Many windows full, and not a multiple of what one value holds.
    let sent: Vec<u8> = (0..20 * WINDOW * BYTES + 3).map(|at| (at % 251) as u8).collect();
    let expected = sent.clone();
    let receiver = child(move || {
        let mut arrived = vec![0; expected.len()];
        Reader::new(|pid| Peer::open(pid).map(Some))?.read_exact(&mut arrived)?;
        ensure(arrived == expected)
    });
    let sender = child(move || {
        let mut writer = Writer::new(Peer::open(receiver)?)?;
        writer.write_all(&sent)?;
        writer.flush()
    });
    assert_eq!((exit_status(sender), exit_status(receiver)), (0, 0));
}

#[test]
fn a_thousand_are_seen_in_order_and_of_the_standard_signal_one() {
    let one = child(|| {
        let own = Peer::open(process::id().cast_signed())?;
        (0..1000).try_for_each(|n| own.queue(n))?;
        let (mut inbox, mut seen) = (Inbox::new()?, Vec::new());
        while seen.len() < 1000 {
            let before = seen.len();
            seen.extend(inbox.take()?);
            ensure(seen.len() - before == 64.min(1000 - before))?;
        }
        ensure(seen.into_iter().eq((0..1000).map(|n| (process::id().cast_signed(), n))))
    });
    let other = child(|| {
        let standard = nix::sys::signal::SigSet::from(nix::sys::signal::Signal::SIGUSR1);
        standard.thread_block()?;
        for _ in 0..1000 {
            nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGUSR1)?;
        }
        let mut seen = 0;
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the set and the time are initialised, and a null siginfo is not written to.
        while unsafe { libc::sigtimedwait(standard.as_ref(), ptr::null_mut(), &now) } > 0 {
            seen += 1;
        }
        ensure(seen == 1)
    });
    assert_eq!((exit_status(one), exit_status(other)), (0, 0));
}

#[test]
fn a_full_queue_says_so_and_takes_more_when_something_is_taken() {
    let status = child(|| {
        let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
        // SAFETY: `limit` is initialised.
        Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &limit) })?;
        let own = Peer::open(process::id().cast_signed())?;
        // What other processes of this user have queued counts too.
        let room = (0..).take_while(|_| own.queue(0).is_ok()).take(101).count();
        ensure(room <= 100 && own.queue(0) == Err(Errno::EAGAIN))?;
        if room > 0 {
            Inbox::new()?.take()?.count();
            own.queue(0)?;
        }
        Ok(())
    });
    assert_eq!(exit_status(status), 0);
}

#[test]
fn a_value_that_lies_about_its_length_is_refused() {
    for lie in [0_u8, BYTES as u8 + 1, u8::MAX] {
        let receiver = child(|| {
            // The writer may have ended by now: it needs no answer.
            let mut reader = Reader::new(|pid| Ok(Some(Peer::new(pid, None))))?;
            let error = reader.read(&mut [0; 100]).err();
            ensure(error.is_some_and(|error| error.kind() == io::ErrorKind::InvalidData))
        });
        let mut value = [0; size_of::<usize>()];
        value[0] = lie;
        let sender = child(|| Ok(Peer::open(receiver)?.queue(usize::from_be_bytes(value))?));
        assert_eq!((exit_status(sender), exit_status(receiver)), (0, 0), "{lie}");
    }
}

#[test]
fn a_writer_is_told_that_the_reader_has_ended() -> io::Result<()> {
    let gone = child(|| Ok(()));
    let peer = Peer::open(gone)?;
    assert_eq!(exit_status(gone), 0);
    // The pid is free again, and perhaps somebody else's by now. The pidfd is nobody else's.
    let result = Writer::new(peer)?.write(b"x");
    assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    assert!(Peer::open(gone).is_err());
    Ok(())
}
