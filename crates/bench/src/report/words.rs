//! Sentences about a run, made from its figures: none is written that another run could make false.

use crate::results::{Kind, Measure, Results, Row, Spread};
use crate::table::units::{bytes, micros, rate};

/// A row's technique and its figure, in nanoseconds.
type Figure<'a> = (&'a str, f64);

/// What there is to say about the rows of one measure, place and wait.
pub fn sentences(results: &Results, rows: &[&Row]) -> Vec<String> {
    let mut said = Vec::new();
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for &size in [sizes.first(), sizes.last().filter(|_| sizes.len() > 1)].into_iter().flatten() {
        let mut of_size: Vec<(Figure<'_>, &Row)> = rows.iter().filter_map(|row| figure(row, size)).collect();
        of_size.sort_by(|(one, _), (other, _)| one.1.total_cmp(&other.1));
        let [((best, fewest), row), rest @ ..] = &of_size[..] else { continue };
        let show = |nanos: f64| match row.measure {
            Measure::RoundTrip => format!("{} µs", micros(nanos)),
            Measure::Throughput => rate(size, nanos),
        };
        let what = match row.measure {
            Measure::RoundTrip => "the shortest median round trip",
            Measure::Throughput => "the highest throughput",
        };
        let mut sentence = format!("With messages of {}, {best} has {what}: {}", bytes(size), show(*fewest));
        if let Some(((next, nanos), _)) = rest.first() {
            sentence += &format!("; next is {next} with {}", show(*nanos));
        }
        if let [_, .., ((worst, nanos), _)] = rest {
            sentence += &format!(", and last {worst} with {}", show(*nanos));
        }
        said.push(sentence + ".");
    }
    let ratios: Vec<f64> = rows.iter().filter_map(|row| ratio(results, row)).collect();
    if !ratios.is_empty() {
        let close = ratios.iter().filter(|ratio| **ratio <= 1.05).count();
        said.push(format!(
            "Of {} figures with a bare twin beside them, {close} take at most 1.05 times the twin's time.",
            ratios.len()
        ));
    }
    said
}

fn figure(row: &Row, size: usize) -> Option<(Figure<'_>, &Row)> {
    let median = Spread::of(&row.figures())?.median;
    (row.source.kind == Kind::Technique && row.size == size).then_some(((row.source.name.as_str(), median), row))
}

fn ratio(results: &Results, row: &Row) -> Option<f64> {
    (row.source.kind == Kind::Technique).then_some(())?;
    Some(Spread::of_ratios(&row.figures(), &results.twin(row)?.figures())?.median)
}
