//! Several runs as one.

use crate::results::{Hardware, Results, Status};

/// Adds what `more` has found to what `results` has: rounds to rounds where both measured the same thing in the same way, rows
/// behind the others where not. What went wrong in one of them has gone wrong.
///
/// # Errors
/// Why the two do not belong together.
pub fn join(results: &mut Results, mut more: Results) -> Result<(), String> {
    if let Some((what, here, there)) = results.machine.difference(&more.machine) {
        return Err(format!("it is of another machine: {what} {there}, and not {here}"));
    }
    if results.verify != more.verify {
        return Err("its messages were checked in another way".to_owned());
    }
    // A technique's round and its twin's are neighbours if they have the same number, in whichever run that was.
    let before = numbers(results).max().map_or(0, |last| last + 1);
    more.rows.iter_mut().flat_map(|row| &mut row.rounds).for_each(|round| round.number += before);
    results.seconds += more.seconds;
    results.command.push(";".to_owned());
    results.command.extend(more.command);
    results.load = results.load.max(more.load);
    for hardware in more.hardware {
        let is_same = |known: &&mut Hardware| known.what == hardware.what && known.size == hardware.size;
        match results.hardware.iter_mut().find(is_same) {
            Some(known) => {
                known.nanos.extend(hardware.nanos);
                known.reason = known.reason.take().or(hardware.reason);
            }
            None => results.hardware.push(hardware),
        }
    }
    for row in more.rows {
        match results.rows.iter_mut().find(|known| known.is_same(&row)) {
            Some(known) => {
                known.rounds.extend(row.rounds);
                if severity(&row.status) > severity(&known.status) {
                    known.status = row.status;
                }
            }
            None => results.rows.push(row),
        }
    }
    Ok(())
}

fn numbers(results: &Results) -> impl Iterator<Item = u32> {
    results.rows.iter().flat_map(|row| &row.rounds).map(|round| round.number)
}

fn severity(status: &Status) -> u8 {
    match status {
        Status::Skipped(_) => 0,
        Status::Measured => 1,
        Status::Unsupported(_) => 2,
        Status::Failed(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Kind;
    use crate::results::samples::{results, ways};

    /// A run that has a technique without its twin, before and behind one that has both.
    #[test]
    fn ratios_are_of_one_run_in_whichever_order_they_come() {
        let both =
            || results(vec![ways(Kind::Technique, &[(1, 100), (2, 100)]), ways(Kind::Twin, &[(1, 100), (2, 50)])]);
        let alone = || results(vec![ways(Kind::Technique, &[(1, 700), (2, 700), (3, 700)])]);
        for (mut first, second) in [(both(), alone()), (alone(), both())] {
            join(&mut first, second).unwrap();
            assert_eq!(first.rows[0].rounds.len(), 5, "no round is lost");
            let ratio = first.against_twin(&first.rows[0]).unwrap();
            assert_eq!((ratio.min, ratio.max), (1.0, 2.0));
        }
    }

    #[test]
    fn what_failed_once_has_failed() {
        for (one, other) in [(0, 1), (1, 0)] {
            let status = [Status::Failed("lost".to_owned()), Status::Skipped("too long".to_owned())];
            let mut row = ways(Kind::Technique, &[(1, 100)]);
            row.status = status[one].clone();
            let mut first = results(vec![row.clone()]);
            row.status = status[other].clone();
            join(&mut first, results(vec![row])).unwrap();
            assert_eq!(first.rows[0].status, status[0]);
            assert!(!first.rows[0].is_measured());
        }
    }

    #[test]
    fn runs_of_two_machines_are_none() {
        let mut other = results(Vec::new());
        other.machine.debug_build = true;
        assert_eq!(
            join(&mut results(Vec::new()), other),
            Err("it is of another machine: built without optimisation true, and not false".to_owned())
        );
    }
}
