//! Prints what comes through a FIFO: the mechanism and nothing else. Its partner is `fifo-plain-sender`.
//!
//! ```text
//! terminal 1   cargo run -p fifo --example fifo-plain-receiver -- /tmp/my-fifo
//! terminal 2   cargo run -p fifo --example fifo-plain-sender -- /tmp/my-fifo hello
//! ```

use std::path::PathBuf;
use std::{env, io};

use fifo::fifo;

fn main() -> io::Result<()> {
    let path = PathBuf::from(env::args_os().nth(1).expect("usage: fifo-plain-receiver PATH"));
    fifo::create(&path)?;
    let reader = fifo::open_reader(&path);
    // Both ends are open now, or never will be: either way the name has served its turn.
    fifo::remove(&path)?;
    io::copy(&mut reader?, &mut io::stdout())?;
    Ok(())
}
