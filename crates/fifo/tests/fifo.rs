//! What is special about a FIFO: opening it is a rendezvous, its end of file comes with the last writer, its
//! buffer has a size, and what a shell's `>` does where there is none.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::{env, process, thread};

use assert_cmd::assert::OutputAssertExt;
use fifo::fifo;
use harness::{Signal, pid};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

const SENDER: &str = env!("CARGO_BIN_EXE_fifo-sender");
const RECEIVER: &str = env!("CARGO_BIN_EXE_fifo-receiver");
const O_NONBLOCK: i32 = OFlag::O_NONBLOCK.bits();

/// A FIFO of its own for each test, removed even if the test fails.
struct Own(PathBuf);

impl Own {
    fn new(test: &str) -> io::Result<Own> {
        let path = env::temp_dir().join(format!("fifo-test-{}-{test}", process::id()));
        fifo::create(&path)?;
        Ok(Own(path))
    }

    /// Opens one end without waiting for the other.
    fn open(&self, options: &mut OpenOptions) -> io::Result<File> {
        options.custom_flags(O_NONBLOCK).open(&self.0)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn the_end_of_file_comes_when_the_last_writer_closes() -> io::Result<()> {
    let own = Own::new("eof")?;
    let mut reader = own.open(File::options().read(true))?;
    let first = own.open(File::options().write(true))?;
    let second = own.open(File::options().write(true))?;
    let mut byte = [0];
    drop(first);
    assert_eq!(reader.read(&mut byte).unwrap_err().kind(), io::ErrorKind::WouldBlock, "one writer is left");
    drop(second);
    assert_eq!(reader.read(&mut byte)?, 0);
    assert_eq!(reader.read(&mut byte)?, 0, "and so it stays: a loop that takes 0 for nothing-yet spins");
    Ok(())
}

/// A program whose complaints nobody reads ends as soon as one that is heard.
#[test]
fn a_signal_ends_a_program_whose_standard_error_is_full() -> io::Result<()> {
    let (stderr, mut full) = io::pipe()?;
    let flags = OFlag::from_bits_retain(fcntl(&full, FcntlArg::F_GETFL).map_err(io::Error::from)?);
    fcntl(&full, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
    while full.write(&[0; 4096]).is_ok() {}
    fcntl(&full, FcntlArg::F_SETFL(flags)).map_err(io::Error::from)?;
    let path = env::temp_dir().join(format!("fifo-test-{}-full", process::id()));
    let mut receiver = Command::new(RECEIVER).arg("--endpoint").arg(&path).stderr(full).spawn()?;
    // It waits to say that it is ready.
    pid::wait_for("its place", || path.exists().then_some(()));
    pid::signal(receiver.id(), Signal::TERM);
    let code = pid::wait_for("its end", || receiver.try_wait().expect("wait")).code();
    assert!(code == Some(143) && !path.exists(), "{code:?}");
    drop(stderr);
    Ok(())
}

#[test]
fn the_buffer_holds_64_kib_and_the_file_is_always_empty() -> io::Result<()> {
    let own = Own::new("capacity")?;
    let _reader = own.open(File::options().read(true))?;
    let mut writer = own.open(File::options().write(true))?;
    let mut held = 0;
    while let Ok(len) = writer.write(&[7; 4096]) {
        held += len;
    }
    assert_eq!(held, 65_536);
    assert_eq!(fs::metadata(&own.0)?.size(), 0);
    Ok(())
}

#[test]
fn a_writer_without_a_reader_is_told_so() -> io::Result<()> {
    let own = Own::new("enxio")?;
    let error = own.open(File::options().write(true)).unwrap_err();
    assert_eq!(nix::Error::try_from(error).ok(), Some(nix::Error::ENXIO), "instead of blocking");
    let reader = own.open(File::options().read(true))?;
    let mut writer = own.open(File::options().write(true))?;
    drop(reader);
    assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    Ok(())
}

/// How many blocks of one writer's bytes two writers leave whole when each write has `size` bytes.
fn whole_blocks(test: &str, size: usize) -> io::Result<(usize, usize)> {
    const WRITES: usize = 2000;
    let own = Own::new(test)?;
    // Neither may have finished before the other has come: the reader would take that for the end.
    let both_are_there = Arc::new(Barrier::new(2));
    let writer = |byte: u8| {
        let (path, both_are_there) = (own.0.clone(), Arc::clone(&both_are_there));
        thread::spawn(move || {
            let mut file = fifo::open_writer(&path)?;
            both_are_there.wait();
            (0..WRITES).try_for_each(|_| file.write_all(&vec![byte; size]))
        })
    };
    let writers = [writer(b'a'), writer(b'b')];
    let mut bytes = Vec::new();
    // Slowly, so that the writers meet a full buffer.
    let mut reader = fifo::open_reader(&own.0)?;
    let mut piece = [0; 5000];
    loop {
        match reader.read(&mut piece)? {
            0 => break,
            len => bytes.extend_from_slice(&piece[..len]),
        }
    }
    for writer in writers {
        writer.join().expect("a writer panicked")?;
    }
    assert_eq!(bytes.len(), 2 * WRITES * size, "no byte is lost in either case");
    let whole = bytes.chunks(size).filter(|block| block.iter().all(|byte| *byte == block[0])).count();
    Ok((whole, 2 * WRITES))
}

#[test]
fn two_writers_never_tear_writes_of_up_to_4096_bytes() -> io::Result<()> {
    for size in [100, 4095, 4096] {
        let (whole, all) = whole_blocks(&format!("atomic-{size}"), size)?;
        assert_eq!(whole, all, "{size} bytes");
    }
    Ok(())
}

#[test]
fn two_writers_tear_longer_writes() -> io::Result<()> {
    // Not a multiple of the page size, which would hide it. Which writes are torn is chance; that none is, in
    // ten times 4,000, is not to be expected.
    for round in 0..10 {
        let (whole, all) = whole_blocks(&format!("torn-{round}"), 6000)?;
        if whole < all {
            return Ok(());
        }
    }
    panic!("40,000 long writes of two writers came out whole");
}

#[test]
fn a_shells_redirection_makes_an_ordinary_file_and_the_sender_does_not() -> io::Result<()> {
    let path = env::temp_dir().join(format!("fifo-test-{}-missing", process::id()));
    assert_eq!(fifo::open_writer(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    let status = Command::new("sh").args(["-c", "echo hello > \"$0\""]).arg(&path).status()?;
    let is_file = fs::symlink_metadata(&path).map(|meta| meta.is_file());
    fs::remove_file(&path)?;
    assert!(status.success() && is_file?, "it succeeds, and nobody will read it");
    Ok(())
}

/// The command of the lesson: any program can write the bytes.
#[test]
fn a_shell_can_be_the_sender() -> io::Result<()> {
    let folder = env::temp_dir().join(format!("fifo-test-{}-shell", process::id()));
    fs::create_dir(&folder)?;
    let path = folder.join("f");
    let script = r#""$1" --endpoint "$0" --timeout 10 2>/dev/null &
        until [ -p "$0" ]; do :; done
        printf '\0\0\0\6hello\n\377\377\377\377' > "$0"; wait $!"#;
    let environment = HashMap::from([("XDG_RUNTIME_DIR", &folder)]);
    let output = Command::new("bash").args(["-c", script]).arg(&path).arg(RECEIVER).envs(environment).output()?;
    let left = fs::read_dir(&folder)?.count();
    fs::remove_dir_all(&folder)?;
    assert_eq!((output.status.code(), &*output.stdout, left), (Some(0), &b"hello\n"[..], 0));
    Ok(())
}

#[test]
fn an_ordinary_file_at_the_endpoint_is_refused_and_kept() -> io::Result<()> {
    let path = env::temp_dir().join(format!("fifo-test-{}-thesis", process::id()));
    fs::write(&path, "thesis")?;
    let refused = Command::new(RECEIVER).args(["--timeout", "1", "--endpoint"]).arg(&path).assert();
    let waited = Command::new(SENDER).args(["--timeout", "0.1", "x", "--endpoint"]).arg(&path).assert();
    let kept = fs::read_to_string(&path)?;
    fs::remove_file(&path)?;
    refused.code(1);
    waited.code(4);
    assert_eq!(kept, "thesis");
    Ok(())
}
