//! WRONG on purpose: a consumer that takes one item for each read of an eventfd that was made without `EFD_SEMAPHORE`.
//!
//! ```sh
//! cargo run -p eventfd --example eventfd-merged                  # one item, and then it sleeps for ever
//! cargo run -p eventfd --example eventfd-merged -- semaphore     # all three
//! ```
//!
//! Had the consumer been quicker than the producer, each read would have found 1, and the fault would have waited
//! for another day.

use std::collections::VecDeque;
use std::env;
use std::io::{self, Write};

use nix::sys::eventfd::{EfdFlags, EventFd};

fn main() -> io::Result<()> {
    let semaphore = env::args().nth(1).is_some_and(|word| word == "semaphore");
    let kind = if semaphore { EfdFlags::EFD_SEMAPHORE } else { EfdFlags::empty() };
    let full = EventFd::from_flags(kind | EfdFlags::EFD_CLOEXEC)?;
    let mut items = VecDeque::new();
    for item in ["one", "two", "three"] {
        items.push_back(item);
        full.write(1)?;
    }
    while !items.is_empty() {
        full.read()?;
        writeln!(io::stdout(), "{}", items.pop_front().unwrap_or_default())?;
    }
    Ok(())
}
