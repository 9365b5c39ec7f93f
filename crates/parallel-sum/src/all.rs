//! Every technique, each in a process of its own: that process is the parent of the workers.

use std::io::{self, Read, Write};
use std::process;
use std::time::{Duration, Instant};

use catalog::TECHNIQUES;
use common::{Context, Error, Result, Technique};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::collect::Collect;
use crate::fork;
use crate::range::Range;
use crate::show::{alone, print, seconds, task};

/// What a technique's process tells of its run.
type Told = Result<(u128, Duration), Refusal>;

struct Refusal {
    skipped: bool,
    why: String,
}

/// Prints a table.
///
/// # Errors
/// [`Error::System`] where a technique failed or brought a wrong total.
pub fn run(range: Range, shares: &[Range]) -> Result<()> {
    // Signals are something to wait for here.
    let mut signals = common::ending_signals()?;
    signals.add(Signal::SIGCHLD);
    signals.thread_block().doing("pthread_sigmask")?;

    let formula = range.formula();
    print(&format!("{}; n(n+1)/2 says {formula}", task(range, shares.len())))?;
    // Apart too: this process is there to hear signals.
    let sum = || {
        // It has made nothing that it would have to remove, so a signal may end it.
        SigSet::empty().thread_set_mask().doing("pthread_sigmask")?;
        alone(range)
    };
    match apart(&signals, "one process", sum)? {
        Ok((_, time)) => print(&format!("one process alone: {} s\n", seconds(time)))?,
        Err(Refusal { why, .. }) => return Err(io::Error::other(why)).doing("one process alone"),
    }
    let row = |name: &str, total: &str, seconds: &str, verdict: &str, note: &str| {
        let names = TECHNIQUES.iter().map(|technique| technique.name.len()).max().unwrap_or(0);
        let totals = formula.to_string().len().max("total".len());
        print(&format!("{name:names$}  {total:>totals$}  {seconds:>9}  {verdict:7}  {note}"))
    };
    row("technique", "total", "seconds", "", "the kernel holds")?;
    let (mut right, mut failed, mut skipped) = (0, 0, 0);
    for technique in TECHNIQUES {
        let name = technique.name;
        match apart(&signals, name, || total(technique, shares))? {
            Ok((total, time)) if total == formula => {
                right += 1;
                row(name, &total.to_string(), &seconds(time), "right", technique.kernel_object)?;
            }
            Ok((total, time)) => {
                failed += 1;
                row(name, &total.to_string(), &seconds(time), "FAILED", "the total is wrong")?;
            }
            Err(Refusal { skipped: true, why }) => {
                skipped += 1;
                row(name, "-", "-", "skipped", &why)?;
            }
            Err(Refusal { why, .. }) => {
                failed += 1;
                row(name, "-", "-", "FAILED", &why)?;
            }
        }
    }
    print(&format!("\n{} techniques: {right} right, {failed} failed, {skipped} skipped", TECHNIQUES.len()))?;
    if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} techniques failed"))).doing("check") }
}

/// Adds in a process of its own, and waits for its end or for a signal that ends this one.
fn apart(signals: &SigSet, name: &str, sum: impl FnOnce() -> Result<(u128, Duration)>) -> Result<Told> {
    let (mut told, mut tell) = io::pipe().doing("pipe")?;
    // SIGTERM, so that it can remove what it has made.
    let pid = fork::start(name, Signal::SIGTERM, || {
        let text = encode(&sum());
        tell.write_all(text.as_bytes()).doing("write to the parent")
    })?;
    drop(tell);
    let status = end_of(pid, signals)?;
    let mut text = String::new();
    told.read_to_string(&mut text).doing("read from a child")?;
    Ok(decode(&text).unwrap_or_else(|| Err(Refusal { skipped: false, why: format!("its process ended: {status:?}") })))
}

fn total(technique: &Technique, shares: &[Range]) -> Result<(u128, Duration)> {
    let begin = Instant::now();
    let parts = catalog::with(technique.name, Collect { shares, quiet: true })
        .unwrap_or_else(|| Err(Error::Unsupported(technique.name.to_owned())))?;
    let total = parts.iter().filter_map(|part| part.result).map(|(sum, _)| sum).sum();
    Ok((total, begin.elapsed()))
}

/// Nothing else happens meanwhile, so one call waits for both.
fn end_of(pid: Pid, signals: &SigSet) -> Result<WaitStatus> {
    loop {
        match signals.wait().doing("sigwait")? {
            Signal::SIGCHLD => match waitpid(pid, Some(WaitPidFlag::WNOHANG)).doing("waitpid")? {
                WaitStatus::StillAlive => {}
                status => return Ok(status),
            },
            ending => {
                let _ = kill(pid, Signal::SIGTERM);
                let _ = kill(pid, Signal::SIGCONT);
                let _ = waitpid(pid, None);
                common::complain("parallel-sum", &format!("ended by {ending}"));
                process::exit(128 + ending as i32);
            }
        }
    }
}

fn encode(result: &Result<(u128, Duration)>) -> String {
    match result {
        Ok((total, time)) => format!("{total} {}", time.as_nanos()),
        Err(Error::Unsupported(why)) => format!("skipped {why}"),
        Err(error) => format!("failed {error}"),
    }
}

fn decode(text: &str) -> Option<Told> {
    let (first, rest) = text.split_once(' ')?;
    Some(match first {
        "skipped" | "failed" => Err(Refusal { skipped: first == "skipped", why: rest.to_owned() }),
        _ => Ok((first.parse().ok()?, Duration::from_nanos(rest.parse().ok()?))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_tells_arrives() {
        let right = decode(&encode(&Ok((u128::MAX, Duration::from_nanos(17)))));
        assert!(matches!(right, Some(Ok((u128::MAX, time))) if time.as_nanos() == 17));
        let skipped = decode(&encode(&Err(Error::Unsupported("no such thing".to_owned()))));
        assert!(matches!(skipped, Some(Err(Refusal { skipped: true, why })) if why == "no such thing"));
        let failed = decode(&encode(&Err(Error::PeerGone("all gone".to_owned()))));
        assert!(matches!(failed, Some(Err(Refusal { skipped: false, why })) if why == "all gone"));
        for cut in ["", "17", "17 ", "x 17"] {
            assert!(decode(cut).is_none(), "{cut:?}");
        }
    }
}
