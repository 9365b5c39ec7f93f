//! The scoreboard as a page, as JSON, and as a text for the terminal. Whoever answers looks into the shared memory; no
//! process is asked anything.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use crate::reply::{Reply, Status};
use crate::scoreboard::{State, Totals};
use crate::server::{Context, Mode};

/// Everything about the server at one moment.
#[derive(Debug, Serialize)]
pub struct Snapshot {
    mode: Mode,
    pid: u32,
    uptime_seconds: f64,
    totals: Sums,
    children: Vec<Child>,
}

#[derive(Debug, Serialize)]
struct Sums {
    connections: u64,
    requests: u64,
    bytes: u64,
    refused: u64,
    waiting: u64,
    children_started: u64,
    children_crashed: u64,
}

#[derive(Debug, Serialize)]
struct Child {
    slot: usize,
    pid: u32,
    state: State,
    connections: u32,
    requests: u64,
    bytes: u64,
    age_seconds: f64,
}

impl Snapshot {
    /// Reads the scoreboard.
    pub fn take(context: &Context) -> Snapshot {
        let now = context.board.now();
        let seconds = |milliseconds: u64| milliseconds as f64 / 1000.0;
        let children = context.board.views().map(|(slot, view)| Child {
            slot,
            pid: view.pid,
            state: view.state,
            connections: view.connections,
            requests: view.requests,
            bytes: view.bytes,
            age_seconds: seconds(now.saturating_sub(view.started)),
        });
        let Totals { connections, requests, bytes, refused, started, crashed, waiting } = context.board.totals;
        Snapshot {
            mode: context.mode,
            pid: context.parent.as_raw().unsigned_abs(),
            uptime_seconds: seconds(now),
            children: children.collect(),
            totals: Sums {
                connections: connections.load(Ordering::Relaxed),
                requests: requests.load(Ordering::Relaxed),
                bytes: bytes.load(Ordering::Relaxed),
                refused: refused.load(Ordering::Relaxed),
                waiting: waiting.load(Ordering::Relaxed),
                children_started: started.load(Ordering::Relaxed),
                children_crashed: crashed.load(Ordering::Relaxed),
            },
        }
    }

    /// One line for the server and one for each child.
    pub fn lines(&self) -> Vec<String> {
        let Sums { connections, requests, bytes, refused, waiting, children_started, children_crashed } = self.totals;
        let mut lines = vec![format!(
            "state: {} children, {waiting} silent connections; up {:.1} s: {connections} connections, {requests} requests, \
             {bytes} bytes, {refused} refused, {children_started} children started, {children_crashed} crashed",
            self.children.len(),
            self.uptime_seconds,
        )];
        lines.extend(self.children.iter().map(|child| {
            format!(
                "slot {}: pid {}, {}, {} connections, {} requests, {} bytes, {:.1} s old",
                child.slot,
                child.pid,
                child.state.name(),
                child.connections,
                child.requests,
                child.bytes,
                child.age_seconds
            )
        }));
        lines
    }

    fn html(&self) -> String {
        let sums = &self.totals;
        let figures = [
            ("children now", self.children.len().to_string()),
            ("silent connections", sums.waiting.to_string()),
            ("connections", grouped(sums.connections)),
            ("requests", grouped(sums.requests)),
            ("sent", human(sums.bytes)),
            ("refused with 503", grouped(sums.refused)),
            ("children started", grouped(sums.children_started)),
            ("children crashed", grouped(sums.children_crashed)),
        ];
        let mut tiles = String::new();
        for (name, figure) in figures {
            // Writing to a String does not fail.
            let _ = write!(tiles, "<div><dt>{name}</dt><dd>{figure}</dd></div>");
        }
        let mut rows = String::new();
        for child in &self.children {
            let Child { slot, pid, connections, requests, .. } = child;
            let (state, sent, age) = (child.state.name(), human(child.bytes), duration(child.age_seconds));
            let _ = write!(
                rows,
                "<tr><td>{slot}</td><td>{pid}</td><td><span class=\"{state}\">{state}</span></td><td>{connections}</td>\
                 <td>{}</td><td>{sent}</td><td>{age}</td></tr>",
                grouped(*requests)
            );
        }
        include_str!("status.html")
            .replace("{mode}", self.mode.name())
            .replace("{pid}", &self.pid.to_string())
            .replace("{uptime}", &duration(self.uptime_seconds))
            .replace("{tiles}", &tiles)
            .replace("{rows}", &rows)
    }
}

/// The status as a reply, where the path is that of the page or of the JSON.
pub fn page(path: &Path, context: &Context) -> Option<Reply> {
    let reply = match path.to_str()? {
        "status" => {
            let page = Snapshot::take(context).html();
            Reply::text(Status::Ok, "text/html; charset=utf-8", page)
                .with("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
        }
        "status.json" => match serde_json::to_string(&Snapshot::take(context)) {
            Ok(text) => Reply::text(Status::Ok, "application/json", text + "\n"),
            Err(_) => Reply::plain(Status::InternalServerError),
        },
        _ => return None,
    };
    Some(reply.with("Cache-Control", "no-store"))
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn human(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut amount, mut unit) = (bytes as f64, "B");
    for larger in units {
        if amount < 1000.0 {
            break;
        }
        (amount, unit) = (amount / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86400 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86400, whole / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0, 999, 1000, 1 << 20].map(human), ["0 B", "999 B", "1.0 KiB", "1.0 MiB"]);
        assert_eq!([0.25, 61.0, 3700.0, 90000.0].map(duration), ["0.2 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
