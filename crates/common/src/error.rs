//! Errors: what was being done, what the system said, what to do about it, and the exit code.

use std::io;
use std::time::Duration;

use nix::errno::Errno;

/// What every fallible call of the contract returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a program ends early. Displayed as one line; [`Error::exit_code`] is what the shell sees.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused (exit code 1).
    #[error("{doing}: {}{}", reason(source), tail(hint))]
    System {
        /// The call and its object, as in `mkfifo /run/user/1000/ipc-lab/fifo`.
        doing: String,
        /// What the system said.
        source: io::Error,
        /// What a person can do about it.
        hint: Option<String>,
    },
    /// The command line makes no sense (exit code 2).
    #[error("{0}; see --help")]
    Usage(String),
    /// The other process ended, crashed or was killed (exit code 3).
    #[error("{0}")]
    PeerGone(String),
    /// A wait outlasted `--timeout` (exit code 4).
    #[error("{doing}: nothing happened for {} s (--timeout)", .after.as_secs_f64())]
    TimedOut {
        /// What was being waited for.
        doing: String,
        /// The limit.
        after: Duration,
    },
    /// A message exceeds what the technique carries (exit code 5).
    #[error("message too long: {len} bytes, at most {max} are possible{}", tail(hint))]
    TooLong {
        /// The length of the message, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: usize,
        /// What a person can do about it.
        hint: Option<String>,
    },
    /// Messages were lost, and it is known how many (exit code 6).
    #[error("lost {lost} of {of} messages{}", tail(hint))]
    Lost {
        /// Messages that were sent and did not come out.
        lost: u64,
        /// Messages that were sent.
        of: u64,
        /// What a person can do about it.
        hint: Option<String>,
    },
    /// This machine does not offer the mechanism (exit code 77, which test tools take for a skip).
    #[error("not supported on this machine: {0}")]
    Unsupported(String),
    /// Whoever read standard output has seen enough, as in `| head -1` (exit code 0, nothing is printed).
    #[error("standard output was closed")]
    OutputClosed,
}

impl Error {
    /// The exit code of a program that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::OutputClosed => 0,
            Error::System { .. } => 1,
            Error::Usage(_) => 2,
            Error::PeerGone(_) => 3,
            Error::TimedOut { .. } => 4,
            Error::TooLong { .. } => 5,
            Error::Lost { .. } => 6,
            Error::Unsupported(_) => 77,
        }
    }

    /// A message of `len` bytes where `max` is the limit.
    pub fn too_long(len: usize, max: usize) -> Error {
        Error::TooLong { len: len as u64, max, hint: None }
    }

    /// Adds what a person can do about it, for errors that have room for it.
    #[must_use]
    pub fn with_hint(mut self, text: impl Into<String>) -> Error {
        if let Error::System { hint, .. } | Error::TooLong { hint, .. } | Error::Lost { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }
}

/// Adds to an error of the system what was being done.
pub trait Context<T> {
    /// Names the call and its object: `mkfifo(&path).doing("mkfifo …")`.
    ///
    /// # Errors
    /// The one it is called on, as [`Error::System`].
    fn doing(self, call: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn doing(self, call: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::System { doing: call.into(), source: source.into(), hint: None })
    }
}

/// `EEXIST: File exists` where the system gave a number, else the error's own words.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => Errno::from_raw(number).to_string(),
        None => error.to_string(),
    }
}

fn tail(hint: &Option<String>) -> String {
    hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"))
}
