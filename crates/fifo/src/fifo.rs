//! A FIFO, or named pipe: a pipe that two unrelated processes find by a path.
//!
//! `mkfifo(3)` makes a name in the file system; the bytes never touch the disk. They wait in a buffer in the
//! kernel that exists from the first open to the last close, of 64 KiB where nobody asks for more. The bytes come
//! out in the order in which they went in, and nothing marks where one write ended and the next began.
//!
//! ```text
//! writer  open(O_WRONLY) ─┐                     ┌─ open(O_RDONLY)  reader
//!         write ──────────┴▶ 256 KiB in kernel ─┴──▶ read
//! ```
//!
//! Manual pages: fifo(7), pipe(7), mkfifo(3), open(2).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};

/// Bytes that a FIFO holds which [`open_writer`] has opened.
pub const CAPACITY: i32 = 256 << 10;

/// Makes the FIFO, which only this user may open.
///
/// # Errors
/// `EEXIST` where the path exists, whatever it is: a name that is taken is never made one's own.
pub fn create(path: &Path) -> io::Result<()> {
    Ok(mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?)
}

/// Removes the name. Processes that have the FIFO open go on using it.
///
/// # Errors
/// `EEXIST` where the path is not a FIFO of this user's; `ENOENT`.
pub fn remove(path: &Path) -> io::Result<()> {
    if !is_own_fifo(&fs::symlink_metadata(path)?) {
        return Err(Errno::EEXIST.into());
    }
    fs::remove_file(path)
}

/// Opens the reading end. This blocks until a writer opens the other one: opening a FIFO is a rendezvous.
///
/// # Errors
/// `EINTR` after a signal, unlike [`File::open`], which would go back to sleep; `EEXIST` as for [`remove`].
pub fn open_reader(path: &Path) -> io::Result<File> {
    check(open(path, OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?.into())
}

/// Opens the writing end. This blocks until a reader opens the other one.
///
/// # Errors
/// As [`open_reader`].
pub fn open_writer(path: &Path) -> io::Result<File> {
    // No O_CREAT, which a shell's `>` has: on a missing FIFO it would make an ordinary file, and every
    // write would succeed with nobody there to read.
    let file = check(open(path, OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?.into())?;
    // Whoever has to wait for a full or an empty FIFO sleeps and is woken, which takes longer than the bytes do. More room
    // means fewer of these waits. An ordinary user may have so much in 256 pipes (pipe-user-pages-soft in pipe(7)) and
    // then gets EPERM; the 64 KiB of every FIFO are enough, too.
    let _ = fcntl(&file, FcntlArg::F_SETPIPE_SZ(CAPACITY));
    Ok(file)
}

fn check(file: File) -> io::Result<File> {
    if is_own_fifo(&file.metadata()?) { Ok(file) } else { Err(Errno::EEXIST.into()) }
}

fn is_own_fifo(meta: &fs::Metadata) -> bool {
    meta.file_type().is_fifo() && meta.uid() == geteuid().as_raw()
}
