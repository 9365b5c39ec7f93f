//! The bare twins: for each technique the plainest loop of the system calls that it is made of.
//!
//! A twin has no contract. Both of its ends are made before the fork(2), messages have one size and no frame, and the
//! end is the last message. It keeps what a correct program cannot leave out: it goes on after a short read, and it
//! does not touch a slot that the other side owns. What a technique takes longer than its twin is the price of the
//! contract; where it takes less time, it does something that is cleverer than the plainest loop.

use crate::source::{Setup, Work};

mod datagram;
mod follow;
pub mod futex;
mod memfd;
mod monitor;
mod process_vm;
mod queue;
mod ring;
mod semaphore;
mod signal;
mod slot;
pub mod stream;

macro_rules! twins {
    ($($name:literal: $channel:path;)+) => {
        /// Every technique that has a twin.
        pub static NAMES: &[&str] = &[$($name),+];

        /// Does `work` with the twin of the technique of this name; `None` where there is none.
        pub fn with<W: Work>(name: &str, work: W) -> Option<W::Output> {
            match name {
                $($name => Some(work.run(|setup: &Setup<'_>| {
                    let (sender, receiver) = $channel(setup)?;
                    Ok((move || Ok(sender), move || Ok(receiver)))
                })),)+
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
    "memfd": memfd::memfd;
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
