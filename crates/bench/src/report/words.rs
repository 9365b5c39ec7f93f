//! Sentences about a run, made from its figures: none is written that another run could make false.

use super::{shown, value};
use crate::results::{Kind, Measure, Results, Row, Spread};
use crate::table::units::bytes;

/// What the figures of a run are, and what stands beside them.
pub fn how_to_read(results: &Results) -> Vec<String> {
    let rounds = || results.rows.iter().filter(|row| row.is_measured()).map(|row| row.rounds.len());
    let (fewest, most) = (rounds().min().unwrap_or(0), rounds().max().unwrap_or(0));
    let mut said = vec![match (fewest, most) {
        (_, 0) => "Nothing was measured.".to_owned(),
        (_, 1) => "Each figure is of one round, and nothing tells how far another one would be from it.".to_owned(),
        (fewest, most) if fewest == most => format!("Each figure is the median over {most} rounds."),
        (fewest, most) => format!("Each figure is the median over its rounds, of which there are {fewest} to {most}."),
    }];
    if results.rows.iter().any(|row| results.against_twin(row).is_some()) {
        said.push(
            "Besides each technique there is its bare twin, the plainest loop of the same system calls, and the two took turns. \
             ×twin is time divided by the twin's time: 1.00 is as fast, 0.50 takes half as long."
                .to_owned(),
        );
    }
    if results.rows.iter().any(|row| results.bound(row).is_some()) {
        said.push(
            "×limit is time divided by what the machine could do at best: a copy within the cache and, for a round trip, a cache \
             line that goes to the other core and back, timed as the trip is."
                .to_owned(),
        );
    }
    said.push("Scales are logarithmic: from one line to the next it is ten times as much.".to_owned());
    if most > 1 {
        said.push(
            "Behind ± stands how far the best and the worst round are from the middle one. A smaller difference is noise."
                .to_owned(),
        );
    }
    said
}

/// What there is to say about the rows of one measure, place and wait.
pub fn sentences(results: &Results, rows: &[&Row]) -> Vec<String> {
    let mut said = Vec::new();
    let mut sizes: Vec<usize> = shown(rows).map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for &size in [sizes.first(), sizes.last().filter(|_| sizes.len() > 1)].into_iter().flatten() {
        said.extend(ranking(rows, size));
    }
    let of_techniques = rows.iter().filter(|row| row.source.kind == Kind::Technique);
    let ratios: Vec<f64> = of_techniques.filter_map(|row| Some(results.against_twin(row)?.median)).collect();
    let close = ratios.iter().filter(|ratio| **ratio <= 1.05).count();
    let beside = "with a bare twin beside";
    said.extend(match (ratios.len(), close) {
        (0, _) => None,
        (1, 0) => Some(format!("The one figure {beside} it takes more than 1.05 times the twin's time.")),
        (1, _) => Some(format!("The one figure {beside} it takes at most 1.05 times the twin's time.")),
        (all, 1) => Some(format!("Of {all} figures {beside} them, 1 takes at most 1.05 times the twin's time.")),
        (all, close) => {
            Some(format!("Of {all} figures {beside} them, {close} take at most 1.05 times the twin's time."))
        }
    });
    said
}

/// Who is first, next and last with messages of this size, by what can be read of the figures.
fn ranking(rows: &[&Row], size: usize) -> Option<String> {
    let mut of_size: Vec<(f64, &Row)> = shown(rows)
        .filter(|row| row.size == size)
        .filter_map(|row| Some((Spread::of(&row.figures())?.median, row)))
        .collect();
    of_size.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    // Who has the same figure, as it is shown, shares a place.
    let mut places: Vec<(String, Vec<&str>)> = Vec::new();
    for &(nanos, row) in &of_size {
        let shown = value(row, nanos);
        match places.last_mut().filter(|(figure, _)| *figure == shown) {
            Some((_, names)) => names.push(&row.source.name),
            None => places.push((shown, vec![&row.source.name])),
        }
    }
    let [(figure, names), rest @ ..] = &places[..] else { return None };
    let what = match of_size[0].1.measure {
        Measure::RoundTrip => "the shortest median round trip",
        Measure::Throughput => "the highest throughput",
    };
    let verb = if names.len() == 1 { "has" } else { "have" };
    let mut sentence = format!("With messages of {}, {} {verb} {what}: {figure}", bytes(size), list(names));
    if let Some((figure, names)) = rest.first() {
        sentence += &format!("; next: {}, {figure}", list(names));
    }
    if let [_, .., (figure, names)] = rest {
        sentence += &format!("; last: {}, {figure}", list(names));
    }
    Some(sentence + ".")
}

/// `a`, `a and b`, `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
