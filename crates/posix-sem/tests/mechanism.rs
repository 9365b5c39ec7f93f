//! The mechanism alone, as a copy of it is tested too.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::{io, process, thread};

use ::posix_sem::posix_sem::{self, Buffer, MAX, SLOTS};

/// A name that nobody uses.
fn unused_name(name: &str) -> String {
    format!("/posix-sem-mechanism-{}-{name}", process::id())
}

fn leftovers(name: &str) -> usize {
    let name = name.trim_start_matches('/');
    let names = fs::read_dir("/dev/shm").expect("/dev/shm").flatten().map(|entry| entry.file_name());
    names.filter(|file| file.to_string_lossy().contains(name)).count()
}

#[test]
fn records_come_out_whole_and_in_order() -> io::Result<()> {
    let name = unused_name("order");
    let mut consumer = Buffer::create(&name)?;
    let to = name.clone();
    let lengths = || (0..20_000).map(|n| [0, 1, 7, MAX - 1, MAX][n % 5]);
    let producer = thread::spawn(move || {
        let mut producer = Buffer::open(&to)?;
        for (n, len) in lengths().enumerate() {
            producer.put(&vec![n as u8; len])?;
        }
        producer.put_end()
    });
    let mut record = [0; MAX];
    for (n, len) in lengths().enumerate() {
        assert_eq!(consumer.take(&mut record)?, Some(len), "record {n}");
        assert!(record[..len].iter().all(|&byte| byte == n as u8), "record {n}");
    }
    assert_eq!(consumer.take(&mut record)?, None);
    producer.join().expect("the producer panicked")?;
    posix_sem::remove(&name)
}

#[test]
fn a_record_that_fits_no_slot_is_refused() -> io::Result<()> {
    let name = unused_name("long");
    let mut buffer = Buffer::create(&name)?;
    posix_sem::remove(&name)?;
    assert_eq!(buffer.put(&[0; MAX + 1]).map_err(|error| error.raw_os_error()), Err(Some(libc::EMSGSIZE)));
    // Nothing was taken from the free slots: all of them are still there.
    for _ in 0..SLOTS {
        buffer.put(&[1; MAX])?;
    }
    Ok(())
}

#[test]
fn a_length_that_no_record_has_is_an_error() -> io::Result<()> {
    let name = unused_name("hostile");
    let mut consumer = Buffer::create(&name)?;
    let mut producer = Buffer::open(&name)?;
    for bad in [MAX as u32 + 1, 0x8000_0000, u32::MAX - 1] {
        producer.put(b"hello")?;
        // A scribbling producer: the length stands in the first bytes of each slot.
        let memory = File::options().write(true).open(format!("/dev/shm{name}"))?;
        for slot in 0..SLOTS as u64 {
            memory.write_all_at(&bad.to_ne_bytes(), slot * 4096)?;
        }
        let taken = consumer.take(&mut [0; MAX]);
        assert_eq!(taken.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData), "{bad:#x}");
    }
    posix_sem::remove(&name)
}

#[test]
fn what_exists_is_not_used_and_a_failure_leaves_nothing() -> io::Result<()> {
    let name = unused_name("exists");
    let ours = Buffer::create(&name)?;
    let second = Buffer::create(&name).map(drop).map_err(|error| error.kind());
    assert_eq!(second, Err(io::ErrorKind::AlreadyExists));
    assert_eq!(leftovers(&name), 3);
    drop(ours);
    posix_sem::remove(&name)?;
    assert_eq!(leftovers(&name), 0);
    // Only the object that is made last is in the way: the other two are undone.
    let in_the_way = format!("/dev/shm/sem.{}-full", &name[1..]);
    fs::write(&in_the_way, [0; 32])?;
    let third = Buffer::create(&name).map(drop).map_err(|error| error.kind());
    assert_eq!(third, Err(io::ErrorKind::AlreadyExists));
    assert_eq!(leftovers(&name), 1);
    // A killed run may have left any part.
    posix_sem::remove(&name)?;
    assert_eq!(leftovers(&name), 0);
    assert_eq!(posix_sem::remove(&name).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    Ok(())
}

#[test]
fn a_bad_name_is_an_error() {
    for bad in ["/a\0b", "/a/b", ""] {
        assert!(Buffer::create(bad).is_err(), "{bad:?}");
        assert!(Buffer::open(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn who_spins_is_told_that_it_would_have_to_sleep() -> io::Result<()> {
    let name = unused_name("spin");
    let mut consumer = Buffer::create(&name)?;
    let mut producer = Buffer::open(&name)?;
    consumer.spin();
    producer.spin();
    let mut record = [0; MAX];
    for _ in 0..2 {
        let nothing = consumer.take(&mut record).map_err(|error| error.kind());
        assert_eq!(nothing, Err(io::ErrorKind::WouldBlock), "nothing there");
        for n in 0..SLOTS {
            producer.put(&[n as u8])?;
        }
        let full = producer.put(b"one too many").map_err(|error| error.kind());
        assert_eq!(full, Err(io::ErrorKind::WouldBlock), "no slot is free");
        for n in 0..SLOTS {
            assert_eq!((consumer.take(&mut record)?, record[0]), (Some(1), n as u8));
        }
    }
    posix_sem::remove(&name)
}
