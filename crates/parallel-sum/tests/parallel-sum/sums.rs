//! The sum through every technique, and through none.

use catalog::TECHNIQUES;
use common::{Delivery, Technique};
use libtest_mimic::Completion;
use nix::sys::signal::{Signal, kill};

use crate::process::{Ended, FOREVER, Guard, command, run, workers};
use crate::table::{TOTAL, row, rows, total};
use crate::{Result, ensure};

pub fn sum(technique: &Technique) -> Result<Completion> {
    let Ended { code, stdout, stderr } = run(command(&["--via", technique.name]))?;
    if code == Some(77) {
        return Ok(Completion::ignored_with(stderr.trim_end().to_owned()));
    }
    if technique.delivery == Delivery::BestEffort && code != Some(0) {
        ensure!(stdout.is_empty() && stderr.starts_with("parallel-sum: "), "{code:?}\n{stdout}{stderr}");
        return Ok(Completion::ignored_with(format!("what is best effort has failed clearly: {}", stderr.trim_end())));
    }
    ensure!(code == Some(0) && stderr.is_empty(), "{code:?}\n{stdout}{stderr}");
    ensure!(total(&stdout) == Some(TOTAL), "{stdout}");
    ensure!(stdout.contains(&format!("n(n+1)/2 says {TOTAL}: the same\n")), "{stdout}");
    ensure!(stdout.contains(&format!("through {}: {}\n", technique.name, technique.kernel_object)), "{stdout}");
    let rows = rows(&stdout);
    ensure!(rows.len() == 10, "{stdout}");
    let mut pids = Vec::new();
    for (number, row) in (0_u64..).zip(&rows) {
        let (from, to) = (number * 1000 + 1, (number + 1) * 1000);
        let sum = (from + to) * 1000 / 2;
        let expected = [(number + 1).to_string(), from.to_string(), to.to_string(), sum.to_string()];
        ensure!([row[0], row[2], row[3], row[4]] == expected.each_ref().map(String::as_str), "{stdout}");
        pids.push(row[1]);
    }
    pids.sort_unstable();
    pids.dedup();
    ensure!(pids.len() == 10, "ten workers are ten processes: {stdout}");
    ensure!(
        stdout.lines().filter(|line| line.contains("times as fast") || line.contains("times as slow")).count() == 1,
        "{stdout}"
    );
    Ok(Completion::Completed)
}

pub fn all() -> Result {
    let Ended { code, stdout, stderr } = run(command(&["--via", "all"]))?;
    let (mut right, mut failed, mut skipped) = (0, 0, 0);
    for technique in TECHNIQUES {
        let lost = technique.delivery == Delivery::BestEffort;
        match row(&stdout, technique.name) {
            Some((TOTAL, "right", object)) if object == technique.kernel_object => right += 1,
            Some(("-", "FAILED", _)) if lost => failed += 1,
            Some(("-", "skipped", _)) => skipped += 1,
            other => return Err(format!("{}: {other:?}\n{stdout}", technique.name).into()),
        }
    }
    let last = format!("{} techniques: {right} right, {failed} failed, {skipped} skipped\n", TECHNIQUES.len());
    ensure!(stdout.ends_with(&last), "{stdout}");
    ensure!(code == Some(i32::from(failed > 0)) && stderr.is_empty() == (failed == 0), "{code:?}\n{stderr}");
    Ok(())
}

pub fn none() -> Result {
    let Ended { code, stdout, stderr } = run(command(&["--via", "none"]))?;
    ensure!(code == Some(0) && stderr.is_empty(), "{code:?}\n{stdout}{stderr}");
    ensure!(total(&stdout) == Some("0"), "{stdout}");
    ensure!(stdout.contains(&format!("n(n+1)/2 says {TOTAL}; the parent knows 0\n")), "{stdout}");
    ensure!(rows(&stdout).len() == 10 && rows(&stdout).iter().all(|row| row[4] == "?"), "{stdout}");
    // A worker that is killed is a failure all the same.
    let running = Guard(Some(command(&[&FOREVER[..], &["--workers", "2", "--via", "none"]].concat()).spawn()?));
    kill(workers(running.child(), 2)?[0], Signal::SIGKILL)?;
    // The other one would go on for ever.
    let Ended { code, stdout, stderr } = running.end()?;
    ensure!(code == Some(3) && stdout.is_empty() && stderr.contains("worker 1 "), "{code:?}\n{stdout}{stderr}");
    Ok(())
}

/// The lesson's three times, and its longer sum.
pub fn faster_alone() -> Result {
    let times = |words: &[&str], total_is: &str| -> Result<[f64; 2]> {
        let Ended { code, stdout, stderr } = run(command(words))?;
        ensure!(code == Some(0) && total(&stdout) == Some(total_is), "{code:?}\n{stdout}{stderr}");
        let after = |what: &str| stdout.split_once(what)?.1.split_whitespace().next()?.parse::<f64>().ok();
        let times = after("one process alone: ").zip(after(" workers: "));
        let (alone, workers) = times.ok_or_else(|| format!("no times in:\n{stdout}"))?;
        let says = |word: &str| stdout.ends_with(&format!(" times as {word} as one process\n"));
        // What is printed of the two may be the same, and then either is right.
        ensure!(says("fast") && alone >= workers || says("slow") && alone <= workers, "{stdout}");
        Ok([alone, workers])
    };
    let [alone, workers] = times(&[], TOTAL)?;
    let is_slower = workers > alone;
    ensure!(is_slower, "alone {alone} s, ten workers {workers} s");
    times(&["--to", "2000000000", "--workers", "2"], "2000000001000000000").map(drop)
}

pub fn unequal() -> Result {
    let Ended { code, stdout, .. } = run(command(&["--from", "3", "--to", "12", "--workers", "4"]))?;
    let shares: Vec<[&str; 3]> = rows(&stdout).iter().map(|row| [row[2], row[3], row[4]]).collect();
    let expected = [["3", "4", "7"], ["5", "7", "18"], ["8", "9", "17"], ["10", "12", "33"]];
    ensure!(code == Some(0) && shares == expected && total(&stdout) == Some("75"), "{stdout}");
    for words in [&["--from", "0", "--to", "0", "--workers", "1"][..], &["--to", "7", "--workers", "7"]] {
        let Ended { code, stdout, stderr } = run(command(words))?;
        ensure!(code == Some(0) && stdout.contains(": the same\n"), "{words:?}: {stdout}{stderr}");
    }
    Ok(())
}

pub fn wide() -> Result {
    let last = ["--from", "18446744073709551606", "--to", "18446744073709551615"];
    for (workers, via) in [("1", "pipe"), ("3", "posix-mq"), ("10", "shm")] {
        let Ended { code, stdout, .. } = run(command(&[&last[..], &["--workers", workers, "--via", via]].concat()))?;
        ensure!(code == Some(0) && total(&stdout) == Some("184467440737095516105"), "{stdout}");
    }
    Ok(())
}
