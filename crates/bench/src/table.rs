//! The figures as tables for a person.

use std::fmt::Write as _;
use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets};

use crate::results::{Kind, Limit, Measure, Results, Row, Source, Spread, Status};

/// Prints everything, with each figure in `details`.
pub fn text(results: &Results, details: bool) -> String {
    let mut text = String::new();
    head(&mut text, results);
    for group in groups(results) {
        overview(&mut text, results, &group);
        if details {
            all_figures(&mut text, results, &group);
        }
    }
    hardware(&mut text, results);
    failures(&mut text, results);
    text
}

fn head(text: &mut String, results: &Results) {
    let machine = &results.machine;
    let virtual_machine = machine.hypervisor.as_ref().map_or(String::new(), |name| format!(", virtual ({name})"));
    let _ = writeln!(
        text,
        "{}, {} cores{virtual_machine}; {}; {:.0} s",
        machine.cpu,
        machine.cores.len(),
        machine.kernel,
        results.seconds
    );
    if machine.debug_build {
        let _ = writeln!(text, "BUILT WITHOUT OPTIMISATION: these figures mean nothing; use `make bench`");
    }
}

/// Rows of one measure, place and wait.
fn groups(results: &Results) -> Vec<Vec<&Row>> {
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for row in &results.rows {
        let same = |group: &&mut Vec<&Row>| {
            let first = group[0];
            (first.measure, first.place, first.wait) == (row.measure, row.place, row.wait)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

fn title(row: &Row) -> String {
    format!("{}, two processes {}, who wait they {}", row.measure, row.place, row.wait)
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    // Wide enough for a pipe into less -S; never fold a figure.
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    if !std::io::stdout().is_terminal() {
        table.force_no_tty();
    }
    table
}

fn right(text: impl Into<String>) -> Cell {
    Cell::new(text.into()).set_alignment(CellAlignment::Right)
}

fn heading(names: &[&str]) -> Vec<Cell> {
    names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let cell = if at == 0 { Cell::new(name) } else { right(*name) };
            cell.add_attribute(Attribute::Bold)
        })
        .collect()
}

/// A line for each technique, with its figure at each size and how far it is from its twin.
fn overview(text: &mut String, results: &Results, group: &[&Row]) {
    let first = group[0];
    let unit = match first.measure {
        Measure::RoundTrip => "half of the round trips take no longer than … µs",
        Measure::Throughput => "messages per second, MB/s",
    };
    let _ = writeln!(text, "\n{}: {unit}; × its bare twin", title(first));
    let mut sizes: Vec<usize> = group.iter().map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut names: Vec<&Source> = Vec::new();
    for row in group.iter().filter(|row| row.source.kind != Kind::Twin) {
        if !names.contains(&&row.source) {
            names.push(&row.source);
        }
    }
    let mut table = new_table();
    let mut header = vec![Cell::new("").add_attribute(Attribute::Bold)];
    for size in &sizes {
        header.push(right(bytes(*size)).add_attribute(Attribute::Bold));
        header.push(right("× twin").add_attribute(Attribute::Dim));
    }
    table.set_header(header);
    for source in names {
        let mut line = vec![Cell::new(&source.name)];
        for &size in &sizes {
            let row = group.iter().find(|row| row.source == *source && row.size == size);
            match row {
                Some(row) => line.extend([figure(row), ratio(results, row)]),
                None => line.extend([right(""), right("")]),
            }
        }
        table.add_row(line);
    }
    let mut line = vec![Cell::new("limit").add_attribute(Attribute::Dim)];
    for &size in &sizes {
        let bound = group.iter().find(|row| row.size == size).and_then(|row| results.bound(row));
        let bound = bound.map(|nanos| show(first.measure, size, nanos)).unwrap_or_default();
        line.extend([right(bound).add_attribute(Attribute::Dim), right("")]);
    }
    table.add_row(line);
    let _ = writeln!(text, "{table}");
}

fn figure(row: &Row) -> Cell {
    match (&row.status, Spread::of(&row.figures())) {
        (Status::Failed(_) | Status::Unsupported(_), _) => right("failed").fg(Color::Red),
        (_, Some(spread)) => right(show(row.measure, row.size, spread.median)),
        _ => right("-"),
    }
}

fn ratio(results: &Results, row: &Row) -> Cell {
    let Some(twin) = results.twin(row) else { return right("") };
    let Some(spread) = Spread::of_ratios(&row.figures(), &twin.figures()) else { return right("") };
    let color = match spread.median {
        ..1.1 => Color::Green,
        ..1.5 => Color::Yellow,
        _ => Color::Red,
    };
    right(format!("{:.2}", spread.median)).fg(color)
}

fn show(measure: Measure, size: usize, nanos: f64) -> String {
    match measure {
        Measure::RoundTrip => micros(nanos),
        Measure::Throughput => format!("{} {}", count(1e9 / nanos), megabytes(size, nanos)),
    }
}

/// Every figure of every row.
fn all_figures(text: &mut String, results: &Results, group: &[&Row]) {
    let first = group[0];
    let _ = writeln!(text, "\n{}: every figure", title(first));
    let mut table = new_table();
    let measure: &[&str] = match first.measure {
        Measure::RoundTrip => &["µs min", "p50", "p90", "p99", "p99.9", "max"],
        Measure::Throughput => &["messages/s", "MB/s", "lost"],
    };
    let names = ["", "bytes"].iter().chain(measure).chain(&[
        "± %",
        "× twin",
        "± %",
        "× limit",
        "CPU µs/msg",
        "sleeps/msg",
        "KiB",
        "rounds",
    ]);
    table.set_header(heading(&names.copied().collect::<Vec<_>>()));
    for row in group {
        let name = match row.source.kind {
            Kind::Twin => format!("  twin of {}", row.source.name),
            _ => row.source.name.clone(),
        };
        let mut line = vec![Cell::new(name), right(bytes(row.size))];
        let Some(spread) = Spread::of(&row.figures()) else {
            line.push(right("-"));
            table.add_row(line);
            continue;
        };
        line.extend(measured(row, spread.median).into_iter().map(right));
        line.push(right(format!("{:.0}", spread.noise() * 100.0)));
        let against = results.twin(row).and_then(|twin| Spread::of_ratios(&row.figures(), &twin.figures()));
        line.push(ratio(results, row));
        line.push(right(against.map_or(String::new(), |spread| format!("{:.0}", spread.noise() * 100.0))));
        line.push(right(results.bound(row).map_or(String::new(), |bound| format!("{:.1}", spread.median / bound))));
        let median = |of: fn(&crate::results::Round) -> f64| {
            Spread::of(&row.rounds.iter().map(of).collect::<Vec<_>>()).map_or(0.0, |spread| spread.median)
        };
        line.push(right(micros(median(crate::results::Round::cpu))));
        line.push(right(format!("{:.3}", median(crate::results::Round::sleeps))));
        line.push(right(format!("{:.0}", median(|round| round.memory_kib() as f64))));
        line.push(right(row.rounds.len().to_string()));
        table.add_row(line);
    }
    let _ = writeln!(text, "{table}");
}

fn measured(row: &Row, nanos: f64) -> Vec<String> {
    match row.measure {
        Measure::Throughput => {
            let lost: u64 = row.rounds.iter().map(|round| round.lost).sum();
            let sent: u64 = row.rounds.iter().map(|round| round.messages + round.lost).sum();
            let lost = if lost == 0 { "0".to_owned() } else { format!("{:.1}%", lost as f64 * 100.0 / sent as f64) };
            vec![count(1e9 / nanos), megabytes(row.size, nanos), lost]
        }
        Measure::RoundTrip => {
            let trips: Vec<_> = row.rounds.iter().filter_map(|round| round.trips.as_ref()).collect();
            let all: u64 = trips.iter().map(|trips| trips.count).sum();
            let median = |of: fn(&crate::results::Trips) -> u64, needs: u64| {
                let values: Vec<f64> = trips.iter().map(|trips| of(trips) as f64).collect();
                match Spread::of(&values) {
                    Some(spread) if all >= needs => micros(spread.median),
                    _ => "-".to_owned(),
                }
            };
            let (min, max) = (trips.iter().map(|trips| trips.min).min(), trips.iter().map(|trips| trips.max).max());
            vec![
                micros(min.unwrap_or(0) as f64),
                median(|trips| trips.p50, 1),
                median(|trips| trips.p90, 10),
                median(|trips| trips.p99, 100),
                median(|trips| trips.p999, 1000),
                micros(max.unwrap_or(0) as f64),
            ]
        }
    }
}

fn hardware(text: &mut String, results: &Results) {
    let _ = writeln!(text, "\nthe machine:");
    let mut table = new_table();
    for row in &results.hardware {
        let what = match row.what {
            Limit::CacheLine => "a cache line to another core and back",
            Limit::Futex => "a sleeping process on another core woken, and back",
            Limit::CopyCache => "a copy within the cache",
            Limit::CopyMemory => "a copy out of memory and into it",
            Limit::SystemCall => "a system call that does nothing",
            Limit::Clock => "reading the clock",
            Limit::Verify => "making a message and checking it",
        };
        let size = row.size.map(bytes).unwrap_or_default();
        let figure = match (Spread::of(&row.nanos), &row.reason) {
            (Some(spread), _) => vec![
                right(format!("{} ns", digits(spread.median))),
                right(row.size.map_or(String::new(), |size| format!("{} MB/s", megabytes(size, spread.median)))),
                right(format!("± {:.0} %", spread.noise() * 100.0)),
            ],
            (None, reason) => vec![Cell::new(reason.clone().unwrap_or_default())],
        };
        table.add_row([vec![Cell::new(what), right(size)], figure].concat());
    }
    let _ = writeln!(text, "{table}");
}

/// Every row that was not measured, and why; alike ones together.
fn failures(text: &mut String, results: &Results) {
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for row in &results.rows {
        let (kind, why) = match &row.status {
            Status::Measured => continue,
            Status::Skipped(why) => ("left out", why),
            Status::Unsupported(why) => ("NOT SUPPORTED", why),
            Status::Failed(why) => ("FAILED", why),
        };
        let what = format!(
            "{kind}: {} {}, {}, {}, {}: {why}",
            row.source.kind, row.source.name, row.measure, row.place, row.wait
        );
        match told.iter_mut().find(|(known, _)| *known == what) {
            Some((_, sizes)) => sizes.push(bytes(row.size)),
            None => told.push((what, vec![bytes(row.size)])),
        }
    }
    if !told.is_empty() {
        let _ = writeln!(text);
    }
    for (what, sizes) in told {
        let _ = writeln!(text, "{what} ({})", sizes.join(", "));
    }
    let mut notes: Vec<String> = Vec::new();
    for row in &results.rows {
        if let Some(note) = &row.note {
            let line = format!("{} {}: {note}", row.source.name, row.measure);
            if !notes.contains(&line) {
                let _ = writeln!(text, "note: {line}");
                notes.push(line);
            }
        }
    }
}

/// `64 B`, `1 KiB`.
pub fn bytes(size: usize) -> String {
    match size {
        _ if size >= 1 << 20 && size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        _ if size >= 1 << 10 && size.is_multiple_of(1 << 10) => format!("{} KiB", size >> 10),
        _ => format!("{size} B"),
    }
}

/// Three digits.
fn digits(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn micros(nanos: f64) -> String {
    digits(nanos / 1e3)
}

fn megabytes(size: usize, nanos: f64) -> String {
    digits(size as f64 * 1e3 / nanos)
}

/// `1.23 M`.
fn count(value: f64) -> String {
    match value {
        ..1e3 => digits(value),
        ..1e6 => format!("{} k", digits(value / 1e3)),
        _ => format!("{} M", digits(value / 1e6)),
    }
}
