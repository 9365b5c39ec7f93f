//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "a mutex is made in a place that nobody uses yet")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem, process, thread};

use ::robust_mutex::mutex::{Mutex, Robustness};
use ::robust_mutex::robust_mutex::{self, Buffer, MAX, SLOTS};

/// Where the buffer keeps its slots.
const FIRST_SLOT: u64 = 4096;

/// A name that nobody uses.
fn unused_name(name: &str) -> String {
    format!("/robust-mutex-mechanism-{}-{name}", process::id())
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
    assert_eq!(consumer.found(), None);
    robust_mutex::remove(&name)
}

/// All look at one state under one mutex, so any number may take part.
#[test]
fn several_producers_and_consumers_share_a_buffer() -> io::Result<()> {
    const EACH: u32 = 5000;
    let name = unused_name("several");
    let mut main = Buffer::create(&name)?;
    let producers = [0, 1, 2].map(|producer: u32| {
        let name = name.clone();
        thread::spawn(move || {
            let mut buffer = Buffer::open(&name)?;
            (0..EACH).try_for_each(|n| buffer.put(&(producer * EACH + n).to_ne_bytes()))
        })
    });
    let consumers = [(); 3].map(|()| {
        let name = name.clone();
        thread::spawn(move || {
            let (mut buffer, mut record, mut taken) = (Buffer::open(&name)?, [0; MAX], Vec::new());
            while buffer.take(&mut record)? == Some(4) {
                taken.push(u32::from_ne_bytes([record[0], record[1], record[2], record[3]]));
            }
            io::Result::Ok(taken)
        })
    });
    for producer in producers {
        producer.join().expect("a producer panicked")?;
    }
    for _ in &consumers {
        main.put_end()?;
    }
    let mut all = Vec::new();
    for consumer in consumers {
        all.extend(consumer.join().expect("a consumer panicked")?);
    }
    all.sort_unstable();
    assert!(all.into_iter().eq(0..3 * EACH), "a record was lost or taken twice");
    robust_mutex::remove(&name)
}

#[test]
fn a_full_buffer_lets_the_producer_wait() -> io::Result<()> {
    let name = unused_name("full");
    let mut consumer = Buffer::create(&name)?;
    let to = name.clone();
    let producer = thread::spawn(move || {
        let mut producer = Buffer::open(&to)?;
        (0..=SLOTS).try_for_each(|n| producer.put(&[n as u8]))
    });
    thread::sleep(Duration::from_millis(200));
    assert!(!producer.is_finished(), "{} records in {SLOTS} slots", SLOTS + 1);
    let mut record = [0; MAX];
    for n in 0..=SLOTS {
        assert_eq!(consumer.take(&mut record)?, Some(1));
        assert_eq!(usize::from(record[0]), n);
    }
    producer.join().expect("the producer panicked")?;
    robust_mutex::remove(&name)
}

/// A mutex in memory of its own.
fn mutex(robustness: Robustness) -> io::Result<Arc<Mutex>> {
    // SAFETY: a Mutex is bytes, for which zero is valid.
    let mutex: Arc<Mutex> = Arc::new(unsafe { mem::zeroed() });
    // SAFETY: nobody else knows of it.
    unsafe { mutex.init(robustness) }?;
    Ok(mutex)
}

/// Locks it in a thread that ends without unlocking. The kernel deals with a thread's end as with a process's.
fn die_holding(mutex: &Arc<Mutex>) -> io::Result<()> {
    let mutex = Arc::clone(mutex);
    let owner = thread::spawn(move || mutex.lock(None).map(mem::forget));
    owner.join().expect("the owner panicked")
}

fn lock_error(mutex: &Mutex) -> Option<i32> {
    mutex.lock(Some(Duration::from_millis(100))).err().and_then(|error| error.raw_os_error())
}

#[test]
fn the_next_one_is_told_and_can_put_it_right() -> io::Result<()> {
    let mutex = mutex(Robustness::Robust)?;
    die_holding(&mutex)?;
    let guard = mutex.lock(None)?;
    assert!(guard.owner_died);
    guard.make_consistent()?;
    drop(guard);
    let guard = mutex.lock(None)?;
    assert!(!guard.owner_died);
    assert!(guard.make_consistent().is_err(), "there is nothing to make consistent");
    Ok(())
}

