//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "installing a signal handler is unsafe")]

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use std::{iter, thread};

use eventfd::eventfd::{Buffer, MAX, SLOTS};
use eventfd::scm_rights;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, SealFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::Signal::SIGUSR1;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction};
use nix::unistd::{ftruncate, read, write};

const PAGE: usize = 4096;

fn owned(fd: impl AsFd) -> io::Result<OwnedFd> {
    fd.as_fd().try_clone_to_owned()
}

/// The same memory and counters as in another end, to be spoilt.
fn parts(buffer: &Buffer) -> io::Result<[OwnedFd; 3]> {
    let [memory, free, full] = buffer.descriptors();
    Ok([owned(memory)?, owned(free)?, owned(full)?])
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_thousand_writes_merge_into_one_read() -> io::Result<()> {
    let counter = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    for _ in 0..1000 {
        counter.write(1)?;
    }
    assert_eq!(counter.read(), Ok(1000));
    assert_eq!(counter.read(), Err(Errno::EAGAIN));
    Ok(())
}

#[test]
fn a_semaphore_gives_them_one_by_one() -> io::Result<()> {
    let counter = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_SEMAPHORE)?;
    counter.write(500)?;
    counter.write(500)?;
    for _ in 0..1000 {
        assert_eq!(counter.read(), Ok(1));
    }
    assert_eq!(counter.read(), Err(Errno::EAGAIN));
    Ok(())
}

#[test]
fn a_count_has_a_limit_and_waits_there() -> io::Result<()> {
    let counter = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
    assert_eq!(counter.write(u64::MAX), Err(Errno::EINVAL));
    counter.write(u64::MAX - 1)?;
    assert_eq!(counter.write(1), Err(Errno::EAGAIN));
    assert_eq!(write(&counter, &[1; 4]), Err(Errno::EINVAL));
    Ok(())
}

#[test]
fn records_come_out_whole_and_in_order() -> io::Result<()> {
    let mut consumer = Buffer::create()?;
    let mut producer = consumer.other_end()?;
    let lengths = || (0..20_000).map(|n| [0, 1, 7, MAX - 1, MAX][n % 5]);
    let producer = thread::spawn(move || {
        for (n, len) in lengths().enumerate() {
            producer.put(&vec![n as u8; len])?;
        }
        producer.put_end()
    });
    let mut record = [0; MAX];
    for (n, len) in lengths().enumerate() {
        assert_eq!(consumer.take(&mut record)?, Some(len), "record {n}");
        assert!(record[..len].iter().all(|&byte| byte == n as u8), "record {n}");
    }
    assert_eq!(consumer.take(&mut record)?, None);
    producer.join().expect("the producer panicked")
}

#[test]
fn a_record_that_fits_no_slot_is_refused() -> io::Result<()> {
    let mut buffer = Buffer::create()?;
    let refused = buffer.put(&[0; MAX + 1]).map_err(|error| error.raw_os_error());
    assert_eq!(refused, Err(Some(Errno::EMSGSIZE as i32)));
    // Nothing was taken from the free slots: all of them are still there.
    for _ in 0..SLOTS {
        buffer.put(&[1; MAX])?;
    }
    Ok(())
}

#[test]
fn a_length_that_no_record_has_is_an_error() -> io::Result<()> {
    for bad in [MAX as u32 + 1, 0x8000_0000, u32::MAX - 1] {
        let mut consumer = Buffer::create()?;
        let mut producer = consumer.other_end()?;
        producer.put(b"hello")?;
        // A scribbling producer: the length stands in the first bytes of each slot.
        let [memory, ..] = parts(&producer)?;
        File::from(memory).write_all_at(&bad.to_ne_bytes(), 0)?;
        assert_eq!(kind(consumer.take(&mut [0; MAX])), Some(ErrorKind::InvalidData), "{bad:#x}");
    }
    Ok(())
}

