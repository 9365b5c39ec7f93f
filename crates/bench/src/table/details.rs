//! A line for each row, with every figure.

use comfy_table::Cell;

use super::units::{bytes, count, digits, micros, range, rate};
use super::{bold, dim, print, ratio, right, table, title};
use crate::results::{Kind, Measure, Results, Round, Row, Spread, Status, Trips};

pub fn text(results: &Results, group: &[&Row]) -> String {
    let measure: &[&str] = match group[0].measure {
        Measure::RoundTrip => &["µs min", "p50", "p90", "p99", "p99.9", "max"],
        Measure::Throughput => &["messages/s", "bytes/s", "lost"],
    };
    let costs = ["rounds", "×twin", "rounds", "×limit", "CPU µs/msg", "sleeps/msg", "KiB", "n"];
    let mut table = table();
    let names = ["", "size"].iter().chain(measure).chain(&costs);
    let heading = |(at, name): (usize, &&str)| if at == 0 { Cell::new(name) } else { right(*name) };
    table.set_header(names.enumerate().map(heading).map(bold));
    for row in group.iter().filter(|row| !matches!(row.status, Status::Skipped(_))) {
        table.add_row(line(results, row));
    }
    format!(
        "{}: every figure, as the median over n rounds and how far the others are from it; min, p90 and above: of all rounds\n{}",
        title(group[0]),
        print(&table)
    )
}

fn line(results: &Results, row: &Row) -> Vec<Cell> {
    let name = match row.source.kind {
        Kind::Twin => dim(Cell::new(format!("  twin of {}", row.source.name))),
        Kind::Technique | Kind::Peer => Cell::new(&row.source.name),
    };
    let mut line = vec![name, right(bytes(row.size))];
    let Some(spread) = Spread::of(&row.figures()) else {
        line.push(right(if matches!(row.status, Status::Failed(_)) { "FAILED" } else { "-" }));
        return line;
    };
    line.extend(match row.measure {
        Measure::Throughput => one_way(row, spread.median),
        Measure::RoundTrip => trips(row),
    });
    line.push(dim(right(range(spread))));
    let twin = results.against_twin(row).filter(|_| row.source.kind == Kind::Technique);
    line.push(ratio(twin));
    line.push(dim(right(twin.map(range).unwrap_or_default())));
    line.push(right(results.against_bound(row).map(count).unwrap_or_default()));
    let median = |of: fn(&Round) -> f64| {
        Spread::of(&row.rounds.iter().map(of).collect::<Vec<_>>()).map_or(0.0, |spread| spread.median)
    };
    line.push(right(micros(median(Round::cpu))));
    line.push(right(format!("{:.3}", median(Round::sleeps))));
    line.push(right(format!("{:.0}", median(|round| round.memory_kib() as f64))));
    line.push(right(row.rounds.len().to_string()));
    line
}

fn one_way(row: &Row, nanos: f64) -> Vec<Cell> {
    let lost: u64 = row.rounds.iter().map(|round| round.lost).sum();
    let sent: u64 = row.rounds.iter().map(|round| round.messages).sum::<u64>() + lost;
    let lost = match lost {
        0 => "0".to_owned(),
        _ => format!("{} %", digits(lost as f64 * 100.0 / sent as f64)),
    };
    vec![right(count(1e9 / nanos)), right(rate(row.size, nanos)), right(lost)]
}

fn trips(row: &Row) -> Vec<Cell> {
    let rounds: Vec<&Trips> = row.rounds.iter().filter_map(|round| round.trips.as_ref()).collect();
    let min = rounds.iter().map(|trips| trips.min).min().unwrap_or(0);
    let max = rounds.iter().map(|trips| trips.max).max().unwrap_or(0);
    let median = Spread::of(&row.figures()).map_or(0.0, |spread| spread.median);
    let quantile = |part| right(row.quantile(part).map_or("-".to_owned(), |nanos| micros(nanos as f64)));
    vec![
        right(micros(min as f64)),
        right(micros(median)),
        quantile(0.9),
        quantile(0.99),
        quantile(0.999),
        right(micros(max as f64)),
    ]
}
