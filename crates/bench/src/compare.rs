//! Now and then: the ratios to an older run, with their noise.

use std::fmt::Write as _;

use crate::results::{Results, Row, Spread};
use crate::table::units::bytes;

/// A line for each row that both runs have, the largest changes first. A change that is smaller than the noise of
/// the two is not called one.
pub fn text(now: &Results, then: &Results) -> String {
    let mut text = String::new();
    if now.machine != then.machine {
        let _ = writeln!(
            text,
            "ANOTHER MACHINE OR KERNEL: {}, {} cores, {}",
            then.machine.cpu,
            then.machine.cores.len(),
            then.machine.kernel
        );
    }
    let mut changes: Vec<(f64, String)> = Vec::new();
    for row in &now.rows {
        let Some(old) = then.rows.iter().find(|old| old.is_same(row)) else { continue };
        let (Some(new), Some(old)) = (Spread::of(&row.figures()), Spread::of(&old.figures())) else { continue };
        changes.push(change(row, new, old));
    }
    changes.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let _ = writeln!(text, "\ntime now / time then, median [smallest..largest]; below 1 is faster");
    for (_, line) in &changes {
        let _ = writeln!(text, "{line}");
    }
    if changes.is_empty() {
        let _ = writeln!(text, "the two runs have no row in common");
    }
    text
}

/// How large the change is, for the order, and its line.
fn change(row: &Row, new: Spread, old: Spread) -> (f64, String) {
    let ratio = new.median / old.median;
    let (low, high) = (new.min / old.max, new.max / old.min);
    let word = match () {
        () if high < 1.0 => "faster",
        () if low > 1.0 => "SLOWER",
        () => "",
    };
    let size = if word.is_empty() { 0.0 } else { ratio.ln().abs() };
    let line = format!(
        "{:9} {:14} {:10} {:>8} {:8} {:5} {ratio:6.2} [{low:.2}..{high:.2}] {word}",
        row.source.kind,
        row.source.name,
        row.measure,
        bytes(row.size),
        row.place,
        row.wait,
    );
    (size, line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Kind, Measure, Place, Source, Status, Wait};

    fn word(new: &[f64], old: &[f64]) -> String {
        let row = Row {
            source: Source { kind: Kind::Twin, name: "pipe".to_owned() },
            measure: Measure::RoundTrip,
            size: 64,
            place: Place::Apart,
            wait: Wait::Block,
            rounds: Vec::new(),
            status: Status::Measured,
            note: None,
        };
        let (_, line) = change(&row, Spread::of(new).unwrap(), Spread::of(old).unwrap());
        line.rsplit(']').next().unwrap().trim().to_owned()
    }

    #[test]
    fn a_change_within_the_noise_is_none() {
        assert_eq!(word(&[90.0, 100.0, 120.0], &[100.0, 130.0, 150.0]), "");
        assert_eq!(word(&[90.0, 95.0, 99.0], &[100.0, 130.0, 150.0]), "faster");
        assert_eq!(word(&[160.0, 170.0, 180.0], &[100.0, 130.0, 150.0]), "SLOWER");
    }
}
