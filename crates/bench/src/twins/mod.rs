//! The bare twins: for each technique the plainest loop of the system calls that it is made of.
//!
//! A twin has no contract. Both of its ends are made before the fork(2), messages have one size and no frame, and the
//! end is the last message. It keeps what a correct program cannot leave out: it goes on after a short read, and it
//! does not touch a slot that the other side owns. What a technique takes longer than its twin is the price of the
//! contract; where it takes less time, it does something that is cleverer than the plainest loop.

use std::path::Path;

use common::{Receiver, Result, Sender};

use crate::results::Wait;

pub mod futex;
mod ring;
mod stream;

/// What a twin is to be made for.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Bytes in every message.
    pub size: usize,
    /// What its ends do while they wait.
    pub wait: Wait,
    /// A private folder for names in the file system.
    pub dir: &'a Path,
}

/// Something to do with a twin that is known by its technique's name only.
pub trait Job {
    /// What comes of it.
    type Output;

    /// Does it. `channel` makes both ends of a channel, in the process that will fork.
    fn run<S: Sender, R: Receiver>(self, channel: impl Fn(&Setup<'_>) -> Result<(S, R)>) -> Self::Output;
}

macro_rules! twins {
    ($($name:literal: $channel:path, $can_spin:literal;)+) => {
        /// Does `job` with the twin of the technique of this name; `None` where there is none.
        pub fn with<J: Job>(name: &str, job: J) -> Option<J::Output> {
            match name {
                $($name => Some(job.run($channel)),)+
                _ => None,
            }
        }

        /// Can the twin of the technique of this name wait without sleeping? `None` where there is none.
        pub fn can_spin(name: &str) -> Option<bool> {
            match name {
                $($name => Some($can_spin),)+
                _ => None,
            }
        }
    };
}

twins! {
    "shm": ring::shm, true;
    "fifo": stream::fifo, true;
    "pipe": stream::pipe, true;
    "unix-stream": stream::unix_stream, true;
}
