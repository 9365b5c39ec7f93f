//! What must not outlive the program: names in the kernel and the file system, and child processes.
//!
//! A value's `Drop` does not run when a signal ends the program. So the undoing of every creation is kept
//! here, where the thread that takes the signals finds it (see `interrupt.rs`).

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Undo {
    id: u64,
    run: Box<dyn FnOnce() + Send>,
}

static UNDO: Mutex<(u64, Vec<Undo>)> = Mutex::new((0, Vec::new()));

/// Undoes one creation, once: when dropped, or when SIGINT, SIGTERM or SIGHUP ends the program first.
#[must_use = "dropping it undoes the creation at once"]
pub struct Cleanup(u64);

impl Cleanup {
    /// Creates something and keeps how to undo it. No signal can end the program between the two.
    ///
    /// `create` runs under a lock, so it must neither block nor make or drop a `Cleanup` itself. What it returns to undo
    /// it may run in the thread that takes the signals, which has descriptors of its own: it opens what it needs.
    ///
    /// # Errors
    /// That of `create`.
    pub fn create<T, U: FnOnce() + Send + 'static>(
        create: impl FnOnce() -> io::Result<(T, U)>,
    ) -> io::Result<(T, Cleanup)> {
        let mut registry = lock();
        let (made, undo) = create()?;
        registry.0 += 1;
        let id = registry.0;
        registry.1.push(Undo { id, run: Box::new(undo) });
        Ok((made, Cleanup(id)))
    }

    /// Forgets how to undo it: what was made is there to stay, or gone already.
    pub(crate) fn forget(self) {
        lock().1.retain(|undo| undo.id != self.0);
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let mut registry = lock();
        if let Some(at) = registry.1.iter().position(|undo| undo.id == self.0) {
            // Still under the lock: a signal that comes now waits until this is done.
            (registry.1.remove(at).run)();
        }
    }
}

/// Undoes everything, the latest first, and never lets go of the lock: nothing can be created after it.
pub(crate) fn undo_all_for_good() {
    let mut registry = lock();
    while let Some(undo) = registry.1.pop() {
        (undo.run)();
    }
    std::mem::forget(registry);
}

fn lock() -> MutexGuard<'static, (u64, Vec<Undo>)> {
    UNDO.lock().unwrap_or_else(PoisonError::into_inner)
}
