//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "the two ends must be processes of one thread each, which fork(2) makes")]

use std::io::{self, Read, Write};
use std::ptr;

use signal::signal;

/// Runs `body` in a child process, which inherits the blocked signals and is told its parent's pid.
///
/// The test's own process must not be an end: its other threads do not block the signals and would be killed.
fn child(body: impl FnOnce() -> io::Result<()>) -> i32 {
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

fn carry(sent: &'static [u8]) {
    signal::block().expect("block");
    let receiver = child(move || {
        let mut reader = signal::Reader::accept(|pid| signal::Peer::open(pid).map(Some))?;
        let mut arrived = vec![0; sent.len()];
        reader.read_exact(&mut arrived)?;
        if arrived == sent { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    });
    let sender = child(move || signal::Writer::new(signal::Peer::open(receiver)?).write_all(sent));
    assert_eq!((exit_status(sender), exit_status(receiver)), (0, 0));
}

#[test]
fn every_byte_arrives_as_it_was() {
    const ALL: [u8; 256] = {
        let mut bytes = [0; 256];
        let mut at = 0;
        while at < 256 {
            bytes[at] = at as u8;
            at += 1;
        }
        bytes
    };
    carry(&ALL);
}

#[test]
fn a_writer_is_told_that_the_reader_has_ended() -> io::Result<()> {
    let gone = child(|| Ok(()));
    let peer = signal::Peer::open(gone)?;
    assert_eq!(exit_status(gone), 0);
    // The pid is free again, and perhaps somebody else's by now. The pidfd is nobody else's.
    let result = signal::Writer::new(peer).write(b"x");
    assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
    assert!(signal::Peer::open(gone).is_err());
    Ok(())
}
