//! What goes in comes out: whole, in order, once, and nothing else.

use std::thread;
use std::time::Duration;

use crate::{always, in_runtime_folder, reliable, strangers};
use harness::{NO_ARGS, Result, Role, Trial, bytes, ensure, sha256, sha256_of};

/// Sizes around everything that a kernel rounds to: nothing, a page, PIPE_BUF, a pipe's buffer, a mebibyte.
const SIZES: &[usize] = &[1, 2, 4095, 4096, 4097, 6000, 65535, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1];

/// Sends a file in chunks and demands that it comes out, in so many messages.
fn carry(trial: &Trial, payload: &[u8], chunk: usize, messages: usize) -> Result {
    let file = trial.file("input", payload)?;
    let size = chunk.to_string();
    let run = trial.both().sender(["--file", &file, "--size", &size]).receiver(["--stats"]).start()?;
    let came = run.complete()?;
    ensure!(came == payload, "chunks of {chunk}: {} bytes went in, {} other bytes came out", payload.len(), came.len());
    let stats = run.stats()?;
    let expected = (messages as u64, payload.len() as u64);
    ensure!(stats == expected, "chunks of {chunk}: (messages, bytes) are {stats:?} instead of {expected:?}");
    Ok(())
}

/// Words of the command line are lines, and standard output carries them and nothing else.
fn only_payload_on_stdout(trial: &Trial) -> Result {
    let run = trial.both().sender(["hello", "world"]).receiver(["--stats"]).start()?;
    let came = run.complete()?;
    ensure!(came == b"hello\nworld\n", "{:?} came out", String::from_utf8_lossy(&came));
    ensure!(run.stats()? == (2, 12), "--stats says {:?}", run.stats()?);
    let noise = if trial.pair.is_family() { Vec::new() } else { run.sender.stdout() };
    ensure!(noise.is_empty(), "the sender wrote to standard output");
    Ok(())
}

/// Ten thousand numbered messages, or as many as the technique is willing to carry; fewer at a pace.
fn order(trial: &Trial) -> Result {
    let count = (trial.pair.can.payload_limit / 8).min(if trial.pair.can.reliable { 10_000 } else { 2000 });
    let lines: String = (0..count).map(|number| format!("{number:07}\n")).collect();
    let run = trial.both().sender(trial.pair.pace()).receiver(["--stats"]).stdin(lines.as_bytes()).start()?;
    let came = run.complete()?;
    let wrong = came.chunks(8).zip(lines.as_bytes().chunks(8)).position(|(came, line)| came != line);
    ensure!(wrong.is_none(), "message {} is another one", wrong.unwrap_or_default());
    ensure!(came.len() == lines.len(), "{} bytes came out instead of {}", came.len(), lines.len());
    ensure!(run.stats()?.0 == count as u64, "--stats says {:?}", run.stats()?);
    Ok(())
}

fn all_byte_values(trial: &Trial) -> Result {
    let payload: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let size = 100.min(trial.pair.can.max_message);
    carry(trial, &payload, size, payload.len().div_ceil(size))
}

/// No message at all is a good conversation too.
fn nothing_at_all(trial: &Trial) -> Result {
    let run = trial.both().sender(["--file", "/dev/null"]).receiver(["--stats"]).start()?;
    ensure!(run.complete()?.is_empty(), "something came out");
    ensure!(run.stats()? == (0, 0), "--stats says {:?}", run.stats()?);
    Ok(())
}

/// An empty message is a message.
fn empty_messages(trial: &Trial) -> Result {
    let run = trial.both().sender(["--count", "3", "--size", "0"]).receiver(["--stats"]).start()?;
    ensure!(run.complete()?.is_empty(), "something came out");
    ensure!(run.stats()? == (3, 0), "--stats says {:?}", run.stats()?);
    Ok(())
}

/// Two whole messages of each size and one of a single byte.
fn sizes(trial: &Trial) -> Result {
    let can = &trial.pair.can;
    let fits = |size: &usize| *size <= can.max_message && 2 * size < can.payload_limit;
    for size in SIZES.iter().copied().chain([can.max_message]).filter(fits) {
        carry(trial, &bytes(size as u64, 2 * size + 1), size, 3)?;
    }
    Ok(())
}

