//! The figures as tables for a person: an overview that reads at a glance, every figure if wanted, the machine, and
//! what could not be measured.

use std::env;
use std::fmt::Write as _;
use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use crate::results::{Kind, Limit, Measure, Results, Row, Spread, Status};

mod details;
mod overview;
pub mod units;

use units::{bytes, digits};

/// All of it; with every figure in `details`.
pub fn text(results: &Results, details: bool) -> String {
    let mut text = head(results);
    for group in groups(results) {
        text += &overview::text(results, &group);
        if details {
            text += &details::text(results, &group);
        }
    }
    text += &hardware(results);
    text += &unmeasured(results);
    text
}

fn head(results: &Results) -> String {
    let machine = &results.machine;
    let hypervisor = machine.hypervisor.as_ref().map_or(String::new(), |name| format!(", virtual ({name})"));
    let mut text = format!("{}, {} cores{hypervisor}; {}", machine.cpu, machine.cores.len(), machine.kernel);
    let rounds = results.rows.iter().map(|row| row.rounds.len()).max().unwrap_or(0);
    let _ = writeln!(text, "; {rounds} rounds in {:.0} s; load {:.2} before", results.seconds, results.load);
    if results.load > 0.5 {
        text += "THE MACHINE WAS BUSY: the figures are worse, and less certain, than they could be\n";
    }
    if machine.debug_build {
        text += "BUILT WITHOUT OPTIMISATION: these figures mean nothing; use `make bench`\n";
    }
    text
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

/// `ROUND TRIP, apart, block`.
fn title(row: &Row) -> String {
    let measure = match row.measure {
        Measure::RoundTrip => "ROUND TRIP",
        Measure::Throughput => "THROUGHPUT",
    };
    format!("\n{measure}, {}, {}", row.place, row.wait)
}

/// A table without lines around, in colour where it is looked at.
fn table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !std::io::stdout().is_terminal() || env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        table.force_no_tty();
    }
    table
}

fn print(table: &Table) -> String {
    // Cells are padded up to the end of the line.
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn right(text: impl Into<String>) -> Cell {
    Cell::new(text.into()).set_alignment(CellAlignment::Right)
}

fn bold(cell: Cell) -> Cell {
    cell.add_attribute(Attribute::Bold)
}

fn dim(cell: Cell) -> Cell {
    cell.add_attribute(Attribute::Dim)
}

/// How many times its twin's time a row takes: the median of the rounds' ratios.
fn against_twin(results: &Results, row: &Row) -> Option<Spread> {
    Spread::of_ratios(&row.figures(), &results.twin(row)?.figures())
}

fn against_bound(results: &Results, row: &Row) -> Option<f64> {
    Some(Spread::of(&row.figures())?.median / results.bound(row)?)
}

fn ratio(spread: Option<Spread>) -> Cell {
    let Some(Spread { median, .. }) = spread else { return right("") };
    let color = match median {
        ..1.1 => Color::Green,
        ..1.5 => Color::Yellow,
        _ => Color::Red,
    };
    right(digits(median)).fg(color)
}

fn hardware(results: &Results) -> String {
    let mut table = table();
    for row in &results.hardware {
        let what = match row.what {
            Limit::CacheLine => "a cache line to another core and back",
            Limit::Futex => "a sleeping process on another core woken, and this one by it",
            Limit::CopyCache => "a copy within the cache",
            Limit::CopyMemory => "a copy from memory to memory",
            Limit::SystemCall => "a system call that does nothing",
            Limit::Clock => "reading the clock (part of each round trip)",
            Limit::Verify => "making a message and checking it (part of each figure)",
        };
        let size = row.size.map(bytes).unwrap_or_default();
        let mut line = vec![Cell::new(what), right(size)];
        match (Spread::of(&row.nanos), &row.reason) {
            (Some(spread), _) => {
                let moves = matches!(row.what, Limit::CopyCache | Limit::CopyMemory);
                let rate = row.size.filter(|_| moves).map(|size| units::rate(size, spread.median));
                line.push(right(format!("{} ns", digits(spread.median))));
                line.push(dim(right(units::range(spread))));
                line.push(right(rate.unwrap_or_default()));
            }
            (None, reason) => line.push(Cell::new(reason.clone().unwrap_or_default())),
        }
        table.add_row(line);
    }
    format!("\nTHE MACHINE\n{}", print(&table))
}

/// Every row that was not measured, and why, and what is special about others; what is alike, together.
fn unmeasured(results: &Results) -> String {
    let mut told: Vec<(String, Vec<usize>)> = Vec::new();
    let mut tell = |line: String, size: usize| match told.iter_mut().find(|(known, _)| *known == line) {
        Some((_, sizes)) if sizes.contains(&size) => {}
        Some((_, sizes)) => sizes.push(size),
        None => told.push((line, vec![size])),
    };
    for row in &results.rows {
        let Row { source, measure, place, wait, .. } = row;
        let line = match &row.status {
            Status::Measured => None,
            // Its technique's line says it.
            Status::Skipped(_) if row.source.kind == Kind::Twin => None,
            Status::Skipped(why) => Some(format!("left out: {source}: {why}")),
            Status::Unsupported(why) => Some(format!("NOT SUPPORTED: {source}: {why}")),
            Status::Failed(why) => Some(format!("FAILED: {source}, {measure}, {place}, {wait}: {why}")),
        };
        if let Some(line) = line {
            tell(line, row.size);
        }
        if let Some(note) = row.note.as_ref().filter(|_| !row.rounds.is_empty()) {
            tell(format!("note: {source}, {measure}: {note}"), row.size);
        }
    }
    let lines = told.into_iter().map(|(line, mut sizes)| {
        sizes.sort_unstable();
        let sizes: Vec<String> = sizes.into_iter().map(bytes).collect();
        format!("{line} ({})\n", sizes.join(", "))
    });
    lines.fold("\n".to_owned(), |text, line| text + &line)
}
