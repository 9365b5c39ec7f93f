//! The mechanism alone, as a copy of it is tested too.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::{env, process, thread};

use mmap_file::mmap_file::{self as mapped, CAPACITY, Writer};

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
fn bytes_come_out_as_they_went_in() -> io::Result<()> {
    let own = Own::new("bytes");
    let mut reader = mapped::create(&own.0)?;
    assert_eq!(fs::metadata(&own.0)?.permissions().mode() & 0o777, 0o600);
    let sent: Vec<u8> = (0..CAPACITY * 5 + 7).map(|n| (n % 251) as u8).collect();
    let (expected, path) = (sent.clone(), own.0.clone());
    let writing = thread::spawn(move || Writer::open(&path, false)?.write_all(&sent));
    let mut arrived = vec![0; expected.len()];
    reader.read_exact(&mut arrived)?;
    writing.join().expect("the writer panicked")?;
    assert!(arrived == expected);
    mapped::remove(&own.0)
}

#[test]
fn what_was_stored_is_in_the_file_when_both_have_gone() -> io::Result<()> {
    let own = Own::new("file");
    let reader = mapped::create(&own.0)?;
    let mut writer = Writer::open(&own.0, true)?;
    writer.write_all(b"still here")?;
    drop((reader, writer));
    let bytes = fs::read(&own.0)?;
    assert!(bytes[4096..].starts_with(b"still here"));
    assert_eq!(bytes[128..132], 10_u32.to_ne_bytes(), "the count of bytes written");
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
    file.set_len(4096 + u64::from(CAPACITY))?;
    assert_eq!(kind(Writer::open(&half.0, false)), Some(io::ErrorKind::WouldBlock), "no magic number yet");
    Ok(())
}
