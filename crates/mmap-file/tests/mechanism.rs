//! The mechanism alone, as a copy of it is tested too.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::{env, process, thread};

use mmap_file::mmap_file::{self as mapped, CELLS, Writer};

/// A path of its own for each test, removed even if the test fails.
struct Own(PathBuf);

impl Own {
    fn new(test: &str) -> Own {
        Own(env::temp_dir().join(format!("mmap-file-mechanism-{}-{test}", process::id())))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn messages_come_out_as_they_went_in_and_then_the_end() -> io::Result<()> {
    let own = Own::new("messages");
    let mut reader = mapped::create(&own.0)?;
    assert_eq!(fs::metadata(&own.0)?.permissions().mode() & 0o777, 0o600);
    // Four times as much as the ring holds, and one message that is longer than it.
    let lens = || (0..400).map(|n: usize| n * n * 41 % 90_001).chain([5 << 20, 0, 1]);
    let message = |len| (0..len).map(|n| (n % 251) as u8).collect::<Vec<_>>();
    let path = own.0.clone();
    let writing = thread::spawn(move || {
        let mut writer = Writer::open(&path, false)?;
        lens().try_for_each(|len| writer.put_all(&message(len)))?;
        writer.end()
    });
    for len in lens() {
        reader.fill()?;
        assert!(reader.take() == Some(&message(len)[..]), "{len} bytes");
    }
    reader.fill()?;
    assert_eq!(reader.take(), None);
    writing.join().expect("the writer panicked")?;
    mapped::remove(&own.0)
}

#[test]
fn what_was_stored_is_in_the_file_when_both_have_gone() -> io::Result<()> {
    let own = Own::new("file");
    let reader = mapped::create(&own.0)?;
    let mut writer = Writer::open(&own.0, true)?;
    writer.put_all(b"still here")?;
    drop((reader, writer));
    let bytes = fs::read(&own.0)?;
    assert_eq!(bytes[4096..4100], (1_u32 << 31 | 10).to_ne_bytes(), "the first word: a message of the first round");
    assert!(bytes[4096 + CELLS as usize * 4..].starts_with(b"still here"));
    Ok(())
}

#[test]
fn what_is_there_already_is_neither_taken_over_nor_removed() -> io::Result<()> {
    let own = Own::new("other");
    assert_eq!(kind(Writer::open(&own.0, false)), Some(io::ErrorKind::NotFound));
    fs::write(&own.0, "precious")?;
    assert_eq!(kind(mapped::create(&own.0)), Some(io::ErrorKind::AlreadyExists));
    assert_eq!(kind(Writer::open(&own.0, false)), Some(io::ErrorKind::InvalidData));
    assert_eq!(kind(mapped::remove(&own.0)), Some(io::ErrorKind::AlreadyExists));
    assert_eq!(fs::read(&own.0)?, b"precious");
    Ok(())
}

#[test]
fn links_are_not_followed_and_half_made_files_not_opened() -> io::Result<()> {
    let (own, link) = (Own::new("target"), Own::new("link"));
    let reader = mapped::create(&own.0)?;
    symlink(&own.0, &link.0)?;
    let error = Writer::open(&link.0, false).map(drop).unwrap_err();
    assert_eq!(nix::Error::try_from(error).ok(), Some(nix::Error::ELOOP));
    assert_eq!(kind(mapped::remove(&link.0)), Some(io::ErrorKind::AlreadyExists));
    drop(reader);

    let half = Own::new("half");
    let file = File::create_new(&half.0)?;
    assert_eq!(kind(Writer::open(&half.0, false)), Some(io::ErrorKind::WouldBlock), "no bytes yet");
    file.set_len(4096 + u64::from(CELLS) * (4 + 64))?;
    assert_eq!(kind(Writer::open(&half.0, false)), Some(io::ErrorKind::WouldBlock), "no magic number yet");
    Ok(())
}
