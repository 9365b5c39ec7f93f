//! Libraries of somebody else's, measured by the same loops and in the same rounds.
//!
//! For another one: a line in [`PEERS`], an arm in [`with`], and a function that makes a channel
//! (`fn(&Setup) -> Result<(ToSend, ToReceive)>`, see [`Work`]) whose ends are a [`Sender`](common::Sender) and a
//! [`Receiver`](common::Receiver). What the library needs is made in `ToSend` and `ToReceive`, after the fork(2), if
//! it starts threads. Its rows come behind the techniques', and each figure stands beside the limit.

use crate::results::Wait;
use crate::source::Work;

/// A library.
#[derive(Debug)]
pub struct Peer {
    /// As on crates.io.
    pub name: &'static str,
    /// Bytes in the longest message.
    pub max_message: usize,
    /// How it can wait.
    pub waits: &'static [Wait],
}

/// All there are.
pub static PEERS: &[Peer] = &[];

/// Does `work` with the library of this name; `None` where there is none.
pub fn with<W: Work>(_name: &str, _work: W) -> Option<W::Output> {
    None
}
