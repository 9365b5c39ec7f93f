//! What a program says, taken by a thread so that no program blocks on us unless a trial wants it to.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

/// What becomes of a program's standard output.
#[derive(Clone, Debug, Default)]
pub enum Stdout {
    /// All of it is kept.
    #[default]
    Keep,
    /// It is read and counted, not kept.
    Count,
    /// Nobody reads, and the pipe is as small as a pipe can be.
    Held,
    /// Nobody reads, and it is not a pipe but a Unix socket.
    Socket,
    /// So many bytes are read, then the pipe is closed, as `head` does.
    Head(usize),
    /// It goes to a file or device that exists.
    File(std::path::PathBuf),
}

/// The bytes that came out of a pipe so far.
#[derive(Clone, Default)]
pub(crate) struct Capture(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    total: u64,
    closed: bool,
}

impl Capture {
    /// Nothing will ever come.
    pub(crate) fn closed() -> Capture {
        let capture = Capture::default();
        capture.lock().closed = true;
        capture
    }

    /// Reads in a thread until the end, or until `limit` bytes have come.
    pub(crate) fn drain(&self, mut pipe: impl Read + Send + 'static, keep: bool, limit: usize) {
        let this = self.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; (64 << 10).min(limit)];
            let mut left = limit;
            while left > 0 {
                let room = left.min(buffer.len());
                let len = match pipe.read(&mut buffer[..room]) {
                    Ok(0) => break,
                    Ok(len) => len,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(_) => break,
                };
                left -= len;
                let mut state = this.lock();
                state.total += len as u64;
                if keep {
                    state.bytes.extend_from_slice(&buffer[..len]);
                }
                this.0.1.notify_all();
            }
            drop(pipe);
            this.lock().closed = true;
            this.0.1.notify_all();
        });
    }

    /// Waits until `done` holds of the bytes so far and their number, or there will be no more, or it is late.
    pub(crate) fn wait_for<T>(&self, deadline: Instant, mut done: impl FnMut(&[u8], u64) -> Option<T>) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some(found) = done(&state.bytes, state.total) {
                return Some(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for the end of the output.
    pub(crate) fn wait_closed(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while !state.closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    pub(crate) fn total(&self) -> u64 {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
