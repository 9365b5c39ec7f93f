//! Wrong on purpose: what a receiver risks that maps a memfd without looking for its seals.
//!
//! ```sh
//! cargo run -p memfd --example memfd-unsealed
//! ```
//!
//! It is killed by SIGBUS, and that is the lesson. Sender and receiver are one process here; between two it is the same.
#![expect(unsafe_code, reason = "shows what goes wrong with memory that somebody else can change")]

use std::fs::File;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};

fn main() -> io::Result<()> {
    let mut stdout = io::stdout();
    let sender = File::from(memfd_create("unsealed", MFdFlags::MFD_CLOEXEC)?);
    sender.write_all_at(b"pay Ann 5", 0)?;

    let receiver = sender.try_clone()?;
    let len = NonZeroUsize::MIN.saturating_add(8);
    // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
    let message = unsafe { mmap(None, len, ProtFlags::PROT_READ, MapFlags::MAP_SHARED, &receiver, 0) }?;
    let look = |at: usize| {
        // SAFETY: the mapping has nine bytes. They may change at any moment, so no reference is made to them. That they
        // may vanish as well is the experiment.
        char::from(unsafe { message.cast::<u8>().as_ptr().wrapping_add(at).read_volatile() })
    };
    let read = || (0..len.get()).map(look).collect::<String>();

    writeln!(stdout, "the receiver has checked it: {}", read())?;
    sender.write_all_at(b"Eve 9", 4)?;
    writeln!(stdout, "a moment later it says:      {}", read())?;
    sender.set_len(0)?;
    writeln!(stdout, "the sender has shortened the file, and the receiver reads on:")?;
    writeln!(stdout, "{}", read())
}
