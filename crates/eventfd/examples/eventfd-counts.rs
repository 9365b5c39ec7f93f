//! Writes 1 to an eventfd a thousand times, and tells how many reads it takes until nothing is left.
//!
//! ```sh
//! cargo run -p eventfd --example eventfd-counts
//! ```

use std::io::{self, Write};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

fn main() -> io::Result<()> {
    for (name, kind) in [("by default", EfdFlags::empty()), ("EFD_SEMAPHORE", EfdFlags::EFD_SEMAPHORE)] {
        let counter = EventFd::from_flags(kind | EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        for _ in 0..1000 {
            counter.write(1)?;
        }
        let mut reads = Vec::new();
        let end = loop {
            match counter.read() {
                Ok(value) => reads.push(value),
                Err(error) => break error,
            }
        };
        // With EFD_NONBLOCK a read at 0 fails instead of sleeping.
        assert_eq!(end, Errno::EAGAIN);
        let (count, first) = (reads.len(), reads[0]);
        assert!(reads.iter().all(|value| *value == first));
        writeln!(io::stdout(), "{name:<14} 1000 writes of 1, then {count} reads of {first}")?;
    }
    Ok(())
}
