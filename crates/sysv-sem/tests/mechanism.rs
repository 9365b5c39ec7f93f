//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "half-made and wrong objects are made by hand")]

use std::time::Duration;
use std::{io, process, ptr, thread};

use ::sysv_sem::segment::Segment;
use ::sysv_sem::sysv_sem::{self, FREE, MAX, Mailbox};

/// A key of its own for each test: pids are below 2^22.
fn key(number: i32) -> i32 {
    (process::id() as i32) << 8 | number
}

/// Makes a set of semaphores and nothing else.
fn semaphores(key: i32, count: i32) -> io::Result<i32> {
    // SAFETY: the call takes three numbers and touches no memory.
    let id = unsafe { libc::semget(key, count, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    if id == -1 { Err(io::Error::last_os_error()) } else { Ok(id) }
}

fn exists(key: i32) -> (bool, bool) {
    // SAFETY: as above.
    let semaphores = unsafe { libc::semget(key, 0, 0) } != -1;
    (semaphores, Segment::find(key).is_ok())
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn records_come_out_whole_and_in_order() -> io::Result<()> {
    let key = key(1);
    let consumer = Mailbox::create(key)?;
    let lengths = || (0..20_000).map(|n| [0, 1, 7, MAX - 1, MAX][n % 5]);
    let producer = thread::spawn(move || {
        let producer = Mailbox::open(key)?;
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
    sysv_sem::remove(key)
}

/// The slot is one process's at a time, so any number may take part.
#[test]
fn several_producers_and_consumers_share_a_slot() -> io::Result<()> {
    const EACH: u32 = 2000;
    let key = key(2);
    let main = Mailbox::create(key)?;
    let producers = [0, 1, 2].map(|producer: u32| {
        thread::spawn(move || {
            let mailbox = Mailbox::open(key)?;
            (0..EACH).try_for_each(|n| mailbox.put(&(producer * EACH + n).to_ne_bytes()))
        })
    });
    let consumers = [(); 3].map(|()| {
        thread::spawn(move || {
            let (mailbox, mut record, mut taken) = (Mailbox::open(key)?, [0; MAX], Vec::new());
            while mailbox.take(&mut record)? == Some(4) {
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
    sysv_sem::remove(key)
}

#[test]
fn the_second_record_waits_for_the_first_to_be_taken() -> io::Result<()> {
    let key = key(3);
    let consumer = Mailbox::create(key)?;
    let producer = thread::spawn(move || {
        let producer = Mailbox::open(key)?;
        producer.put(b"first")?;
        producer.put(b"second")
    });
    thread::sleep(Duration::from_millis(200));
    assert!(!producer.is_finished(), "two records in one slot");
    let mut record = [0; MAX];
    assert_eq!(consumer.take(&mut record)?, Some(5));
    assert_eq!(&record[..5], b"first");
    assert_eq!(consumer.take(&mut record)?, Some(6));
    assert_eq!(&record[..6], b"second");
    producer.join().expect("the producer panicked")?;
    sysv_sem::remove(key)
}

#[test]
fn a_record_that_fits_no_slot_is_refused() -> io::Result<()> {
    let key = key(4);
    let mailbox = Mailbox::create(key)?;
    sysv_sem::remove(key)?;
    assert_eq!(errno(mailbox.put(&[0; MAX + 1])), Some(libc::EMSGSIZE), "before the semaphores are asked");
    Ok(())
}

#[test]
fn a_length_that_no_record_has_is_an_error() -> io::Result<()> {
    let key = key(5);
    let mailbox = Mailbox::create(key)?;
    // SAFETY: the call takes three numbers and touches no memory.
    let segment = unsafe { libc::shmget(key, 0, 0) };
    // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
    let length = unsafe { libc::shmat(segment, ptr::null(), 0) }.cast::<u32>();
    mailbox.put(b"hello")?;
    for bad in [MAX as u32 + 1, 0x8000_0000, u32::MAX - 1] {
        // SAFETY: a page is mapped here, and nobody copies anything now.
        unsafe { length.write_volatile(bad) };
        let fresh = thread::spawn(move || Mailbox::open(key)?.take(&mut [0; MAX]));
        let taken = fresh.join().expect("the consumer panicked");
        assert_eq!(taken.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData), "{bad:#x}");
        // It has kept the slot, and would keep it until its process ends.
        give_back(key)?;
    }
    sysv_sem::remove(key)
}

/// Makes the slot full again.
fn give_back(key: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers.
    let id = unsafe { libc::semget(key, 0, 0) };
    // SAFETY: SETVAL takes a number.
    let result = unsafe { libc::semctl(id, i32::from(sysv_sem::FULL), libc::SETVAL, 1) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Between semget and the first semop the counts mean nothing, and sem_otime says so.
#[test]
fn a_set_that_nobody_has_used_yet_is_not_opened() -> io::Result<()> {
    let key = key(6);
    let id = semaphores(key, 2)?;
    let _segment = Segment::create(key)?;
    assert_eq!(errno(Mailbox::open(key)), Some(libc::EAGAIN));
    // SETVAL is not enough, …
    // SAFETY: SETVAL takes a number.
    assert_eq!(unsafe { libc::semctl(id, i32::from(FREE), libc::SETVAL, 1) }, 0);
    assert_eq!(errno(Mailbox::open(key)), Some(libc::EAGAIN));
    // … semop is.
    let mut change = [libc::sembuf { sem_num: FREE, sem_op: -1, sem_flg: 0 }];
    // SAFETY: the kernel reads one change.
    assert_eq!(unsafe { libc::semop(id, change.as_mut_ptr(), 1) }, 0);
    assert!(Mailbox::open(key).is_ok());
    sysv_sem::remove(key)
}

#[test]
fn what_exists_is_not_used_and_a_failure_leaves_nothing() -> io::Result<()> {
    let key = key(7);
    assert_eq!(errno(Mailbox::open(key)), Some(libc::ENOENT));
    let _first = Mailbox::create(key)?;
    assert_eq!(errno(Mailbox::create(key)), Some(libc::EEXIST));
    assert_eq!(exists(key), (true, true));
    sysv_sem::remove(key)?;
    assert_eq!(exists(key), (false, false));
    assert_eq!(errno(sysv_sem::remove(key)), Some(libc::ENOENT));
    // Only what is made last is in the way: the other one is undone.
    semaphores(key, 2)?;
    assert_eq!(errno(Mailbox::create(key)), Some(libc::EEXIST));
    assert_eq!(exists(key), (true, false));
    // A killed run may have left either part.
    sysv_sem::remove(key)?;
    let _segment = Segment::create(key)?;
    sysv_sem::remove(key)?;
    assert_eq!(exists(key), (false, false));
    // Somebody else's three semaphores are no mailbox.
    let id = semaphores(key, 3)?;
    let refused = [errno(Mailbox::open(key)), errno(sysv_sem::remove(key))];
    // SAFETY: IPC_RMID takes no argument.
    assert_eq!(unsafe { libc::semctl(id, 0, libc::IPC_RMID) }, 0, "it is still there");
    assert_eq!(refused, [Some(libc::EEXIST); 2]);
    Ok(())
}

#[test]
fn removing_wakes_who_waits_and_refuses_who_comes() -> io::Result<()> {
    let key = key(8);
    let mailbox = Mailbox::create(key)?;
    let waiter = thread::spawn(move || Mailbox::open(key)?.take(&mut [0; MAX]));
    thread::sleep(Duration::from_millis(100));
    sysv_sem::remove(key)?;
    assert_eq!(errno(waiter.join().expect("the waiter panicked")), Some(libc::EIDRM));
    assert_eq!(errno(mailbox.put(b"too late")), Some(libc::EIDRM));
    Ok(())
}

/// What is closed has no key any more, and is used as before.
#[test]
fn a_closed_mailbox_works_and_cannot_be_opened() -> io::Result<()> {
    let key = key(9);
    let consumer = Mailbox::create(key)?;
    let producer = Mailbox::open(key)?;
    producer.close()?;
    assert_eq!(errno(Mailbox::open(key)), Some(libc::ENOENT));
    producer.put(b"hello")?;
    assert_eq!(consumer.take(&mut [0; MAX])?, Some(5));
    sysv_sem::remove(key)?;
    assert_eq!(exists(key), (false, false));
    Ok(())
}

#[test]
fn who_spins_is_told_that_it_would_have_to_sleep() -> io::Result<()> {
    let key = key(99);
    let mut consumer = Mailbox::create(key)?;
    let mut producer = Mailbox::open(key)?;
    consumer.spin();
    producer.spin();
    let mut record = [0; MAX];
    for n in 0..2 {
        assert_eq!(errno(consumer.take(&mut record)), Some(libc::EAGAIN), "nothing there");
        producer.put(&[n])?;
        assert_eq!(errno(producer.put(b"one too many")), Some(libc::EAGAIN), "the slot is full");
        assert_eq!((consumer.take(&mut record)?, record[0]), (Some(1), n));
    }
    sysv_sem::remove(key)
}
