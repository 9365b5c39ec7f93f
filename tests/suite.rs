//! The suite is worth something only if it notices: a pair that breaks one promise fails at that promise, and
//! the same pair without the fault passes it.

use std::path::Path;
use std::process::Command;

/// What is broken (see `fakes/broken.sh`), and where the suite has to say so.
const FAULTS: &[(&str, &str)] = &[
    ("lost", "order"),
    ("disorder", "order"),
    ("noise", "only_payload_on_stdout"),
    ("false-success", "sender_killed"),
    ("deaf", "no_sender"),
    ("deaf", "no_receiver"),
    ("leftover", "again_on_the_same_endpoint"),
    ("child", "only_payload_on_stdout"),
    ("public", "umask_zero"),
    ("eager", "symbolic_link"),
    ("chatty", "bad_usage"),
    ("panic", "all_byte_values"),
];

/// The output of one promise's trial on the fake pair, and whether it passed.
fn tried(fault: &str, promise: &str) -> (bool, String) {
    let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("fakes");
    let fifo = harness::pair("fifo").expect("the pair that the fake one is made of");
    let real = fifo.sender.with_file_name("fifo");
    let pair = format!("{},{}", fakes.join("broken-sender").display(), fakes.join("broken-receiver").display());
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--package", "conformance", "--test", "conformance", "--", "--exact"])
        .arg(format!("fifo::{promise}"))
        .env("PAIR", pair)
        .env("FIFO", real)
        .env("FAULT", fault)
        .output()
        .expect("cargo can be run");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("running 1 test"), "{promise} was not tried:\n{text}");
    (output.status.success(), text)
}

#[test]
fn every_fault_is_noticed() {
    for (fault, promise) in FAULTS {
        let (passed, text) = tried(fault, promise);
        assert!(!passed, "nobody noticed {fault:?} at {promise}:\n{text}");
        let (passed, text) = tried("none", promise);
        assert!(passed, "without a fault {promise} fails:\n{text}");
    }
}