/// A lying producer counts slots that it has not filled. They hold what they held, and that is checked as ever.
#[test]
fn a_count_that_is_too_high_does_no_harm() -> io::Result<()> {
    let mut consumer = Buffer::create()?;
    let [_, _, full] = consumer.descriptors();
    write(full, &1000_u64.to_ne_bytes())?;
    for _ in 0..1000 {
        assert_eq!(consumer.take(&mut [0; MAX])?, Some(0));
    }
    Ok(())
}

#[test]
fn what_does_not_count_by_one_is_refused() -> io::Result<()> {
    let right = Buffer::create()?;
    let [memory, ..] = parts(&right)?;
    let plain = EventFd::from_value_and_flags(SLOTS as u32, EfdFlags::EFD_CLOEXEC)?;
    let mut buffer = Buffer::open([memory, plain.into(), EventFd::new()?.into()])?;
    assert_eq!(kind(buffer.put(b"hello")), Some(ErrorKind::InvalidData));

    let [memory, ..] = parts(&right)?;
    let file = || File::open("/dev/null").map(OwnedFd::from);
    let mut buffer = Buffer::open([memory, file()?, file()?])?;
    assert_eq!(kind(buffer.take(&mut [0; MAX])), Some(ErrorKind::InvalidData));
    Ok(())
}

#[test]
fn memory_that_could_be_cut_is_refused() -> io::Result<()> {
    let right = Buffer::create()?;
    let open = |memory: OwnedFd| {
        let [_, free, full] = parts(&right)?;
        kind(Buffer::open([memory, free, full])).map_or(Ok("accepted"), |_| Ok::<_, io::Error>("refused"))
    };
    let memory = |size: usize, seals: SealFlag| {
        let memory = memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        ftruncate(&memory, size as i64)?;
        fcntl(&memory, FcntlArg::F_ADD_SEALS(seals))?;
        io::Result::Ok(memory)
    };
    let all = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    assert_eq!(open(memory(SLOTS * PAGE, all)?)?, "accepted");
    assert_eq!(open(memory(SLOTS * PAGE, SealFlag::empty())?)?, "refused", "not sealed");
    assert_eq!(open(memory(SLOTS * PAGE, all - SealFlag::F_SEAL_SHRINK)?)?, "refused", "could be cut");
    assert_eq!(open(memory(SLOTS * PAGE - 1, all)?)?, "refused", "too short");
    assert_eq!(open(memory(0, all)?)?, "refused", "empty");
    assert_eq!(open(File::open("/dev/null")?.into())?, "refused", "no memory");
    // What a lying end would try with the right one.
    let [memory, ..] = right.descriptors();
    assert_eq!(ftruncate(memory, 0), Err(Errno::EPERM));
    Ok(())
}

#[test]
fn a_counter_that_does_not_wait_is_waited_for() -> io::Result<()> {
    let mut consumer = Buffer::create()?;
    let [_, _, full] = consumer.descriptors();
    // Whoever has a copy of the descriptor can do this, at any time.
    fcntl(full, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    let mut producer = consumer.other_end()?;
    let producer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        producer.put(b"hello")
    });
    assert_eq!(consumer.take(&mut [0; MAX])?, Some(5));
    producer.join().expect("the producer panicked")
}

