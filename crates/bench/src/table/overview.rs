//! A line for each technique.

use comfy_table::{Cell, Color};

use super::units::{bytes, count, digits, micros, rate};
use super::{bold, dim, print, ratio, right, table, title};
use crate::results::{Kind, Measure, Results, Round, Row, Source, Spread, Status};

/// From this size on bytes per second say more than messages per second.
const LARGE: usize = 4096;

pub fn text(results: &Results, group: &[&Row]) -> String {
    let unit = match group[0].measure {
        Measure::RoundTrip => "the median, in µs",
        Measure::Throughput => "messages or bytes per second",
    };
    let bounded = bounded(results, group);
    let limit = if bounded { ", and as the limit," } else { "" };
    let mut text = format!("{}: {unit}; how many times as long as the bare twin{limit} it takes\n", title(group[0]));
    let all = figures(results, group, bounded);
    let needed = all.clone().force_no_tty().lines().map(|line| line.trim_end().chars().count()).max();
    let fits = all.width().is_none_or(|width| needed.is_none_or(|needed| needed <= usize::from(width)));
    // The limit has a line of its own.
    text += &print(&if fits { all } else { figures(results, group, false) });
    text
}

/// Is there a limit for anything in it?
fn bounded(results: &Results, group: &[&Row]) -> bool {
    group.iter().any(|row| results.bound(row).is_some())
}

fn figures(results: &Results, group: &[&Row], limits: bool) -> comfy_table::Table {
    let (sizes, sources) = (sizes(group), sources(group));
    let twins = sources.iter().any(|source| source.kind != Kind::Twin) && group.iter().any(|row| is_twin(row));
    let mut table = table();
    let mut header = vec![Cell::new("")];
    for &size in &sizes {
        header.push(bold(right(bytes(size))));
        header.extend(twins.then(|| dim(right("×twin"))));
        header.extend(limits.then(|| dim(right("×limit"))));
    }
    let cost = format!("CPU µs/msg {}", sizes.first().copied().map(bytes).unwrap_or_default());
    header.extend([bold(right(cost)), bold(right("sleeps/msg")), bold(right("KiB"))]);
    table.set_header(header);
    for source in &sources {
        let find = |size| group.iter().copied().find(|row| row.source == **source && row.size == size);
        let mut line = vec![Cell::new(&source.name)];
        for &size in &sizes {
            let row = find(size);
            line.push(row.map_or_else(|| right(""), figure));
            line.extend(twins.then(|| ratio(row.and_then(|row| results.against_twin(row)))));
            let bound = row.and_then(|row| results.against_bound(row));
            line.extend(limits.then(|| dim(right(bound.map(count).unwrap_or_default()))));
        }
        line.extend(cost_of(sizes.first().and_then(|&size| find(size))));
        table.add_row(line);
    }
    if !bounded(results, group) {
        return table;
    }
    let mut line = vec![dim(Cell::new("limit"))];
    for &size in &sizes {
        let row = group.iter().find(|row| row.size == size);
        let bound = row.and_then(|row| Some(show(row.measure, size, results.bound(row)?)));
        line.push(dim(right(bound.unwrap_or_default())));
        line.extend(twins.then(|| right("")));
        line.extend(limits.then(|| right("")));
    }
    table.add_row(line);
    table
}

/// Twins have lines of their own only where there is nothing beside them, and what is left out for all sizes has none.
fn sources<'a>(group: &[&'a Row]) -> Vec<&'a Source> {
    let only_twins = group.iter().all(|row| is_twin(row));
    let mut sources: Vec<&Source> = Vec::new();
    for row in group.iter().filter(|row| only_twins || !is_twin(row)) {
        if !matches!(row.status, Status::Skipped(_)) && !sources.contains(&&row.source) {
            sources.push(&row.source);
        }
    }
    sources
}

fn is_twin(row: &Row) -> bool {
    row.source.kind == Kind::Twin
}

fn sizes(group: &[&Row]) -> Vec<usize> {
    let mut sizes: Vec<usize> = group.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn figure(row: &Row) -> Cell {
    match (&row.status, Spread::of(&row.figures())) {
        (Status::Failed(_), _) => right("FAILED").fg(Color::Red),
        (Status::Unsupported(_), _) => right("absent").fg(Color::Red),
        (_, Some(spread)) => right(show(row.measure, row.size, spread.median)),
        (_, None) => right("-"),
    }
}

fn show(measure: Measure, size: usize, nanos: f64) -> String {
    match measure {
        Measure::RoundTrip => micros(nanos),
        Measure::Throughput if size < LARGE => format!("{}/s", count(1e9 / nanos)),
        Measure::Throughput => rate(size, nanos),
    }
}

fn cost_of(row: Option<&Row>) -> [Cell; 3] {
    let median = |of: fn(&Round) -> f64| {
        let rounds = row.filter(|row| row.is_measured()).map_or(&[][..], |row| &row.rounds);
        Spread::of(&rounds.iter().map(of).collect::<Vec<_>>()).map(|spread| spread.median)
    };
    [
        right(median(Round::cpu).map(micros).unwrap_or_default()),
        right(median(Round::sleeps).map(digits).unwrap_or_default()),
        right(median(|round| round.memory_kib() as f64).map(|kib| format!("{kib:.0}")).unwrap_or_default()),
    ]
}
