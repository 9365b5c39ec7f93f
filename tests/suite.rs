//! The suite is worth something only if it notices: a pair that breaks one promise fails at that promise, and
//! the same pair without the fault passes it.

use std::path::Path;
use std::process::Command;

/// What is broken (see `fakes/broken.sh`), and where the suite has to say so: at which pair, at which promise.
const FAULTS: &[(&str, &str, &str)] = &[
    ("lost", "fifo", "order"),
    ("disorder", "fifo", "order"),
    ("noise", "fifo", "only_payload_on_stdout"),
    ("false-success", "fifo", "sender_killed"),
    ("deaf", "fifo", "no_sender"),
    ("deaf", "fifo", "no_receiver"),
    ("leftover", "fifo", "again_on_the_same_endpoint"),
    ("child", "fifo", "only_payload_on_stdout"),
    ("public", "fifo", "umask_zero"),
    ("eager", "fifo", "symbolic_link"),
    ("chatty", "fifo", "bad_usage"),
    ("panic", "fifo", "all_byte_values"),
    ("false-success", "udp", "loss_is_exact"),
    ("miscount", "udp", "loss_is_exact"),
    ("disorder", "udp", "loss_is_exact"),
    ("false-success", "udp", "what_is_lost_leaves_no_file"),
    ("lost", "udp", "complete_at_an_honest_pace"),
];

/// The output of one promise's trial on the fake pair, and whether it passed.
fn tried(fault: &str, name: &str, promise: &str) -> (bool, String) {
    let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("fakes");
    let real = harness::pair(name).expect("the pair that the fake one is made of").sender.with_file_name(name);
    let pair = format!("{},{}", fakes.join("broken-sender").display(), fakes.join("broken-receiver").display());
    let output = Command::new(env!("CARGO"))
        .args(["test", "--quiet", "--package", "conformance", "--test", "conformance", "--", "--exact"])
        .arg(format!("{name}::{promise}"))
        .env("PAIR", pair)
        .env("PREFIX", real)
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
    for (fault, name, promise) in FAULTS {
        let (passed, text) = tried(fault, name, promise);
        assert!(!passed, "nobody noticed {fault:?} at {name}::{promise}:\n{text}");
        let (passed, text) = tried("none", name, promise);
        assert!(passed, "without a fault {name}::{promise} fails:\n{text}");
    }
}
