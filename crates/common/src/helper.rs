//! The threads beside a program's own one.
//!
//! The kernel counts each use of a descriptor, up and down again, where another thread could close it meanwhile; that
//! makes a short read(2) or write(2) a tenth slower. So a helper does not share the program's table of descriptors:
//! it has one of its own, with what it needs and nothing else (close_range(2), `CLOSE_RANGE_UNSHARE`).
#![expect(unsafe_code, reason = "close_range(2) has no wrapper, and what it leaves open needs owners")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::{io, thread};

use nix::sys::signal::{SigSet, SigmaskHow};

/// A helper's table of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// One of its own, with no more than it is given, and standard input, output and error.
    Own,
    /// The program's, for a helper that must reach what the program opens later.
    Shared,
}

/// Starts a thread with every signal blocked. It gets `descriptors` for itself; the program may close its own ones as
/// soon as this returns.
///
/// The kernel gives a signal that is meant for the process to any thread that does not block it. What the
/// main thread blocks in order to wait for it would so end the program in one of these.
pub(crate) fn spawn(
    name: &str,
    table: Table,
    descriptors: &[BorrowedFd<'_>],
    body: impl FnOnce(Vec<OwnedFd>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let given: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let (tell, told) = channel();
    let run = move || match take(table, &given) {
        Ok(own) => {
            drop(tell);
            body(own);
        }
        Err(error) => drop(tell.send(error)),
    };
    // A thread starts with the mask of the one that starts it.
    let mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
    let started = thread::Builder::new().name(name.to_owned()).spawn(run);
    mask.thread_set_mask()?;
    let helper = started?;
    // Until it has what it was given.
    told.recv().map_or(Ok(helper), Err)
}

/// What the calling thread was given, as its own.
fn take(table: Table, given: &[RawFd]) -> io::Result<Vec<OwnedFd>> {
    if table == Table::Own {
        // Nothing is closed yet: there is no such descriptor.
        match close_range(RawFd::MAX, RawFd::MAX, libc::CLOSE_RANGE_UNSHARE) {
            Ok(()) => return keep_only(given),
            // Before Linux 5.9, or in a sandbox that does not know the call, the table stays shared.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {}
            Err(error) => return Err(error),
        }
    }
    // SAFETY: they are open, for the caller of `spawn`, who has them, waits.
    given.iter().map(|&fd| unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()).collect()
}

/// Closes everything in the calling thread's own table but these and 0 to 2.
fn keep_only(given: &[RawFd]) -> io::Result<Vec<OwnedFd>> {
    let mut kept = given.to_vec();
    kept.sort_unstable();
    let mut from = 3;
    for &fd in &kept {
        if from < fd {
            close_range(from, fd - 1, 0)?;
        }
        from = from.max(fd + 1);
    }
    close_range(from, RawFd::MAX, 0)?;
    // SAFETY: in this table they are open, and nobody else knows of them.
    Ok(given.iter().map(|&fd| unsafe { OwnedFd::from_raw_fd(fd) }).collect())
}

fn close_range(first: RawFd, last: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: it closes nothing that anybody owns: no such descriptors, or copies in this thread's own table.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::io::{ErrorKind, Read, pipe};
    use std::os::fd::{AsFd, AsRawFd};
    use std::sync::mpsc::channel;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::{Table, spawn};

    #[test]
    fn a_helper_has_nothing_open_but_what_it_was_given() {
        let (_read, _write) = pipe().unwrap();
        let (given, end) = pipe().unwrap();
        let (tell, told) = channel();
        let body = move |_own| {
            let open = fs::read_dir("/proc/thread-self/fd").unwrap().map(|entry| entry.unwrap().file_name());
            tell.send(open.filter_map(|name| name.to_str()?.parse().ok()).collect()).unwrap();
        };
        spawn("test", Table::Own, &[given.as_fd(), end.as_fd()], body).unwrap();
        let open: HashSet<i32> = told.recv().unwrap();
        let known = HashSet::from([0, 1, 2, given.as_raw_fd(), end.as_raw_fd()]);
        assert!(open.is_superset(&known), "{open:?}");
        assert_eq!(open.len(), known.len() + 1, "one more, for the folder that was read: {open:?}");
    }

    #[test]
    fn what_the_program_closes_is_closed_unless_a_helper_was_given_it() {
        for table in [Table::Own, Table::Shared] {
            let (mut alone, end) = pipe().unwrap();
            let (mut given, given_end) = pipe().unwrap();
            let (go, gone) = channel::<()>();
            let body = move |own| {
                let _ = gone.recv();
                drop(own);
            };
            spawn("test", table, &[given_end.as_fd()], body).unwrap();
            drop((end, given_end));
            assert_eq!(alone.read(&mut [0]).unwrap(), 0, "nobody has the other end");
            fcntl(&given, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
            assert_eq!(given.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "the helper has it");
            fcntl(&given, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
            drop(go);
            assert_eq!(given.read(&mut [0]).unwrap(), 0);
        }
    }
}
