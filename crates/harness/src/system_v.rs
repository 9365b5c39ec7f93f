//! System V objects: found by a number, the key, of which two programs must be told.
#![expect(unsafe_code, reason = "msgctl(2), semctl(2) and shmctl(2) have no safe wrapper")]

use std::fs;
use std::path::{Path, PathBuf};
use std::{process, ptr};

/// What there is: message queues, sets of semaphores, segments of memory.
pub(crate) const KINDS: [&str; 3] = ["msg", "sem", "shm"];

/// An object as /proc/sysvipc lists it.
pub(crate) struct Listed {
    pub(crate) kind: &'static str,
    pub(crate) key: i32,
    pub(crate) id: i32,
    pub(crate) mode: u32,
}

/// Every System V object there is, whoever's.
pub(crate) fn all() -> Vec<Listed> {
    let of = |kind| {
        let table = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
        table.lines().skip(1).filter_map(|line| parse(kind, line)).collect::<Vec<_>>()
    };
    KINDS.into_iter().flat_map(of).collect()
}

/// All three tables begin with the key, the id and the permissions, which are octal.
fn parse(kind: &'static str, line: &str) -> Option<Listed> {
    let mut words = line.split_whitespace();
    let (key, id, mode) = (words.next()?, words.next()?, words.next()?);
    let mode = u32::from_str_radix(mode, 8).ok()? & 0o777;
    Some(Listed { kind, key: key.parse().ok()?, id: id.parse().ok()?, mode })
}

/// The objects of one kind with this key: there is one, or none.
pub(crate) fn with_key(kind: &str, key: i32) -> Option<Listed> {
    all().into_iter().find(|object| object.kind == kind && object.key == key)
}

pub(crate) fn remove(object: &Listed) {
    let id = object.id;
    match object.kind {
        // SAFETY: IPC_RMID takes no argument, and so no memory.
        "msg" => unsafe { libc::msgctl(id, libc::IPC_RMID, ptr::null_mut()) },
        // SAFETY: the same.
        "sem" => unsafe { libc::semctl(id, 0, libc::IPC_RMID) },
        // SAFETY: the same; who has the segment mapped keeps it.
        _ => unsafe { libc::shmctl(id, libc::IPC_RMID, ptr::null_mut()) },
    };
}

/// The key of one of this process's trials: the process in its first 20 bits, the trial in the other 12.
pub(crate) fn key_of_trial(number: u32) -> u32 {
    (process::id() << 12 | number & 0xfff).max(1)
}

/// Is it the key of a trial of this process's?
pub(crate) fn is_ours(key: i32) -> bool {
    key.cast_unsigned() >> 12 == process::id() & 0xf_ffff
}

/// May it be the key of a trial of another run of tests, which goes on?
pub(crate) fn is_of_another_run(key: i32) -> bool {
    let pid = key.cast_unsigned() >> 12;
    !is_default(key) && !is_ours(key) && Path::new(&format!("/proc/{pid}")).exists()
}

/// Is it one where programs meet by default?
pub(crate) fn is_default(key: i32) -> bool {
    key.cast_unsigned() >> 20 == 0x1bc
}

/// The lock files in /dev/shm whose keys `are` of interest.
pub(crate) fn locks(are: impl Fn(i32) -> bool) -> Vec<PathBuf> {
    let key = |path: &Path| parse_key(path.file_name()?.to_str()?.strip_suffix(".lock")?.split('.').next()?);
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| key(path).is_some_and(&are)).collect()
}

/// The number that is written as `0x…`.
pub(crate) fn parse_key(text: &str) -> Option<i32> {
    Some(u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()?.cast_signed())
}
