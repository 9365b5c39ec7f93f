//! Every technique of this workspace by its name, for programs that use them all: the benchmark and the sum.
//!
//! The folder is the registry of pairs of *programs*. A program that uses the techniques as libraries has to name
//! their crates, and does so here, once: a line for each. A test fails while one is missing.

use std::path::Path;

use common::{Args, Endpoint, Receiver, Result, Role, Sender, Technique};
use nix::unistd::geteuid;

/// A job for a technique that is known by name only.
pub trait Job {
    /// What comes of it.
    type Output;

    /// Does the job. `channel` makes a channel for two processes that one program forks: it is called before the
    /// fork(2), and of the two functions that it returns one process calls the first, to send, and drops the other;
    /// the other process does the opposite. Either call may wait for the other process.
    fn run<S: Sender, R: Receiver, ToSend: FnOnce() -> Result<S>, ToReceive: FnOnce() -> Result<R>>(
        self,
        technique: &'static Technique,
        channel: impl Fn(&Ends) -> Result<(ToSend, ToReceive)>,
    ) -> Self::Output;
}

/// The arguments of both ends of one channel.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The sender's.
    pub sender: Args,
    /// The receiver's.
    pub receiver: Args,
}

impl Ends {
    /// Both ends of a channel that nobody else can meet at: its place is in the folder `dir`, which should be this
    /// user's own, or has the process's number and `number` in its name.
    pub fn private(technique: &'static Technique, dir: &Path, number: u32) -> Ends {
        let id = std::process::id();
        let endpoint = match technique.endpoint {
            Endpoint::Path | Endpoint::Pid => {
                Some(dir.join(format!("{}-{number}", technique.name)).display().to_string())
            }
            Endpoint::Name => Some(format!("/ipc-lab-{}-{id}-{number}-{}", geteuid(), technique.name)),
            // Among this project's keys, so that scripts/leftovers.sh knows them, with room for some for each process.
            // Where two processes choose the same, the later is told so.
            Endpoint::Key => Some(format!("{:#x}", 0x1bc0_0000 | id.wrapping_mul(61).wrapping_add(number) & 0xffff)),
            Endpoint::Address => Some(address(id, number)),
            Endpoint::Inherited => None,
        };
        let of = |role| {
            let mut args = Args::new(technique, role);
            args.endpoint.clone_from(&endpoint);
            args
        };
        Ends { sender: of(Role::Sender), receiver: of(Role::Receiver) }
    }

    /// The types of the ends name the lifetime of their arguments, and a [`Job`] cannot; so these live for ever.
    fn keep(&self) -> &'static Ends {
        Box::leak(Box::new(self.clone()))
    }
}

/// All of 127.0.0.0/8 is this machine, with room for every pid. A port that was free a moment ago would not do: the
/// kernel may name it to another process, too, before either has bound it.
fn address(id: u32, number: u32) -> String {
    let [high, middle, low, ..] = [id >> 16 & 0x3f | 0x40, id >> 8 & 0xff, id & 0xff];
    format!("127.{high}.{middle}.{low}:{}", 20_000 + number % 40_000)
}

/// For techniques whose ends find each other.
macro_rules! strangers {
    ($technique:ident) => {
        |ends: &Ends| {
            let Ends { sender, receiver } = ends.keep();
            Ok((move || $technique::sender(sender), move || $technique::receiver(receiver)))
        }
    };
}

/// For techniques whose ends are inherited.
macro_rules! family {
    ($technique:ident) => {
        |ends: &Ends| {
            let Ends { sender, receiver } = ends.keep();
            let (ours, theirs) = $technique::pair()?;
            Ok((move || $technique::sender_of(sender, ours), move || $technique::receiver_of(receiver, theirs)))
        }
    };
}

macro_rules! catalog {
    ($($technique:ident: $channel:ident),+ $(,)?) => {
        /// All techniques, in the lecture's order.
        pub static TECHNIQUES: &[&Technique] = &[$(&$technique::TECHNIQUE),+];

        /// Does `job` with the technique of this name; `None` where there is none.
        pub fn with<J: Job>(name: &str, job: J) -> Option<J::Output> {
            $(
                if name == $technique::TECHNIQUE.name {
                    return Some(job.run(&$technique::TECHNIQUE, $channel!($technique)));
                }
            )+
            None
        }
    };
}

catalog! {
    file: strangers,
    mmap_file: strangers,
    posix_mq: strangers,
    sysv_mq: strangers,
    shm: strangers,
    sysv_shm: strangers,
    memfd: strangers,
    fifo: strangers,
    pipe: family,
    signal: strangers,
    rt_signal: strangers,
    posix_sem: strangers,
    sysv_sem: strangers,
    robust_mutex: strangers,
    tcp: strangers,
    udp: strangers,
    unix_stream: strangers,
    unix_dgram: strangers,
    unix_seqpacket: strangers,
    socketpair: family,
    eventfd: family,
    process_vm: strangers,
}

#[cfg(test)]
mod tests {
    use std::fs;

    /// The folder is the registry.
    #[test]
    fn every_technique_has_its_line() {
        for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap() {
            let dir = entry.unwrap().path();
            let name = dir.file_name().unwrap().to_str().unwrap();
            if dir.join(format!("src/bin/{name}-sender.rs")).is_file() {
                let known = super::TECHNIQUES.iter().any(|technique| technique.name == name);
                assert!(
                    known,
                    "{name} is missing: add `{}: strangers,` (or `family`) to catalog!",
                    name.replace('-', "_")
                );
            }
        }
    }
}
