//! Libraries of somebody else's, measured by the same loops and in the same rounds (feature `peers`).
//!
//! For another one: its module, and a line in `peers!`. The module has a function that makes a channel
//! (`fn(&Setup) -> Result<(ToSend, ToReceive)>`, see [`Work`]) whose ends are a [`Sender`](common::Sender) and a
//! [`Receiver`](common::Receiver). What the library needs is made in `ToSend` and `ToReceive`, after the fork(2), if
//! it starts threads. Its rows come behind the techniques', and each figure stands beside the limit.

use crate::results::Wait;
use crate::source::Work;

#[cfg(feature = "peers")]
mod iceoryx2;
#[cfg(feature = "peers")]
mod interprocess;
#[cfg(feature = "peers")]
mod ipc_channel;

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

macro_rules! peers {
    ($($name:literal, $waits:expr, $channel:path;)*) => {
        /// All there are.
        pub static PEERS: &[Peer] = &[
            $(Peer { name: $name, max_message: common::MAX_FRAME, waits: $waits },)*
        ];

        /// Does `work` with the library of this name; `None` where there is none.
        #[cfg_attr(not(feature = "peers"), expect(unused_variables, reason = "there is no library to work with"))]
        pub fn with<W: Work>(name: &str, work: W) -> Option<W::Output> {
            match name {
                $($name => Some(work.run($channel)),)*
                _ => None,
            }
        }
    };
}

#[cfg(feature = "peers")]
peers! {
    "iceoryx2", &[Wait::Block, Wait::Spin], iceoryx2::channel;
    "ipc-channel", &[Wait::Block], ipc_channel::channel;
    "interprocess", &[Wait::Block], interprocess::channel;
}

#[cfg(not(feature = "peers"))]
peers! {}
