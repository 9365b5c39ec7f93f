//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "the two ends must be processes of one thread each, which fork(2) makes")]

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{iter, process, ptr, thread};

use nix::errno::Errno;
use rt_signal::parts::{BYTES, Came, Message, Part, Reader, WINDOW, Writer};
use rt_signal::rt_signal::{self as rt, BATCH, Inbox, Peer};

/// Runs `body` in a child process, in which the signals are blocked.
///
/// The test's own process must not be an end: its other threads do not block the signals and would be killed.
fn child(body: impl FnOnce() -> io::Result<()>) -> i32 {
    rt::block().expect("block");
    // SAFETY: the child goes on with this thread only and starts no other; glibc keeps its allocator usable after a
    // fork, and nothing else is used there that another thread could have locked.
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

/// Takes messages until no more will come.
fn receive() -> io::Result<Vec<Vec<u8>>> {
    let mut reader = Reader::new(|pid| Peer::open(pid).map(Some))?;
    let (mut message, mut messages) = (Message::default(), Vec::new());
    loop {
        let Some(part) = reader.next_part() else {
            reader.fill()?;
            continue;
        };
        match message.add(part)? {
            Came::More => {}
            Came::Whole => messages.push(message.bytes().to_vec()),
            Came::End => return Ok(messages),
        }
    }
}

/// What is queued by the time that this side looks, comes at once; what is due after that, a reader may wait for.
#[test]
fn a_reader_knows_what_is_due() {
    let (mut gate, mut open) = io::pipe().expect("pipe");
    let receiver = child(move || {
        let mut reader = Reader::new(|pid| Peer::open(pid).map(Some))?;
        gate.read_exact(&mut [0])?;
        ensure(reader.due() == 0)?;
        // The whole of one message, and two parts of four: the writer has not waited after the first.
        ensure(reader.fill()? == 3 && reader.due() == BATCH)?;
        ensure(reader.fill()? == 1 && reader.due() == 1)?;
        ensure(reader.fill()? == 1 && reader.due() == 0)
    });
    let sender = child(move || {
        let mut writer = Writer::new(Peer::open(receiver)?)?;
        let message = [0; 4 * BYTES];
        let mut parts = Part::all(&[]).chain(Part::all(&message));
        parts.by_ref().take(3).try_for_each(|part| writer.put(part))?;
        open.write_all(&[0])?;
        writer.flush()?;
        parts.try_for_each(|part| writer.put(part).and_then(|()| writer.flush()))
    });
    assert_eq!((exit_status(sender), exit_status(receiver)), (0, 0));
}

fn send(writer: &mut Writer, message: &[u8]) -> io::Result<()> {
    Part::all(message).try_for_each(|part| writer.put(part))
}

#[test]
fn every_message_arrives_as_it_was() {
    // None and a few bytes, whole parts and not, and many windows full.
    let sizes = (0..3 * BYTES).chain([WINDOW * BYTES, 20 * WINDOW * BYTES + 3]);
    let sent: Vec<Vec<u8>> = sizes.map(|size| (0..size).map(|at| (at % 251) as u8).collect()).collect();
    let expected = sent.clone();
    let receiver = child(move || ensure(receive()? == expected));
    let sender = child(move || {
        let mut writer = Writer::new(Peer::open(receiver)?)?;
        sent.iter().try_for_each(|message| send(&mut writer, message))?;
        writer.put(Part::END)?;
        writer.flush()
    });
    assert_eq!((exit_status(sender), exit_status(receiver)), (0, 0));
}

#[test]
fn a_message_takes_as_many_signals_as_it_has_eight_bytes() {
    for (size, parts) in [(0, 1), (1, 1), (8, 1), (9, 2), (64, 8), (65, 9)] {
        assert_eq!(Part::all(&vec![1; size]).count(), parts, "{size} bytes");
    }
}

#[test]
fn a_thousand_are_seen_in_order_and_of_the_standard_signal_one() {
    let one = child(|| {
        let own = Peer::open(process::id().cast_signed())?;
        (0..1000).try_for_each(|n| own.queue(-n, n as usize))?;
        let (mut inbox, mut seen) = (Inbox::new()?, Vec::new());
        while seen.len() < 1000 {
            let before = seen.len();
            seen.extend(inbox.take()?);
            ensure(seen.len() - before == BATCH.min(1000 - before))?;
        }
        ensure(seen.into_iter().eq((0..1000).map(|n| (process::id().cast_signed(), -n, n as usize))))
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
    let receiver = child(|| ensure(receive()?.len() == 2));
    let sender = child(move || {
        let mut writer = Writer::new(Peer::open(receiver)?)?;
        limit(0)?;
        send(&mut writer, &[1; WINDOW * BYTES])?;
        // Time enough for the reader to take it all and to be refused.
        thread::sleep(Duration::from_millis(100));
        limit(u64::MAX)?;
        send(&mut writer, &[2; WINDOW * BYTES])?;
        writer.put(Part::END)?;
        writer.flush()
    });
    assert_eq!((exit_status(sender), exit_status(receiver)), (0, 0));
}

#[test]
fn a_full_queue_says_so_unless_there_is_something_to_wait_for() {
    let status = child(|| {
        let own = || Peer::open(process::id().cast_signed());
        limit(0)?;
        ensure(own()?.queue(0, 0) == Err(Errno::EAGAIN))?;
        let error = Writer::new(own()?)?.put(Part::END).err();
        ensure(error.is_some_and(|error| error.to_string().contains("RLIMIT_SIGPENDING")))?;
        limit(u64::MAX)?;
        Ok(own()?.queue(0, 0)?)
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
fn a_part_that_lies_is_refused() {
    let part = |left| Part { left, bytes: [b'x'; BYTES] };
    for lie in [vec![-2], vec![i32::MIN], vec![20, 20], vec![20, 11], vec![20, 13], vec![20, 12, 12], vec![20, 12, -1]]
    {
        let mut message = Message::default();
        let (last, others) = lie.split_last().expect("one that lies");
        for &left in others {
            assert_eq!(message.add(part(left)).ok(), Some(Came::More), "{lie:?}");
        }
        let refused = message.add(part(*last)).expect_err("a lie");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{lie:?}");
    }
}

#[test]
fn a_writer_is_told_that_the_reader_has_ended() -> io::Result<()> {
    let gone = child(|| Ok(()));
    let peer = Peer::open(gone)?;
    assert_eq!(exit_status(gone), 0);
    // The pid is free again, and perhaps somebody else's by now. The pidfd is nobody else's.
    let result = Writer::new(peer)?.put(Part::END);
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
