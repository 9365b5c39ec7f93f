//! Now and then: the ratios to an older run, with their noise.

use std::fmt::Write as _;

use crate::results::{Kind, Results, Row, Spread};
use crate::table::units::bytes;

/// With fewer rounds on either side it is a matter of chance that their ranges lie apart: of two runs of the same program
/// with three rounds each, in one row of ten; with five, in one of a hundred.
const ENOUGH: usize = 5;

/// A line for each row that both runs have, the largest changes first. A change that is smaller than the noise of
/// the two is not called one.
pub fn text(now: &Results, then: &Results) -> String {
    let mut text = String::new();
    if let Some((what, here, there)) = now.machine.difference(&then.machine) {
        let _ = writeln!(text, "ANOTHER MACHINE, KERNEL OR BUILD: {what} is {here} now and was {there} then");
    }
    if now.verify != then.verify {
        text += "THE MESSAGES WERE CHECKED IN ANOTHER WAY (--verify), which is part of each figure\n";
    }
    let mut changes = Vec::new();
    let mut missing = String::new();
    for old in then.rows.iter().filter(|row| row.is_measured()) {
        match now.rows.iter().find(|row| row.is_same(old)) {
            Some(row) if row.is_measured() => changes.push(Change::new(row, old)),
            Some(row) => _ = writeln!(missing, "{} measured then, and not now", words(row)),
            None => _ = writeln!(missing, "{} measured then, and not in this run", words(old)),
        }
    }
    changes.sort_by(|one, other| other.weight().total_cmp(&one.weight()));
    text += "\ntime now / time then, median [smallest..largest], rounds now and then; below 1 is faster\n";
    for change in &changes {
        text += &change.line();
    }
    if changes.is_empty() {
        text += "the two runs have no row in common\n";
    }
    text += &missing;
    let twins = changes.iter().filter(|change| change.row.source.kind == Kind::Twin);
    if let Some(twins) = Spread::of(&twins.map(|change| change.ratio.median).collect::<Vec<_>>()) {
        let _ = writeln!(
            text,
            "the bare twins, which no technique's code is in, take {:.2} times the time of then, in the middle: so much is the \
             machine's",
            twins.median
        );
    }
    text
}

struct Change<'a> {
    row: &'a Row,
    /// The medians', and what it could be at least and at most.
    ratio: Spread,
    rounds: [usize; 2],
}

impl Change<'_> {
    /// Both rows have figures.
    fn new<'a>(row: &'a Row, old: &Row) -> Change<'a> {
        let of = |row: &Row| Spread::of(&row.figures()).unwrap_or(Spread { min: 1.0, median: 1.0, max: 1.0 });
        let (new, then) = (of(row), of(old));
        let ratio = Spread { min: new.min / then.max, median: new.median / then.median, max: new.max / then.min };
        Change { row, ratio, rounds: [row.rounds.len(), old.rounds.len()] }
    }

    fn word(&self) -> &'static str {
        match () {
            () if self.rounds.iter().any(|&rounds| rounds < ENOUGH) => "too few rounds",
            () if self.ratio.max < 1.0 => "faster",
            () if self.ratio.min > 1.0 => "SLOWER",
            () => "",
        }
    }

    /// How large it is, if it is one.
    fn weight(&self) -> f64 {
        if matches!(self.word(), "faster" | "SLOWER") { self.ratio.median.ln().abs() } else { 0.0 }
    }

    fn line(&self) -> String {
        let Spread { min, median, max } = self.ratio;
        let [now, then] = self.rounds;
        format!("{} {median:6.2} [{min:.2}..{max:.2}] {now:2} {then:2} {}", words(self.row), self.word())
            .trim_end()
            .to_owned()
            + "\n"
    }
}

fn words(row: &Row) -> String {
    let Row { source, measure, size, place, wait, .. } = row;
    format!("{:9} {:14} {measure:10} {:>8} {place:8} {wait:5}", source.kind, source.name, bytes(*size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Status;
    use crate::results::samples::{results, ways};

    fn row(nanos: &[u64]) -> Row {
        ways(Kind::Twin, &nanos.iter().zip(1..).map(|(&nanos, number)| (number, nanos)).collect::<Vec<_>>())
    }

    #[test]
    fn a_change_within_the_noise_is_none() {
        let then = row(&[100, 130, 150, 140, 120]);
        let word = |nanos: &[u64]| Change::new(&row(nanos), &then).word();
        assert_eq!(word(&[90, 100, 120, 95, 110]), "");
        assert_eq!(word(&[90, 95, 99, 80, 81]), "faster");
        assert_eq!(word(&[160, 170, 180, 151, 152]), "SLOWER");
    }

    #[test]
    fn a_few_rounds_say_nothing() {
        assert_eq!(Change::new(&row(&[10, 10, 10]), &row(&[20, 20, 20])).word(), "too few rounds");
    }

    #[test]
    fn what_was_and_is_not_is_told() {
        let mut failed = row(&[100]);
        failed.status = Status::Failed("lost".to_owned());
        let said = text(&results(vec![failed]), &results(vec![row(&[100])]));
        assert!(said.contains("the two runs have no row in common") && said.contains("and not now"), "{said}");
        let said = text(&results(vec![row(&[110])]), &results(vec![row(&[100])]));
        assert!(said.contains("take 1.10 times the time of then"), "{said}");
    }
}
