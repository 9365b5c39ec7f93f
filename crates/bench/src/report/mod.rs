//! The report: one page that needs nothing else, with plots, the table and how to read them.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};
use nix::unistd::{AccessFlags, access};

use crate::results::{Kind, Limit, Measure, Results, Row, Spread, Status};
use crate::table;
use crate::table::units::{bytes, digits, micros, rate};

mod plot;
mod words;

use plot::{Axes, Line, Mark};

/// By this a report of ours is known, and may be replaced by the next one.
const MARK: &str = "<meta name=\"generator\" content=\"ipc-bench\">";

/// Where the report in this folder is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("index.html")
}

/// Can it be written? To be asked before a run that takes long.
///
/// # Errors
/// `EEXIST` where such a file exists that is no report; others where it cannot be written.
pub fn check(dir: &Path) -> io::Result<()> {
    match fs::read_to_string(path(dir)) {
        Ok(text) if !text.contains(MARK) => {
            let why = "there is one already that is no report of this program's; choose another folder";
            return Err(io::Error::new(ErrorKind::AlreadyExists, why));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(dir)?;
    access(dir, AccessFlags::W_OK)?;
    Ok(())
}

/// Writes `DIR/index.html` and returns its path.
///
/// # Errors
/// As [`check`].
pub fn write(results: &Results, dir: &Path) -> io::Result<PathBuf> {
    check(dir)?;
    let path = path(dir);
    // Complete or not at all.
    let new = dir.join(".index.html.new");
    fs::write(&new, page(results).into_string())?;
    fs::rename(&new, &path)?;
    Ok(path)
}

fn page(results: &Results) -> Markup {
    let machine = &results.machine;
    let groups = table::groups(results);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                (PreEscaped(MARK))
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "How fast do two processes talk?" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "How fast do two processes talk?" }
                p {
                    (machine.cpu) ", " (machine.cores.len()) " cores"
                    @if let Some((one, other)) = machine.pair { " (" (one) " and " (other) " were used)" }
                    ", "
                    @match &machine.hypervisor {
                        Some(name) => { "a virtual machine (" (name) ")" }
                        None => { "no hypervisor that tells" }
                    }
                    ", " (machine.memory_mib) " MiB of memory; " (machine.kernel) ". Measured in "
                    (format!("{:.0}", results.seconds)) " s with " code { (results.command.join(" ")) } "."
                }
                @if results.load > 0.5 {
                    p.warning { "The machine was busy (load " (digits(results.load)) " before): the figures are worse, and less
                        certain, than they could be." }
                }
                @if machine.debug_build {
                    p.warning { "Built without optimisation: these figures mean nothing." }
                }
                h2 { "How to read it" }
                p { (words::how_to_read(results).join(" ")) }
                @for group in &groups { (section(results, group)) }
                h2 { "The machine" }
                (hardware(results))
            }
        }
    }
}

fn section(results: &Results, rows: &[&Row]) -> Markup {
    let first = rows[0];
    let measure = match first.measure {
        Measure::RoundTrip => "Round trip",
        Measure::Throughput => "Throughput",
    };
    let mut names: Vec<&str> = Vec::new();
    for row in shown(rows) {
        if !names.contains(&row.source.name.as_str()) {
            names.push(&row.source.name);
        }
    }
    let mut sizes: Vec<usize> = shown(rows).map(|row| row.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut lines: Vec<Line> = names
        .iter()
        .zip(plot::colors(names.len()))
        .enumerate()
        .map(|(at, (name, color))| {
            let mut rows = shown(rows).filter(|row| row.source.name == *name);
            let points = match first.measure {
                Measure::RoundTrip => {
                    rows.find(|row| sizes.first() == Some(&row.size)).map(percentiles).unwrap_or_default()
                }
                Measure::Throughput => rows.filter_map(|row| Some((row.size as f64, speed(row)?))).collect(),
            };
            Line { name: (*name).to_owned(), color, mark: Mark::nth(at), points }
        })
        .collect();
    let (axes, caption) = match first.measure {
        Measure::RoundTrip => (
            Axes {
                x: "of all round trips, so many took no longer",
                y: "µs",
                ticks: &PERCENTILES.map(|(at, _, word)| (at, word.to_owned())),
                format_y: &|micros| digits(micros),
            },
            format!("Round trips with messages of {}", sizes.first().map_or(String::new(), |size| bytes(*size))),
        ),
        Measure::Throughput => {
            let copies = sizes
                .iter()
                .filter_map(|&size| Some((size as f64, size as f64 / results.limit(Limit::CopyCache, Some(size))?)));
            lines.push(Line {
                name: "limit: a copy within the cache".to_owned(),
                color: plot::GREY,
                mark: Mark::Limit,
                points: copies.collect(),
            });
            (
                Axes {
                    x: "bytes in a message",
                    y: "GB/s",
                    ticks: &sizes.iter().map(|&size| (size as f64, bytes(size))).collect::<Vec<_>>(),
                    format_y: &|speed| digits_or_small(speed),
                },
                "Bytes per second over the size of a message".to_owned(),
            )
        }
    };
    html! {
        h2 { (measure) ", " (first.place.to_string()) ", " (first.wait.to_string()) }
        @for sentence in words::sentences(results, rows) { p { (sentence) } }
        @if let Some(svg) = plot::svg(&lines, &axes, &caption) {
            figure {
                figcaption { (caption) }
                div.scroll tabindex="0" role="region" aria-label=(caption) { (PreEscaped(svg)) }
                ul.legend { @for line in lines.iter().filter(|line| !line.points.is_empty()) {
                    @let plotters::style::RGBColor(r, g, b) = line.color;
                    li { span style=(format!("color: rgb({r},{g},{b})")) aria-hidden="true" { (line.mark.sign()) } (line.name) }
                } }
            }
        }
        (figures(results, rows, &sizes))
    }
}

/// Where a percentile stands on a logarithmic axis: each step halves what is left, or about so.
const PERCENTILES: [(f64, f64, &str); 5] =
    [(1.0, 0.0, "min"), (2.0, 0.5, "50 %"), (4.0, 0.9, "90 %"), (8.0, 0.99, "99 %"), (16.0, 0.999, "99.9 %")];

fn percentiles(row: &Row) -> Vec<(f64, f64)> {
    let fastest = row.rounds.iter().filter_map(|round| Some(round.trips.as_ref()?.min)).min();
    let nanos = |part: f64| if part == 0.0 { fastest } else { row.quantile(part) };
    PERCENTILES.iter().filter_map(|&(at, part, _)| Some((at, nanos(part)?.max(1) as f64 / 1e3))).collect()
}

/// Techniques and peers that have figures; twins only where there is nothing else.
fn shown<'a>(rows: &'a [&Row]) -> impl Iterator<Item = &'a Row> {
    let only_twins = rows.iter().all(|row| row.source.kind == Kind::Twin);
    rows.iter().copied().filter(move |row| row.is_measured() && (only_twins || row.source.kind != Kind::Twin))
}

