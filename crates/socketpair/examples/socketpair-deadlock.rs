//! WRONG on purpose: `socketpair-plain-sender` without its second thread. It writes everything before it reads
//! anything.
//!
//! ```sh
//! echo hello | cargo run -p socketpair --example socketpair-deadlock -- tr a-z A-Z           # works
//! seq 2000000 | cargo run -p socketpair --example socketpair-deadlock -- cat | tail -n 1      # never ends
//! ```
//!
//! `cat` answers while it reads. As soon as the buffer of its direction is full it waits in write(2) for us to
//! read; it reads no more, the other buffer fills, and we wait in write(2) for it to read.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

use socketpair::socketpair::create;

fn main() -> io::Result<()> {
    let mut words = env::args_os().skip(1);
    let program = words.next().expect("usage: socketpair-deadlock PROGRAM [ARGUMENT]...");
    let (ours, theirs) = create()?;
    let theirs = OwnedFd::from(theirs);
    let mut child = Command::new(program).args(words).stdin(theirs.try_clone()?).stdout(theirs).spawn()?;
    io::copy(&mut io::stdin(), &mut &ours)?;
    ours.finish_writing()?;
    io::copy(&mut &ours, &mut io::stdout())?;
    child.wait()?;
    Ok(())
}
