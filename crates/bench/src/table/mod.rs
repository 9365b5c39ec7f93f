//! The figures as tables for a person: an overview that reads at a glance, every figure if wanted, the machine, and
//! what could not be measured.

use std::env;
use std::fmt::Write as _;
use std::io::IsTerminal;

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};

use crate::results::{Kind, Limit, Measure, Results, Row, Spread, Status, Wait};

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
    let pair = machine.pair.map_or(String::new(), |(one, other)| format!(" ({one} and {other})"));
    let mut text = format!("{}, {} cores{pair}{hypervisor}; {}", machine.cpu, machine.cores.len(), machine.kernel);
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

/// Rows of one measure, place and wait, if there is anything in them.
pub fn groups(results: &Results) -> Vec<Vec<&Row>> {
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
    groups.retain(|group| group.iter().any(|row| !matches!(row.status, Status::Skipped(_))));
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

/// What is slower in every round has the colour that says so; where the rounds disagree it has none.
fn ratio(spread: Option<Spread>) -> Cell {
    let Some(Spread { min, median, .. }) = spread else { return right("") };
    let cell = right(digits(median));
    match () {
        () if median < 1.1 => cell.fg(Color::Green),
        () if min >= 1.5 => cell.fg(Color::Red),
        () if min >= 1.1 => cell.fg(Color::Yellow),
        () => cell,
    }
}

fn hardware(results: &Results) -> String {
    let mut table = table();
    for row in &results.hardware {
        let what = limit_words(row.what);
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

/// What a figure of the machine is about.
pub fn limit_words(what: Limit) -> &'static str {
    match what {
        Limit::CacheLine => "a cache line to another core and back",
        Limit::TimedLine => "the same, each time timed, as a round trip is",
        Limit::Futex => "a sleeping process on another core woken, and this one by it",
        Limit::CopyCache => "a copy within the cache",
        Limit::CopyMemory => "a copy from memory to memory",
        Limit::SystemCall => "a system call that does nothing",
        Limit::Clock => "reading the clock (part of each round trip)",
        Limit::Verify => "making a message and checking it (part of each figure)",
    }
}

/// Every row that was not measured, and why, and what is special about others; what is alike, together.
pub fn unmeasured(results: &Results) -> String {
    let mut told = Told::default();
    for row in &results.rows {
        let Row { source, measure, place, wait, .. } = row;
        match &row.status {
            Status::Measured => {}
            // Its technique's line says it.
            Status::Skipped(_) if source.kind == Kind::Twin => {}
            Status::Skipped(why) if *wait == Wait::Spin => told.add(format!("left out, {why}"), row, false),
            Status::Skipped(why) => told.add(format!("left out, {why}"), row, true),
            Status::Unsupported(why) => told.add(format!("NOT SUPPORTED, {why}"), row, true),
            Status::Failed(why) => told.add(format!("FAILED, {measure}, {place}, {wait}: {why}"), row, true),
        }
        if let Some(note) = row.note.as_ref().filter(|_| row.is_measured()) {
            told.add(format!("note, {measure}: {note}"), row, false);
        }
    }
    told.text()
}

/// What was said, and of whom.
#[derive(Default)]
struct Told(Vec<(String, Sizes)>);

/// Names, and the sizes that it is about.
type Sizes = Vec<(String, Vec<usize>)>;

impl Told {
    fn add(&mut self, what: String, row: &Row, with_size: bool) {
        let of = get_or_add(&mut self.0, what);
        let sizes = get_or_add(of, row.source.to_string());
        if with_size && !sizes.contains(&row.size) {
            sizes.push(row.size);
        }
    }

    fn text(self) -> String {
        let sizes = |mut sizes: Vec<usize>| {
            sizes.sort_unstable();
            let sizes: Vec<String> = sizes.into_iter().map(bytes).collect();
            if sizes.is_empty() { String::new() } else { format!(" ({})", sizes.join(", ")) }
        };
        let names = |of: Sizes| of.into_iter().map(|(name, of)| name + &sizes(of)).collect::<Vec<_>>().join(", ");
        let lines = self.0.into_iter().map(|(what, of)| format!("{what}: {}\n", names(of)));
        lines.fold("\n".to_owned(), |text, line| text + &line)
    }
}

fn get_or_add<T: Default>(list: &mut Vec<(String, T)>, key: String) -> &mut T {
    let at = list.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        list.push((key, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}