/// What failed, or is not there: it is told in the table, too.
fn missing(row: &Row) -> Option<&'static str> {
    match row.status {
        Status::Failed(_) => Some("FAILED"),
        Status::Unsupported(_) => Some("absent"),
        Status::Measured | Status::Skipped(_) => None,
    }
}

/// Bytes per nanosecond, which are GB per second.
fn speed(row: &Row) -> Option<f64> {
    Some(row.size as f64 / Spread::of(&row.figures())?.median)
}

fn digits_or_small(value: f64) -> String {
    if value < 0.01 { format!("{value:.0e}") } else { digits(value) }
}

fn figures(results: &Results, rows: &[&Row], sizes: &[usize]) -> Markup {
    let mut names: Vec<(&str, Kind)> = Vec::new();
    let only_twins = rows.iter().all(|row| row.source.kind == Kind::Twin);
    let wanted = |row: &&&Row| only_twins || row.source.kind != Kind::Twin;
    for row in rows.iter().filter(wanted).filter(|row| row.is_measured() || missing(row).is_some()) {
        if !names.contains(&(row.source.name.as_str(), row.source.kind)) {
            names.push((&row.source.name, row.source.kind));
        }
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="every figure" { table {
            thead { tr {
                th { "" }
                @for size in sizes { th { (bytes(*size)) } th { "±" } th { "n" } th { "×twin" } th { "±" } th { "×limit" } }
            } }
            tbody { @for (name, kind) in names { tr {
                th { (name) }
                @for size in sizes {
                    @let is_it = |row: &&&Row| row.size == *size && row.source.name == name && row.source.kind == kind;
                    @let row = rows.iter().find(is_it);
                    @match row.and_then(|row| Some((row, Spread::of(&row.figures())?))) {
                        Some((row, spread)) => {
                            @let twin = results.against_twin(row);
                            td { (value(row, spread.median)) }
                            td.dim { (table::units::range(spread)) }
                            td.dim { (row.rounds.len()) }
                            td { (twin.map_or(String::new(), |ratio| digits(ratio.median))) }
                            td.dim { (twin.map_or(String::new(), table::units::range)) }
                            td { (results.against_bound(row).map_or(String::new(), digits)) }
                        }
                        None => { td { (row.and_then(|row| missing(row)).unwrap_or_default()) } td {} td {} td {} td {} td {} }
                    }
                }
            } } }
        } }
    }
}

fn value(row: &Row, nanos: f64) -> String {
    match row.measure {
        Measure::RoundTrip => format!("{} µs", micros(nanos)),
        Measure::Throughput => rate(row.size, nanos),
    }
}

fn hardware(results: &Results) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="the machine" { table { tbody { @for row in &results.hardware { tr {
            th { (table::limit_words(row.what)) }
            td { (row.size.map(bytes).unwrap_or_default()) }
            @match Spread::of(&row.nanos) {
                Some(spread) => { td { (digits(spread.median)) " ns" } td.dim { (table::units::range(spread)) } }
                None => { td { (row.reason.clone().unwrap_or_default()) } td {} }
            }
        } } } } }
        pre { (table::unmeasured(results)) }
    }
}

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
       background: light-dark(#fff, #16181d); color: light-dark(#1c1e21, #dfe2e7); }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
code { overflow-wrap: anywhere; }
.warning { border-left: 4px solid #d9822b; padding-left: .8rem; }
figure { margin: 1rem 0; } figcaption { font-weight: 600; }
svg { width: 100%; min-width: 46rem; height: auto; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; list-style: none; padding: 0; margin: .5rem 0; font-size: .9rem; }
.legend span { margin-right: .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .15rem .6rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; position: sticky; left: 0; background: light-dark(#fff, #16181d); }
tbody tr { border-top: 1px solid light-dark(#e3e5e8, #2c3038); }
.dim { opacity: .65; }
pre { white-space: pre-wrap; font-size: .85rem; }
";

#[cfg(test)]
mod tests;
