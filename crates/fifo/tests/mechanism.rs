//! The mechanism alone, as a copy of it is tested too.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::{env, process, thread};

use fifo::fifo;

/// A path that nothing stands at.
fn unused_path(name: &str) -> PathBuf {
    env::temp_dir().join(format!("fifo-mechanism-{}-{name}", process::id()))
}

#[test]
fn bytes_come_out_as_they_went_in_and_end_with_the_last_writer() -> io::Result<()> {
    let path = unused_path("bytes");
    fifo::create(&path)?;
    let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let (to, bytes) = (path.clone(), sent.clone());
    let writer = thread::spawn(move || fifo::open_writer(&to)?.write_all(&bytes));
    let mut reader = fifo::open_reader(&path)?;
    fifo::remove(&path)?;
    let mut arrived = Vec::new();
    reader.read_to_end(&mut arrived)?;
    writer.join().expect("the writer panicked")?;
    assert!(arrived == sent, "{} of {} bytes, or other ones", arrived.len(), sent.len());
    Ok(())
}

#[test]
fn a_name_that_is_taken_is_neither_used_nor_removed() -> io::Result<()> {
    let path = unused_path("taken");
    File::create_new(&path)?;
    let refused = [fifo::create(&path), fifo::open_writer(&path).map(drop), fifo::remove(&path)];
    fs::remove_file(&path)?;
    for result in refused {
        assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));
    }
    Ok(())
}
