//! The bare twins: for each technique the plainest loop of the system calls that it is made of.
//!
//! A twin has no contract. Both of its ends are made before the fork(2), messages have one size and no frame, and the
//! end is the last message. It keeps what a correct program cannot leave out: it goes on after a short read, and it
//! does not touch a slot that the other side owns. What a technique takes longer than its twin is the price of the
//! contract; where it takes less time, it does something that is cleverer than the plainest loop.

use std::cell::RefCell;
use std::path::Path;

use common::{Receiver, Result, Sender};

use crate::results::Wait;

mod datagram;
mod follow;
pub mod futex;
mod monitor;
mod process_vm;
mod queue;
mod ring;
mod semaphore;
mod signal;
mod slot;
mod stream;

/// What a twin is to be made for.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Bytes in every message.
    pub size: usize,
    /// What its ends do while they wait.
    pub wait: Wait,
    /// A private folder for names in the file system.
    pub dir: &'a Path,
    /// What the process that made the ends has to do after the measurement.
    pub undo: &'a RefCell<Vec<Box<dyn FnOnce()>>>,
}

/// Something to do with a twin that is known by its technique's name only.
pub trait Job {
    /// What comes of it.
    type Output;

    /// Does it. `channel` makes both ends of a channel, in the process that will fork.
    fn run<S: Sender, R: Receiver>(self, channel: impl Fn(&Setup<'_>) -> Result<(S, R)>) -> Self::Output;
}

macro_rules! twins {
    ($($name:literal: $channel:path;)+) => {
        /// Every technique that has a twin.
        pub static NAMES: &[&str] = &[$($name),+];

        /// Does `job` with the twin of the technique of this name; `None` where there is none.
        pub fn with<J: Job>(name: &str, job: J) -> Option<J::Output> {
            match name {
                $($name => Some(job.run($channel)),)+
                _ => None,
            }
        }
    };
}

twins! {
    "file": follow::file;
    "mmap-file": ring::mmap_file;
    "posix-mq": queue::posix_mq;
    "sysv-mq": queue::sysv_mq;
    "shm": ring::shm;
    "sysv-shm": ring::shm;
    "memfd": ring::shm;
    "fifo": stream::fifo;
    "pipe": stream::pipe;
    "signal": signal::standard;
    "rt-signal": signal::realtime;
    "posix-sem": semaphore::posix_sem;
    "sysv-sem": semaphore::sysv_sem;
    "tcp": stream::tcp;
    "udp": datagram::udp;
    "unix-stream": stream::unix_stream;
    "unix-dgram": datagram::unix_dgram;
    "unix-seqpacket": datagram::unix_seqpacket;
    "socketpair": stream::unix_stream;
    "eventfd": semaphore::eventfd;
    "process-vm": process_vm::process_vm;
    "robust-mutex": monitor::robust_mutex;
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_technique_has_a_twin() {
        for technique in catalog::TECHNIQUES {
            let name = technique.name;
            assert!(
                super::NAMES.contains(&name),
                "{name} has no bare twin: write its plainest loop in crates/bench/src/twins/ and add the line \
                 `\"{name}\": FILE::FUNCTION;` to twins! in mod.rs"
            );
        }
    }
}
