//! Several runs as one.

use crate::results::{Hardware, Kind, Results, Row, Status};

/// Adds what `more` has found to what `results` has: rounds to rounds where both measured the same thing in the same way, rows
/// behind the others where not.
///
/// # Errors
/// Why the two do not belong together.
pub fn join(results: &mut Results, mut more: Results) -> Result<(), String> {
    if results.machine != more.machine {
        return Err(format!("it is of another machine, {} with {}", more.machine.cpu, more.machine.kernel));
    }
    if results.verify != more.verify {
        return Err("its messages were checked in another way".to_owned());
    }
    pair_up(results);
    pair_up(&mut more);
    results.seconds += more.seconds;
    results.command.push(";".to_owned());
    results.command.extend(more.command);
    results.load = results.load.max(more.load);
    for hardware in more.hardware {
        let is_same = |known: &&mut Hardware| known.what == hardware.what && known.size == hardware.size;
        match results.hardware.iter_mut().find(is_same) {
            Some(known) => known.nanos.extend(hardware.nanos),
            None => results.hardware.push(hardware),
        }
    }
    for row in more.rows {
        match results.rows.iter_mut().find(|known| known.is_same(&row)) {
            Some(known) => {
                known.rounds.extend(row.rounds);
                if row.status != Status::Measured {
                    known.status = row.status;
                }
            }
            None => results.rows.push(row),
        }
    }
    Ok(())
}

/// Leaves out the rounds that either a technique or its twin does not have: what is behind them would have other neighbours.
fn pair_up(results: &mut Results) {
    let fewest = |row: &Row| {
        let is_other = |other: &&Row| {
            other.source.name == row.source.name && other.source.kind != Kind::Peer && other.is_alike(row)
        };
        results.rows.iter().filter(is_other).map(|other| other.rounds.len()).min().unwrap_or(row.rounds.len())
    };
    let rounds: Vec<usize> = results.rows.iter().map(fewest).collect();
    for (row, rounds) in results.rows.iter_mut().zip(rounds) {
        row.rounds.truncate(rounds);
    }
}
