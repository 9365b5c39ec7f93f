//! Where a sender's messages come from.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::time::{ClockId, clock_gettime};

use crate::{Args, Context, Error, Result};

/// Bytes in a chunk of a file where `--size` says nothing.
const CHUNK: usize = 64 << 10;
/// Bytes in a made-up message where `--size` says nothing.
const MADE_UP: usize = 64;
/// A file of this length gets a progress bar.
const LONG: u64 = 4 << 20;

/// The messages that the command line asks for, one after the other.
pub struct Input {
    source: Source,
    buffer: Vec<u8>,
    max: usize,
    interval: Option<Duration>,
    started: bool,
    progress: ProgressBar,
    sent: (u64, u64),
    args: Args,
}

enum Source {
    /// What the command line says, so many times.
    Words {
        left: u64,
        next: usize,
    },
    MadeUp {
        next: u64,
        count: u64,
        stamp: bool,
    },
    Chunks(Box<dyn Read>, String),
    Lines(BufReader<io::Stdin>),
}

impl Input {
    /// Checks all that can be known before anything is sent.
    ///
    /// # Errors
    /// [`Error::TooLong`] where a message cannot be sent, [`Error::System`] where the file cannot be opened.
    pub fn open(args: &Args) -> Result<Input> {
        let max = args.technique.max_message;
        let mut progress = ProgressBar::hidden();
        let mut buffer = Vec::new();
        let too_long = |len| Err(Error::too_long(len, max));
        let source = if let Some(path) = &args.file {
            let size = args.size.unwrap_or(CHUNK.min(max));
            if size > max {
                return too_long(size);
            }
            if size == 0 {
                return Err(Error::Usage("--size 0 cannot cut a file into chunks".to_owned()));
            }
            buffer.resize(size, 0);
            let (file, len) = open_file(path)?;
            if len >= LONG && !args.quiet {
                progress = progress_bar(len, args);
            }
            Source::Chunks(file, path.display().to_string())
        } else if !args.messages.is_empty() {
            if let Some(long) = args.messages.iter().map(|word| word.len() + 1).find(|&len| len > max) {
                return too_long(long);
            }
            Source::Words { left: args.count.unwrap_or(1), next: 0 }
        } else if args.count.is_some() || args.size.is_some() {
            let size = args.size.unwrap_or(MADE_UP);
            if size > max {
                return too_long(size);
            }
            make_up(&mut buffer, size);
            Source::MadeUp { next: 0, count: args.count.unwrap_or(1), stamp: args.stamp }
        } else {
            Source::Lines(BufReader::with_capacity(CHUNK, io::stdin()))
        };
        Ok(Input {
            source,
            buffer,
            max,
            interval: args.interval,
            started: false,
            progress,
            sent: (0, 0),
            args: args.clone(),
        })
    }

    /// The next message, `None` after the last.
    ///
    /// # Errors
    /// [`Error::System`] where the file or standard input cannot be read, [`Error::TooLong`] for a line.
    #[expect(clippy::should_implement_trait, reason = "an Iterator cannot lend its buffer")]
    pub fn next(&mut self) -> Result<Option<&[u8]>> {
        if let Some(interval) = self.interval.filter(|_| self.started) {
            thread::sleep(interval);
        }
        self.started = true;
        let len = match &mut self.source {
            Source::Words { left, next } => {
                if *next == self.args.messages.len() {
                    (*left, *next) = (left.saturating_sub(1), 0);
                }
                if *left == 0 {
                    None
                } else {
                    self.buffer.clear();
                    self.buffer.extend_from_slice(self.args.messages[*next].as_bytes());
                    self.buffer.push(b'\n');
                    *next += 1;
                    Some(self.buffer.len())
                }
            }
            Source::MadeUp { next, count, stamp } => (*next < *count).then(|| {
                put_decimal(&mut self.buffer, 0, 10, *next);
                if *stamp {
                    put_stamp(&mut self.buffer);
                }
                *next += 1;
                self.buffer.len()
            }),
            Source::Chunks(file, name) => {
                let len = read_chunk(file, &mut self.buffer).doing(format!("read {name}"))?;
                self.progress.inc(len as u64);
                (len > 0).then_some(len)
            }
            Source::Lines(stdin) => {
                self.buffer.clear();
                let limit = self.max as u64 + 1;
                let len = stdin.take(limit).read_until(b'\n', &mut self.buffer).doing("read standard input")?;
                if len > self.max {
                    return Err(
                        Error::too_long(len, self.max).with_hint("a line of standard input; --file - sends chunks")
                    );
                }
                (len > 0).then_some(len)
            }
        };
        let Some(len) = len else {
            self.progress.finish_and_clear();
            self.args.narrate(&format!("sent {} messages, {} bytes", self.sent.0, self.sent.1));
            return Ok(None);
        };
        self.sent = (self.sent.0 + 1, self.sent.1 + len as u64);
        Ok(Some(&self.buffer[..len]))
    }
}

/// A file for reading and its length, 0 where that is unknown.
fn open_file(path: &Path) -> Result<(Box<dyn Read>, u64)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), 0));
    }
    let name = path.display();
    let meta = fs::metadata(path).doing(format!("open {name}"))?;
    if meta.is_dir() || meta.file_type().is_socket() {
        let error = io::Error::from_raw_os_error(if meta.is_dir() { libc::EISDIR } else { libc::ENXIO });
        return Err(error).doing(format!("open {name}"));
    }
    let file = File::open(path).doing(format!("open {name}"))?;
    Ok((Box::new(file), meta.len()))
}

/// Fills the buffer as far as the file goes: a chunk is shorter only at the end, even from a pipe.
fn read_chunk(file: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read(&mut buffer[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// A line of `size` bytes: room for a number of ten digits, a space, letters, a newline; cut where it is short.
fn make_up(buffer: &mut Vec<u8>, size: usize) {
    buffer.extend((0..size).map(|at| match at {
        10 => b' ',
        at if at + 1 == size && at > 10 => b'\n',
        at => b'a' + (at % 26) as u8,
    }));
}

/// Behind the number: `@`, the monotonic clock in nanoseconds with 20 digits, a space.
fn put_stamp(message: &mut [u8]) {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64);
    if let Some(mark) = message.get_mut(11) {
        *mark = b'@';
    }
    put_decimal(message, 12, 20, now);
    if let Some(space) = message.get_mut(32).filter(|byte| **byte != b'\n') {
        *space = b' ';
    }
}

/// Writes the last `digits` digits of `number` at `at`, as far as the message goes.
fn put_decimal(message: &mut [u8], at: usize, digits: usize, mut number: u64) {
    for place in (at..at + digits).rev() {
        if let Some(byte) = message.get_mut(place) {
            *byte = b'0' + (number % 10) as u8;
        }
        number /= 10;
    }
}

fn progress_bar(len: u64, args: &Args) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{prefix}: {bar:40} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.with_prefix(args.program())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_messages_have_their_size_and_number() {
        for size in [0, 1, 9, 10, 11, 12, 64, 5000] {
            let mut message = Vec::new();
            make_up(&mut message, size);
            put_decimal(&mut message, 0, 10, 42);
            assert_eq!(message.len(), size);
            if size >= 12 {
                assert!(message.starts_with(b"0000000042 "), "{size}");
                assert_eq!(message[size - 1], b'\n');
            }
        }
    }

    #[test]
    fn a_stamp_fits_or_is_cut() {
        for size in [0, 11, 12, 20, 33, 34, 64] {
            let mut message = vec![b'x'; size];
            put_stamp(&mut message);
            assert_eq!(message.len(), size);
        }
    }
}