/// A signal may come when a slot has been filled and cannot be counted yet. The next call counts it, once.
#[test]
fn what_a_signal_interrupts_is_not_done_twice() -> io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: a handler that does nothing is async-signal-safe.
    unsafe { sigaction(SIGUSR1, &SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty())) }?;
    let mut producer = Buffer::create()?;
    let [_, free, full] = parts(&producer)?;
    // A lying end: there is no room for 1 more.
    write(&full, &(u64::MAX - 1).to_ne_bytes())?;
    let (tell, told) = channel();
    let producer = thread::spawn(move || {
        tell.send((pthread_self(), None)).expect("the test has ended");
        let first = kind(producer.put(b"hello"));
        tell.send((pthread_self(), first)).expect("the test has ended");
        loop {
            match producer.put(b"hello") {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    });
    let (thread, _) = told.recv().expect("the producer panicked");
    let interrupted = loop {
        pthread_kill(thread, SIGUSR1)?;
        match told.recv_timeout(Duration::from_millis(1)) {
            Ok((_, first)) => break first,
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(interrupted, Some(ErrorKind::Interrupted));
    read(&full, &mut [0; 8])?;
    producer.join().expect("the producer panicked")?;
    fcntl(&free, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    assert_eq!(iter::from_fn(|| read(&free, &mut [0; 8]).ok()).count(), SLOTS - 1);
    Ok(())
}

#[test]
fn descriptors_go_through_a_socket() -> io::Result<()> {
    let (here, there) = UnixStream::pair()?;
    let mut producer = Buffer::create()?;
    scm_rights::send(&here, &producer.descriptors())?;
    producer.put(b"put before it was opened")?;
    let received: [OwnedFd; 3] = scm_rights::receive(&there)?;
    for fd in &received {
        let flags = FdFlag::from_bits_truncate(fcntl(fd, FcntlArg::F_GETFD)?);
        assert_eq!(flags, FdFlag::FD_CLOEXEC);
    }
    let mut record = [0; MAX];
    assert_eq!(Buffer::open(received)?.take(&mut record)?, Some(24));
    assert_eq!(&record[..24], b"put before it was opened");
    Ok(())
}

#[test]
fn another_number_of_descriptors_is_refused_and_closed() -> io::Result<()> {
    let (here, there) = UnixStream::pair()?;
    for count in [0, 1, 2, 4, 100] {
        let (reader, writer) = io::pipe()?;
        scm_rights::send(&here, &vec![writer.as_fd(); count])?;
        drop(writer);
        assert_eq!(kind(scm_rights::receive::<3>(&there)), Some(ErrorKind::InvalidData), "{count}");
        // Nobody has the writing end any more.
        assert_eq!(io::Read::read(&mut &reader, &mut [0])?, 0, "{count}");
    }
    drop(here);
    assert_eq!(kind(scm_rights::receive::<3>(&there)), Some(ErrorKind::UnexpectedEof));
    let file = OpenOptions::new().write(true).open("/dev/null")?;
    let no_socket = UnixStream::from(OwnedFd::from(file));
    assert_eq!(scm_rights::receive::<3>(&no_socket).unwrap_err().raw_os_error(), Some(Errno::ENOTSOCK as i32));
    Ok(())
}

#[test]
fn who_spins_is_told_that_it_would_have_to_sleep() -> io::Result<()> {
    let mut consumer = Buffer::create()?;
    let mut producer = consumer.other_end()?;
    consumer.spin()?;
    producer.spin()?;
    let mut record = [0; MAX];
    for _ in 0..2 {
        assert_eq!(kind(consumer.take(&mut record)), Some(ErrorKind::WouldBlock), "nothing there");
        for n in 0..SLOTS {
            producer.put(&[n as u8])?;
        }
        assert_eq!(kind(producer.put(b"one too many")), Some(ErrorKind::WouldBlock), "no slot is free");
        for n in 0..SLOTS {
            assert_eq!((consumer.take(&mut record)?, record[0]), (Some(1), n as u8));
        }
    }
    Ok(())
}

#[test]
fn an_end_sleeps_though_the_other_one_spins() -> io::Result<()> {
    let mut consumer = Buffer::create()?;
    let mut producer = consumer.other_end()?;
    producer.spin()?;
    let (tell, told) = channel();
    let taking = thread::spawn(move || {
        let mut record = [0; MAX];
        let taken = consumer.take(&mut record);
        let _ = tell.send(());
        taken
    });
    let early = told.recv_timeout(Duration::from_millis(50));
    assert_eq!(early, Err(RecvTimeoutError::Timeout), "it sleeps, and is told nothing");
    producer.put(b"now")?;
    assert_eq!(taking.join().expect("the consumer")?, Some(3));
    Ok(())
}
