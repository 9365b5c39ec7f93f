//! What a process has used up: CPU time, sleeps, memory.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};

use crate::results::Cost;

/// What this process has used up so far.
pub struct Usage {
    cpu: Duration,
    sleeps: i64,
    preemptions: i64,
}

impl Usage {
    /// Now.
    pub fn now() -> Usage {
        // getrusage(2) counts CPU time in ticks on some kernels; this clock does not.
        let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        Usage {
            cpu,
            sleeps: usage.map_or(0, |usage| usage.voluntary_context_switches()),
            preemptions: usage.map_or(0, |usage| usage.involuntary_context_switches()),
        }
    }

    /// From `before` until now, and the memory above so many KiB.
    pub fn since(&self, before: &Usage, memory: u64) -> Cost {
        let count = |now: i64, then: i64| u64::try_from(now - then).unwrap_or(0);
        Cost {
            cpu_nanos: self.cpu.saturating_sub(before.cpu).as_nanos() as u64,
            sleeps: count(self.sleeps, before.sleeps),
            preemptions: count(self.preemptions, before.preemptions),
            memory_kib: memory_kib().saturating_sub(memory),
        }
    }
}

/// KiB of memory that is not a file's: private pages, and shared ones that were touched.
pub fn memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB")?.trim().parse().ok())
    };
    field("RssAnon:").unwrap_or(0) + field("RssShmem:").unwrap_or(0)
}
