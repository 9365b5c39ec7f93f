//! The page says what the figures say.

use super::*;
use crate::results::Trips;
use crate::results::samples::{self, ways};

/// Throughput at 64 B: so many nanoseconds for each message.
fn results(nanos: &[(&str, u64)]) -> Results {
    let row = |&(name, nanos): &(&str, u64)| {
        let mut row = ways(Kind::Technique, &[(1, nanos)]);
        row.source.name = name.to_owned();
        row
    };
    let mut results = samples::results(nanos.iter().map(row).collect());
    results.machine.cpu = "a <b> & c".to_owned();
    results
}

#[test]
fn sentences_follow_the_figures() {
    let first = page(&results(&[("fifo", 10), ("pipe", 20), ("shm", 40)])).into_string();
    assert!(first.contains("With messages of 64 B, fifo has the highest throughput: 6.40 GB/s"), "{first}");
    assert!(first.contains("next: pipe, 3.20 GB/s; last: shm, 1.60 GB/s."));
    let second = page(&results(&[("fifo", 40), ("pipe", 20), ("shm", 10)])).into_string();
    assert!(second.contains("With messages of 64 B, shm has the highest throughput: 6.40 GB/s"), "{second}");
    assert!(second.contains("last: fifo, 1.60 GB/s."));
}

#[test]
fn what_failed_is_shown_as_that_and_praised_for_nothing() {
    let mut results = results(&[("fifo", 10), ("pipe", 20)]);
    results.rows[0].status = Status::Failed("message 7 came where 6 was due".to_owned());
    let page = page(&results).into_string();
    assert!(page.contains("With messages of 64 B, pipe has the highest throughput"), "{page}");
    assert!(page.contains("<td>FAILED</td>") && !page.contains("6.40 GB/s"), "{page}");
}

#[test]
fn a_library_that_is_fastest_is_called_so_and_equals_share_a_place() {
    let mut results = results(&[("shm", 20), ("pipe", 40), ("fifo", 40), ("iceoryx2", 10)]);
    results.rows[3].source.kind = Kind::Peer;
    let page = page(&results).into_string();
    let said = "iceoryx2 has the highest throughput: 6.40 GB/s; next: shm, 3.20 GB/s; last: pipe and fifo, 1.60 GB/s.";
    assert!(page.contains(said), "{page}");
}

#[test]
fn round_trips_are_drawn_for_one_size() {
    let trips = |count: u64| {
        let p50 = count;
        let histogram = vec![(count, 10)];
        Some(Trips { count: 10, min: p50, p50, p90: p50, p99: p50, p999: p50, max: p50, histogram })
    };
    let mut results = results(&[("shm", 1), ("pipe", 1)]);
    for (row, size) in results.rows.iter_mut().zip([1024, 64]) {
        (row.measure, row.size) = (Measure::RoundTrip, size);
        row.rounds[0].trips = trips(1000);
    }
    let page = page(&results).into_string();
    let (_, legend) = page.split_once("Round trips with messages of 64 B").unwrap();
    let (legend, _) = legend.split_once("</ul>").unwrap();
    assert!(legend.contains("</span>pipe") && !legend.contains("</span>shm"), "{legend}");
}

#[test]
fn a_speed_that_cannot_be_is_no_reason_to_draw_for_ever() {
    let page = page(&results(&[("fifo", 0), ("pipe", 20)])).into_string();
    assert!(page.contains("<svg"), "{page}");
}

#[test]
fn the_page_needs_nothing_else_and_takes_text_for_text() {
    let page = page(&results(&[("fifo", 10), ("pipe", 20)])).into_string();
    assert!(page.contains("a &lt;b&gt; &amp; c"));
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let svg =
        "<svg role=\"img\" aria-label=\"Bytes per second over the size of a message, as in the table below\" viewBox=";
    assert!(page.contains(svg), "it fits any width, and has a name");
    assert!(!page.contains("#000000"), "nothing stays black on a dark page");
}

#[test]
fn only_a_report_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let results = results(&[("fifo", 10)]);
    let path = write(&results, dir.path()).unwrap();
    write(&results, dir.path()).unwrap();
    fs::write(&path, "<p>precious").unwrap();
    assert_eq!(write(&results, dir.path()).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read_to_string(path).unwrap(), "<p>precious");
}
