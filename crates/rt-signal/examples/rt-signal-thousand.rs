//! A thousand signals of each kind, from this process to itself, which looks only when all have been sent.
//!
//! ```text
//! cargo run -p rt-signal --example rt-signal-thousand
//! bash -c 'ulimit -i 100; cargo run -p rt-signal --example rt-signal-thousand'
//! ```

use std::io::{self, Write};
use std::{iter, process};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::getpid;
use rt_signal::rt_signal::{self as rt, Inbox, Peer};

const MANY: usize = 1000;

fn main() -> io::Result<()> {
    standard()?;
    realtime()
}

fn standard() -> io::Result<()> {
    let signals = SigSet::from(Signal::SIGUSR1);
    signals.thread_block()?;
    for _ in 0..MANY {
        kill(getpid(), Signal::SIGUSR1)?;
    }
    let pending = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let seen = iter::from_fn(|| pending.read_signal().ok().flatten()).count();
    writeln!(io::stdout(), "SIGUSR1: {MANY} sent, {seen} seen")
}

fn realtime() -> io::Result<()> {
    rt::block()?;
    let own = Peer::open(process::id().cast_signed())?;
    let (mut sent, mut refused) = (0, String::new());
    while sent < MANY && refused.is_empty() {
        match own.queue(0, sent) {
            Ok(()) => sent += 1,
            Err(error) => refused = format!(", then {error}"),
        }
    }
    let (mut inbox, mut seen, mut reads) = (Inbox::new()?, Vec::new(), 0);
    while seen.len() < sent {
        seen.extend(inbox.take()?.map(|(_, _, value)| value));
        reads += 1;
    }
    let order = if seen.iter().copied().eq(0..sent) { "in order" } else { "in another order" };
    writeln!(io::stdout(), "SIGRTMIN: {sent} sent{refused}; {} seen in {reads} reads, {order}", seen.len())
}