/// 64 MiB, or as much as the technique is willing to carry.
fn large_file(trial: &Trial) -> Result {
    let payload = bytes(64, trial.pair.can.payload_limit);
    let (file, output) = (trial.file("input", &payload)?, trial.path("output"));
    let to = output.display().to_string();
    trial.both().sender(["--file", &file]).receiver(["--output", &to]).start()?.complete()?;
    let (sent, came) = (sha256(&payload), sha256_of(&output)?);
    ensure!(sent == came, "SHA-256 {sent} went in, {came} came out");
    Ok(())
}

/// Bytes from standard input, from a pipe that delivers them as it likes.
fn file_from_stdin(trial: &Trial) -> Result {
    let payload = bytes(7, trial.pair.can.payload_limit.min(100_001) / 2);
    let run = trial.both().sender(["--file", "-"]).stdin(payload.as_slice()).start()?;
    ensure!(run.complete()? == payload, "other bytes came out");
    Ok(())
}

/// A message longer than the technique carries: exit code 5, and nothing of it is sent.
fn too_long(trial: &Trial) -> Result {
    let size = (trial.pair.can.max_message + 1).to_string();
    let long = ["--count", "1", "--size", &size, "--quiet"];
    let (sender, receiver) = if trial.pair.is_family() {
        (trial.sender(long)?, None)
    } else {
        let receiver = trial.launch(Role::Receiver).timeout(0.4).ready()?;
        (trial.sender(long)?, Some(receiver))
    };
    sender.wait()?.expect(5)?;
    ensure!(sender.stderr().lines().count() == 1, "not one line: {:?}", sender.stderr());
    ensure!(sender.stdout().is_empty(), "something was sent");
    if let Some(receiver) = receiver {
        receiver.wait()?.expect_one_of(&[3, 4])?;
        ensure!(receiver.stdout().is_empty(), "something was sent");
    }
    Ok(())
}

/// The sender may be started first: it waits.
fn sender_first(trial: &Trial) -> Result {
    let sender = trial.launch(Role::Sender).args(["first"]).timeout(5.0).spawn()?;
    // Long enough to be waiting; if it is not yet, the trial is only an easier one.
    thread::sleep(Duration::from_millis(60));
    ensure!(!sender.has_ended(), "the sender does not wait");
    let receiver = trial.receiver(NO_ARGS)?;
    sender.wait()?.expect(0)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"first\n", "other bytes came out");
    Ok(())
}

/// Without `--endpoint` the two meet in this user's runtime folder.
fn default_endpoint(trial: &Trial) -> Result {
    let receiver = trial.launch(Role::Receiver).without_endpoint().ready()?;
    let sender = trial.launch(Role::Sender).without_endpoint().args(["there"]).spawn()?;
    sender.wait()?.expect(0)?;
    receiver.wait()?.expect(0)?;
    ensure!(receiver.stdout() == b"there\n", "other bytes came out");
    Ok(())
}

fn again_on_the_same_endpoint(trial: &Trial) -> Result {
    for word in ["one", "two", "three"] {
        let came = trial.both().sender([word]).start()?.complete()?;
        ensure!(came == format!("{word}\n").as_bytes(), "{:?} came out", String::from_utf8_lossy(&came));
    }
    Ok(())
}

/// Two pairs at once do not hear each other.
fn two_pairs_at_once(trial: &Trial) -> Result {
    let other = Trial::new(&trial.pair)?;
    let count = (trial.pair.can.payload_limit / 32).min(2000);
    let lines = |word: &str| format!("{word}\n").repeat(count);
    let first = trial.both().sender(trial.pair.pace()).stdin(lines("left")).start()?;
    let second = other.both().sender(trial.pair.pace()).stdin(lines("right")).start()?;
    let (first, second) = (first.complete()?, second.complete()?);
    ensure!(first == lines("left").as_bytes(), "the first pair heard something else");
    ensure!(second == lines("right").as_bytes(), "the second pair heard something else");
    other.finish()
}

crate::promises! {
    always: only_payload_on_stdout, order, all_byte_values, empty_messages, sizes, file_from_stdin;
    always: nothing_at_all, too_long, again_on_the_same_endpoint, two_pairs_at_once;
    reliable: large_file;
    strangers: sender_first;
    in_runtime_folder: default_endpoint;
}
