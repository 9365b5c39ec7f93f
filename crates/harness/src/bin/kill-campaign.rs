//! Kills pairs at random moments, and says what became of the survivors: `scripts/kill-campaign.sh` runs it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this program is for")]

use std::process::ExitCode;
use std::time::Duration;

use harness::kill::{self, Plan, Victim};
use harness::{Pair, Result, left_over_of_this_run, pairs};

const USAGE: &str = "usage: kill-campaign [--count N] [--seed S]";
const VICTIMS: [Victim; 3] = [Victim::Sender, Victim::Receiver, Victim::Both];

/// What the kills of one technique have shown.
#[derive(Default)]
struct Row {
    kills: u32,
    /// Survivors by exit code: 0, 3, 4.
    codes: [u32; 3],
    worst: Duration,
    failures: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kill-campaign: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The number of kills and what seeds the random moments.
fn arguments() -> Result<(u32, u64)> {
    let (mut count, mut seed) = (1000, fastrand::u64(..));
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        match option.as_str() {
            "--count" => count = value.parse().map_err(|_| USAGE)?,
            "--seed" => seed = value.parse().map_err(|_| USAGE)?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok((count, seed))
}

fn run() -> Result<bool> {
    let (count, seed) = arguments()?;
    println!("{count} kills, --seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let pairs = pairs()?;
    let share = pairs.len() as u32;
    println!(
        "{:<14} {:>6} {:>7} {:>7} {:>7} {:>10} {:>9}",
        "technique", "kills", "exit 0", "exit 3", "exit 4", "worst wait", "failures"
    );
    let mut failures = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        // The kills are spread evenly; what does not divide goes to the first.
        let kills = count / share + u32::from((at as u32) < count % share);
        let row = campaign(pair, kills, &mut random)?;
        println!(
            "{:<14} {:>6} {:>7} {:>7} {:>7} {:>8.3} s {:>9}",
            pair.name,
            row.kills,
            row.codes[0],
            row.codes[1],
            row.codes[2],
            row.worst.as_secs_f64(),
            row.failures.len()
        );
        failures.extend(row.failures);
    }
    failures.extend(left_over_of_this_run().into_iter().map(|left| format!("left behind: {left}")));
    for failure in &failures {
        eprintln!("\n{failure}");
    }
    Ok(failures.is_empty())
}

fn campaign(pair: &Pair, kills: u32, random: &mut fastrand::Rng) -> Result<Row> {
    let mut row = Row { kills, ..Row::default() };
    let plan = Plan::measure(pair).map_err(|error| format!("{}: {error}", pair.name))?;
    for victim in VICTIMS.into_iter().cycle().take(kills as usize) {
        let moment = plan.length.mul_f64(random.f64());
        match kill::once(pair, &plan, victim, moment) {
            Ok(survived) => {
                row.worst = row.worst.max(survived.wait);
                let code = survived.outcome.and_then(|outcome| outcome.code());
                if let Some(at) = [0, 3, 4].iter().position(|&known| code == Some(known)) {
                    row.codes[at] += 1;
                }
            }
            Err(error) => {
                row.failures.push(format!("{}, {victim} killed after {} us: {error}", pair.name, moment.as_micros()));
            }
        }
    }
    Ok(row)
}
