//! The mechanism alone, as a copy of it is tested too.
#![expect(unsafe_code, reason = "a look at the kernel's own account of a segment")]

use std::{io, mem, process, ptr, thread};

use sysv_shm::sysv_shm as shm;

/// A key of its own for each test: pids are below 2^22.
fn key(number: i32) -> i32 {
    (process::id() as i32) << 8 | number
}

/// Processes that have the segment attached, and whether it is marked for removal.
fn look(id: i32) -> io::Result<(u64, bool)> {
    const SHM_DEST: u32 = 0o1000;
    // SAFETY: it is made of numbers.
    let mut stat: libc::shmid_ds = unsafe { mem::zeroed() };
    // SAFETY: `stat` has room for what IPC_STAT writes.
    if unsafe { libc::shmctl(id, libc::IPC_STAT, &mut stat) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok((stat.shm_nattch, u32::from(stat.shm_perm.mode) & SHM_DEST != 0))
}

fn find(key: i32) -> io::Result<i32> {
    // SAFETY: the call takes numbers.
    match unsafe { libc::shmget(key, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        id => Ok(id),
    }
}

#[test]
fn messages_come_out_as_they_went_in_and_then_the_end() -> io::Result<()> {
    let key = key(1);
    let mut reader = shm::create(key)?;
    // Four times as much as the ring holds, and one message that is longer than it.
    let lens = || (0..400).map(|n: usize| n * n * 41 % 90_001).chain([5 << 20, 0, 1]);
    let message = |len| (0..len).map(|n| (n % 251) as u8).collect::<Vec<_>>();
    let writing = thread::spawn(move || {
        let mut writer = shm::open(key)?;
        lens().try_for_each(|len| writer.put_all(&message(len)))?;
        writer.end()
    });
    for len in lens() {
        reader.fill()?;
        assert!(reader.take() == Some(&message(len)[..]), "{len} bytes");
    }
    reader.fill()?;
    assert_eq!(reader.take(), None);
    writing.join().expect("the writer panicked")
}

#[test]
fn once_both_are_attached_it_has_no_key_and_goes_with_the_last() -> io::Result<()> {
    let key = key(2);
    let reader = shm::create(key)?;
    let id = find(key)?;
    assert_eq!(look(id)?, (1, false));
    let writer = shm::open(key)?;
    assert_eq!(look(id)?, (2, true));
    assert_eq!(find(key).unwrap_err().kind(), io::ErrorKind::NotFound, "nobody finds it any more");
    drop(writer);
    assert_eq!(look(id)?, (1, true));
    drop(reader);
    assert_eq!(look(id).unwrap_err().raw_os_error(), Some(libc::EINVAL), "gone");
    Ok(())
}

#[test]
fn what_is_there_already_is_neither_taken_over_nor_removed() -> io::Result<()> {
    let key = key(3);
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    assert_eq!(kind(shm::open(key).map(drop)), Err(io::ErrorKind::NotFound));
    assert_eq!(kind(shm::remove(key)), Err(io::ErrorKind::NotFound));
    // SAFETY: the call takes numbers.
    let other = unsafe { libc::shmget(key, 100, libc::IPC_CREAT | libc::IPC_EXCL | 0o600) };
    assert_ne!(other, -1);
    assert_eq!(kind(shm::create(key).map(drop)), Err(io::ErrorKind::AlreadyExists));
    assert_eq!(kind(shm::open(key).map(drop)), Err(io::ErrorKind::InvalidData));
    assert_eq!(kind(shm::remove(key)), Err(io::ErrorKind::AlreadyExists));
    assert_eq!(look(other)?, (0, false), "it is still there, and nobody has it attached");
    // SAFETY: IPC_RMID does not use the pointer.
    unsafe { libc::shmctl(other, libc::IPC_RMID, ptr::null_mut()) };
    Ok(())
}

#[test]
fn one_that_nobody_opened_is_removed_by_key() -> io::Result<()> {
    let key = key(4);
    let reader = shm::create(key)?;
    shm::remove(key)?;
    drop(reader);
    assert_eq!(find(key).unwrap_err().kind(), io::ErrorKind::NotFound);
    Ok(())
}
