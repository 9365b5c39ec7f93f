//! Where a receiver's payload goes, and the figures about it.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, str};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::statfs::{FsType, fstatfs};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{geteuid, linkat};

use crate::program::USERS_UMASK;
use crate::{Args, Context, Error, Result};

/// Standard output or a new file. A file appears under its name when it is complete, or not at all.
pub struct Output {
    sink: BufWriter<File>,
    name: String,
    /// Somebody watches: each message must be seen when it comes.
    live: bool,
    /// Where the nameless file will get its name.
    publish: Option<PathBuf>,
    figures: Figures,
    finished: bool,
    args: Args,
}

impl Output {
    /// Opens the output before anything is received.
    ///
    /// # Errors
    /// [`Error::System`] where the file exists already or cannot be made.
    pub fn open(args: &Args) -> Result<Output> {
        let (file, name, publish) = match &args.output {
            None => {
                let stdout = io::stdout();
                let copy = stdout.as_fd().try_clone_to_owned().doing("standard output")?;
                (File::from(copy), "standard output".to_owned(), None)
            }
            Some(path) => {
                let (file, publish) = open_file(path).doing(format!("create {}", path.display())).map_err(explain)?;
                (file, path.display().to_string(), publish)
            }
        };
        let live = is_watched(&file).doing(format!("fstat {name}"))?;
        let sink = BufWriter::with_capacity(64 << 10, file);
        Ok(Output { sink, name, live, publish, figures: Figures::default(), finished: false, args: args.clone() })
    }

    /// Writes one message.
    ///
    /// # Errors
    /// [`Error::OutputClosed`] where nobody reads any more, [`Error::System`] for anything else.
    pub fn write(&mut self, message: &[u8]) -> Result<()> {
        self.figures.count(message, self.args.stats);
        let mut written = self.sink.write_all(message);
        if self.live && written.is_ok() {
            written = self.sink.flush();
        }
        self.check(written)
    }

    /// Writes what is left, gives the file its name and prints the figures.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn finish(mut self) -> Result<()> {
        let flushed = self.sink.flush();
        self.check(flushed)?;
        if let Some(path) = &self.publish {
            let this = format!("/proc/self/fd/{}", self.sink.get_ref().as_raw_fd());
            linkat(AT_FDCWD, this.as_str(), AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)
                .doing(format!("link {}", path.display()))
                .map_err(explain)?;
        }
        if self.args.stats {
            self.print_figures();
        } else {
            self.args.narrate(&format!("received {} messages, {} bytes", self.figures.messages, self.figures.bytes));
        }
        self.finished = true;
        Ok(())
    }

    fn print_figures(&mut self) {
        crate::program::complain(&self.args.program(), &self.figures.line());
    }

    fn check(&self, result: io::Result<()>) -> Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Error::OutputClosed),
            other => other.doing(format!("write {}", self.name)),
        }
    }
}

impl Drop for Output {
    /// What came of a conversation that failed has figures, too.
    fn drop(&mut self) {
        if self.args.stats && !self.finished && self.figures.messages > 0 {
            self.print_figures();
        }
    }
}

/// A nameless file beside `path` that [`Output::finish`] links there; a device or FIFO is opened as it is.
fn open_file(path: &Path) -> io::Result<(File, Option<PathBuf>)> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => return Ok((open_device(path)?, None)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = File::options().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(folder)?;
    if let Some(mask) = USERS_UMASK.get() {
        file.set_permissions(Permissions::from_mode(0o666 & !mask.bits()))?;
    }
    Ok((file, Some(path.to_owned())))
}

/// Opens what is there and no file. In a folder like /tmp another user may have put it there to read along, or a link to it.
fn open_device(path: &Path) -> io::Result<File> {
    let trusted = |uid: u32| uid == geteuid().as_raw() || uid == 0;
    let link = fs::symlink_metadata(path)?;
    if link.is_symlink() && !trusted(link.uid()) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    let file = File::options().write(true).custom_flags(libc::O_NOCTTY).open(path)?;
    // What has been opened may be something else than what was looked at before.
    let meta = file.metadata()?;
    if meta.is_file() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    // A pipe of the shell's, as /dev/stdout may be one, has no name, and its maker may be another user, as with sudo(8).
    if meta.file_type().is_fifo() && !trusted(meta.uid()) && fstatfs(&file)?.filesystem_type() != PIPE {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(file)
}

/// PIPEFS_MAGIC (statfs(2)).
const PIPE: FsType = FsType(0x5049_5045);

/// A person at a terminal or the next program in a pipeline wants each message at once; a file does not.
fn is_watched(file: &File) -> io::Result<bool> {
    let kind = file.metadata()?.file_type();
    Ok(file.is_terminal() || kind.is_fifo() || kind.is_socket())
}

fn explain(error: Error) -> Error {
    match &error {
        Error::System { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
            error.with_hint("nothing is overwritten; choose another --output")
        }
        Error::System { source, .. } if source.raw_os_error() == Some(libc::EPERM) => {
            error.with_hint("another user has put it there; choose another --output")
        }
        Error::System { source, .. } if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            error.with_hint("this file system has no nameless files; use > to write there")
        }
        _ => error,
    }
}

#[derive(Default)]
struct Figures {
    messages: u64,
    bytes: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    delays: Vec<Duration>,
}

impl Figures {
    fn count(&mut self, message: &[u8], stats: bool) {
        self.messages += 1;
        self.bytes += message.len() as u64;
        if stats {
            let now = Instant::now();
            self.first.get_or_insert(now);
            self.last = Some(now);
            self.delays.extend(delay(message));
        }
    }

    /// `stats: key=value …`: seconds from the first message to the last; wake-ups are voluntary context switches.
    fn line(&mut self) -> String {
        let seconds = self.first.zip(self.last).map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        let mut line = format!("stats: messages={} bytes={} seconds={seconds:.6}", self.messages, self.bytes);
        if seconds > 0.0 {
            line += &format!(" MB/s={:.1}", self.bytes as f64 / seconds / 1e6);
        }
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            let cpu = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
            let cpu_ms = cpu(usage.user_time()) + cpu(usage.system_time());
            line += &format!(" wakeups={} cpu_ms={cpu_ms:.1}", usage.voluntary_context_switches());
        }
        if !self.delays.is_empty() {
            self.delays.sort_unstable();
            let at = |share: f64| {
                let rank = (share * self.delays.len() as f64).ceil() as usize;
                self.delays[rank.clamp(1, self.delays.len()) - 1].as_secs_f64() * 1e6
            };
            line +=
                &format!(" delay_us_median={:.0} delay_us_p95={:.0} delay_us_worst={:.0}", at(0.5), at(0.95), at(1.0));
        }
        line
    }
}

/// How long ago a message with a stamp (see `input.rs`) was sent, by the clock that both processes share.
fn delay(message: &[u8]) -> Option<Duration> {
    if message.get(11) != Some(&b'@') {
        return None;
    }
    let stamp = Duration::from_nanos(str::from_utf8(message.get(12..32)?).ok()?.parse().ok()?);
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    Duration::from(now).checked_sub(stamp)
}
