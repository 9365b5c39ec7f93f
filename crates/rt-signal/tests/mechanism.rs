//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "the two ends must be processes of one thread each, which fork(2) makes")]

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{iter, process, ptr, thread};

use nix::errno::Errno;
use rt_signal::rt_signal::{self as rt, BATCH, Inbox, Peer};
use rt_signal::stream::{BYTES, Reader, WINDOW, Writer};

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
        // One that waits for ever fails, too.
        // SAFETY: the call touches no memory.
        unsafe { libc::alarm(20) };
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
            ensure(seen.len() - before == BATCH.min(1000 - before))?;
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

/// Sets how many signals may be queued for this user where this process is to get them.
fn limit(signals: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for the answer.
    Errno::result(unsafe { libc::getrlimit(libc::RLIMIT_SIGPENDING, &mut limit) })?;
    limit.rlim_cur = signals.min(limit.rlim_max);
    // SAFETY: `limit` is initialised.
    Errno::result(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &limit) })?;
    Ok(())
}

#[test]
fn an_answer_that_finds_no_room_comes_later() {
    let receiver = child(|| {
        let mut arrived = vec![0; 2 * WINDOW * BYTES];
        Reader::new(|pid| Peer::open(pid).map(Some))?.read_exact(&mut arrived)
    });
    let sender = child(move || {
        let mut writer = Writer::new(Peer::open(receiver)?)?;
        limit(0)?;
        writer.write_all(&[1; WINDOW * BYTES])?;
        // Time enough for the reader to take it all and to be refused.
        thread::sleep(Duration::from_millis(100));
        limit(u64::MAX)?;
        writer.write_all(&[2; WINDOW * BYTES])?;
        writer.flush()
    });
    assert_eq!((exit_status(sender), exit_status(receiver)), (0, 0));
}

#[test]
fn a_full_queue_says_so_unless_there_is_something_to_wait_for() {
    let status = child(|| {
        let own = || Peer::open(process::id().cast_signed());
        limit(0)?;
        ensure(own()?.queue(0) == Err(Errno::EAGAIN))?;
        let error = Writer::new(own()?)?.write(b"x").err();
        ensure(error.is_some_and(|error| error.to_string().contains("RLIMIT_SIGPENDING")))?;
        limit(u64::MAX)?;
        Ok(own()?.queue(0)?)
    });
    assert_eq!(exit_status(status), 0);
}

/// Does kill(2) queue five realtime signals?
#[test]
fn without_room_a_signal_of_kill_is_a_mere_bit() {
    let five = |room: u64| {
        child(move || {
            limit(room)?;
            let own = process::id().cast_signed();
            // SAFETY: the call takes two numbers.
            let sent = (0..5).filter(|_| unsafe { libc::kill(own, libc::SIGRTMIN()) } == 0).count();
            let mut set = *nix::sys::signal::SigSet::empty().as_ref();
            // SAFETY: the set is an initialised one.
            unsafe { libc::sigaddset(&mut set, libc::SIGRTMIN()) };
            let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: the set and the time are initialised, and a null siginfo is not written to.
            let seen = iter::repeat_with(|| unsafe { libc::sigtimedwait(&set, ptr::null_mut(), &now) });
            ensure(sent == 5 && seen.take_while(|&signal| signal > 0).count() == if room > 0 { 5 } else { 1 })
        })
    };
    assert_eq!((exit_status(five(u64::MAX)), exit_status(five(0))), (0, 0));
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

/// This test must not block the signal, for children inherit that.
#[test]
fn one_that_is_not_blocked_kills() -> io::Result<()> {
    let script = "sleep 100 & kill -RTMIN $!; wait $!; echo $?";
    let output = Command::new("bash").args(["-c", script]).stderr(Stdio::null()).output()?;
    assert_eq!(output.stdout, b"162\n", "128 and 34");
    Ok(())
}