#[test]
fn without_consistent_it_is_useless_for_good() -> io::Result<()> {
    let mutex = mutex(Robustness::Robust)?;
    die_holding(&mutex)?;
    assert!(mutex.lock(None)?.owner_died);
    for _ in 0..3 {
        assert_eq!(lock_error(&mutex), Some(libc::ENOTRECOVERABLE));
    }
    Ok(())
}

#[test]
fn a_mutex_that_is_not_robust_stays_locked() -> io::Result<()> {
    let mutex = mutex(Robustness::Stalled)?;
    assert_eq!(lock_error(&mutex), None);
    die_holding(&mutex)?;
    assert_eq!(lock_error(&mutex), Some(libc::EAGAIN), "there is a time limit only in this test");
    Ok(())
}

#[test]
fn a_record_that_fits_no_slot_is_refused() -> io::Result<()> {
    let name = unused_name("long");
    let mut buffer = Buffer::create(&name)?;
    robust_mutex::remove(&name)?;
    assert_eq!(buffer.put(&[0; MAX + 1]).map_err(|error| error.raw_os_error()), Err(Some(libc::EMSGSIZE)));
    (0..SLOTS).try_for_each(|_| buffer.put(&[1; MAX]))
}

#[test]
fn what_cannot_be_is_an_error() -> io::Result<()> {
    let name = unused_name("hostile");
    let mut buffer = Buffer::create(&name)?;
    let memory = File::options().write(true).open(format!("/dev/shm{name}"))?;
    let kind = |result: io::Result<Option<usize>>| result.map_err(|error| error.kind());
    buffer.put(b"hello")?;
    for bad in [MAX as u32 + 1, 0x8000_0000, u32::MAX - 1] {
        memory.write_all_at(&bad.to_ne_bytes(), FIRST_SLOT)?;
        assert_eq!(kind(buffer.take(&mut [0; MAX])), Err(io::ErrorKind::InvalidData), "length {bad:#x}");
    }
    // The count of records that were put stands behind two other words.
    for bad in [SLOTS as u32 + 1, u32::MAX] {
        memory.write_all_at(&bad.to_ne_bytes(), 8)?;
        assert_eq!(kind(buffer.take(&mut [0; MAX])), Err(io::ErrorKind::InvalidData), "{bad} records");
        assert_eq!(buffer.put(b"x").map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData), "{bad} records");
    }
    robust_mutex::remove(&name)
}

#[test]
fn what_exists_is_not_used_and_what_is_no_buffer_is_not_opened() -> io::Result<()> {
    let name = unused_name("exists");
    let path = format!("/dev/shm{name}");
    let error = |result: io::Result<Buffer>| result.map(drop).map_err(|error| error.kind());
    assert_eq!(error(Buffer::open(&name)), Err(io::ErrorKind::NotFound));
    let _first = Buffer::create(&name)?;
    assert_eq!(error(Buffer::create(&name)), Err(io::ErrorKind::AlreadyExists));
    robust_mutex::remove(&name)?;
    assert_eq!(robust_mutex::remove(&name).map_err(|error| error.kind()), Err(io::ErrorKind::NotFound));
    // Half-made: without bytes first, and then without a mutex.
    fs::write(&path, [])?;
    assert_eq!(error(Buffer::open(&name)), Err(io::ErrorKind::WouldBlock));
    fs::write(&path, [0; (1 + SLOTS) * 4096])?;
    assert_eq!(error(Buffer::open(&name)), Err(io::ErrorKind::WouldBlock));
    for other in [vec![7; (1 + SLOTS) * 4096], vec![0; 100]] {
        fs::write(&path, other)?;
        assert_eq!(error(Buffer::open(&name)), Err(io::ErrorKind::InvalidData));
    }
    fs::remove_file(path)
}

#[test]
fn a_bad_name_is_an_error() {
    for bad in ["/a\0b", "/a/b", ""] {
        assert!(Buffer::create(bad).is_err(), "{bad:?}");
        assert!(Buffer::open(bad).is_err(), "{bad:?}");
    }
}
