//! The mechanism alone, as a copy of it is tested too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, process, thread};

use file::file;

/// A path that nothing stands at.
fn unused_path(name: &str) -> PathBuf {
    env::temp_dir().join(format!("file-mechanism-{}-{name}", process::id()))
}

/// Appends from one thread what another one follows.
fn carry(name: &str, follow: impl FnOnce(&Path) -> io::Result<file::Follower>) -> io::Result<()> {
    let path = unused_path(name);
    file::create(&path)?;
    let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let (to, bytes) = (path.clone(), sent.clone());
    let writer = thread::spawn(move || {
        let mut appender = file::open_appender(&to)?;
        for part in bytes.chunks(999) {
            appender.write_all(part)?;
            thread::yield_now();
        }
        io::Result::Ok(())
    });
    let mut follower = follow(&path)?;
    let mut arrived = vec![0; sent.len()];
    let mut len = 0;
    while len < arrived.len() {
        match follower.read(&mut arrived[len..]) {
            Ok(more) => len += more,
            // Nothing new, and no pause was wanted.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    writer.join().expect("the writer panicked")?;
    file::remove(&path)?;
    assert!(arrived == sent, "other bytes arrived");
    Ok(())
}

#[test]
fn a_follower_is_woken() -> io::Result<()> {
    carry("woken", file::Follower::woken)
}

#[test]
fn a_follower_polls() -> io::Result<()> {
    carry("polling", |path| file::Follower::polling(path, Duration::from_millis(1)))
}

#[test]
fn a_follower_spins() -> io::Result<()> {
    carry("spinning", |path| file::Follower::polling(path, Duration::ZERO))
}

#[test]
fn a_name_that_is_taken_is_neither_used_nor_removed() -> io::Result<()> {
    let (path, link) = (unused_path("taken"), unused_path("link"));
    fs::create_dir(&path)?;
    std::os::unix::fs::symlink("/dev/null", &link)?;
    let taken = [file::create(&path), file::remove(&path), file::create(&link), file::remove(&link)];
    let followed = file::open_appender(&link);
    fs::remove_dir(&path)?;
    fs::remove_file(&link)?;
    for result in taken {
        assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));
    }
    assert!(followed.is_err());
    Ok(())
}

#[test]
fn a_file_that_shrinks_is_an_error() -> io::Result<()> {
    let path = unused_path("shrinks");
    file::create(&path)?;
    file::open_appender(&path)?.write_all(b"hello")?;
    let mut follower = file::Follower::woken(&path)?;
    let first = follower.read(&mut [0; 100])?;
    File::options().write(true).open(&path)?.set_len(2)?;
    let second = follower.read(&mut [0; 100]);
    file::remove(&path)?;
    assert_eq!(first, 5);
    assert_eq!(second.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
    Ok(())
}

/// Why `open_appender` appends: each of two writers with a place of its own writes over the other's lines.
#[test]
fn without_o_append_half_is_lost() -> io::Result<()> {
    let lines_of_two = |name: &str, options: &OpenOptions| {
        let path = unused_path(name);
        file::create(&path)?;
        let mut writers = [options.open(&path)?, options.open(&path)?];
        for _ in 0..1000 {
            for writer in &mut writers {
                writer.write_all(b"hello\n")?;
            }
        }
        let lines = fs::read_to_string(&path)?.lines().count();
        file::remove(&path)?;
        io::Result::Ok(lines)
    };
    assert_eq!(lines_of_two("append", File::options().append(true))?, 2000);
    assert_eq!(lines_of_two("write", File::options().write(true))?, 1000);
    Ok(())
}
