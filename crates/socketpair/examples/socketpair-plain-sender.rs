//! Starts a program whose standard input and output are one socket, writes its own standard input into the other
//! one, and prints what comes back meanwhile.
//!
//! Any filter can be at the other end:
//!
//! ```sh
//! echo hello | cargo run -p socketpair --example socketpair-plain-sender -- tr a-z A-Z
//! seq 2000000 | cargo run -p socketpair --example socketpair-plain-sender -- cat | tail -n 1
//! ```
//!
//! Its partner, `socketpair-plain-receiver`, can be, too; see there. `socketpair-deadlock` is the same without a
//! second thread.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::{env, thread};

use socketpair::socketpair::{Socket, create};

fn main() -> io::Result<()> {
    let mut words = env::args_os().skip(1);
    let program = words.next().expect("usage: socketpair-plain-sender PROGRAM [ARGUMENT]...");
    let (ours, theirs) = create()?;
    // `command` holds the child's socket, twice, until it is dropped, which is before the first write.
    let theirs = OwnedFd::from(theirs);
    let mut child = Command::new(program).args(words).stdin(theirs.try_clone()?).stdout(theirs).spawn()?;
    // Both directions at once, through one descriptor that two threads share.
    let ours = Arc::new(ours);
    let writing = thread::spawn({
        let ours = Arc::clone(&ours);
        move || write_all(&ours)
    });
    io::copy(&mut &*ours, &mut io::stdout())?;
    writing.join().expect("the writing thread panicked")?;
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("it ended with {status}"))) }
}

fn write_all(mut socket: &Socket) -> io::Result<()> {
    io::copy(&mut io::stdin(), &mut socket)?;
    // The program's end of file. The other direction stays open: what it answers then must still come back.
    socket.finish_writing()
}
