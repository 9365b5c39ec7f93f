//! The page says what the figures say.

use super::*;
use crate::message::Verify;
use crate::results::{Cost, Machine, Place, Round, Source, Status, VERSION, Wait};

/// Throughput at 64 B: so many nanoseconds for each message.
fn results(nanos: &[(&str, u64)]) -> Results {
    let row = |&(name, nanos): &(&str, u64)| Row {
        source: Source { kind: Kind::Technique, name: name.to_owned() },
        measure: Measure::Throughput,
        size: 64,
        place: Place::Apart,
        wait: Wait::Block,
        rounds: vec![Round { messages: 1, lost: 0, nanos, trips: None, ends: [Cost::default(); 2] }],
        status: Status::Measured,
        note: None,
    };
    Results {
        version: VERSION,
        machine: Machine { cpu: "a <b> & c".to_owned(), ..Machine::default() },
        command: vec!["ipc-bench".to_owned()],
        started: 0,
        seconds: 1.0,
        load: 0.0,
        verify: Verify::Page,
        hardware: Vec::new(),
        rows: nanos.iter().map(row).collect(),
    }
}

#[test]
fn sentences_follow_the_figures() {
    let first = page(&results(&[("fifo", 10), ("pipe", 20), ("shm", 40)])).into_string();
    assert!(first.contains("With messages of 64 B, fifo has the highest throughput: 6.40 GB/s"), "{first}");
    assert!(first.contains("next is pipe with 3.20 GB/s, and last shm with 1.60 GB/s."));
    let second = page(&results(&[("fifo", 40), ("pipe", 20), ("shm", 10)])).into_string();
    assert!(second.contains("With messages of 64 B, shm has the highest throughput: 6.40 GB/s"), "{second}");
    assert!(second.contains("and last fifo with 1.60 GB/s."));
}

#[test]
fn the_page_needs_nothing_else_and_takes_text_for_text() {
    let page = page(&results(&[("fifo", 10), ("pipe", 20)])).into_string();
    assert!(page.contains("a &lt;b&gt; &amp; c"));
    for outside in ["src=", "href=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("<svg role=\"img\" viewBox="), "it fits any width");
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
