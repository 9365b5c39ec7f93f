//! write(2) at the end of a file, and read(2) from its beginning: at the end of what there is, inotify(7) tells of more.

use std::fs::{self, File};
use std::hint::spin_loop;
use std::io::{self, Read, Write};

use common::{Context, IoBuffer, Receiver, Result, Sender};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::results::Wait;
use crate::source::Setup;

/// The writing end.
pub struct Appender(File);

/// The reading end.
pub struct Follower {
    file: File,
    changes: Inotify,
    wait: Wait,
    buffer: IoBuffer,
}

/// A file in the private folder.
pub fn file(setup: &Setup<'_>) -> Result<(Appender, Follower)> {
    let path = setup.dir.join("twin-file");
    let make = || -> io::Result<_> {
        let to = File::options().append(true).create_new(true).open(&path)?;
        let file = File::open(&path)?;
        let changes = Inotify::init(InitFlags::IN_CLOEXEC)?;
        changes.add_watch(&path, AddWatchFlags::IN_MODIFY)?;
        fs::remove_file(&path)?;
        Ok((Appender(to), Follower { file, changes, wait: setup.wait, buffer: IoBuffer::new(setup.size) }))
    };
    make().doing("open")
}

impl Sender for Appender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.0.write_all(message).doing("write")
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Follower {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let mut len = 0;
        while len < self.buffer.len() {
            match self.file.read(&mut self.buffer[len..]).doing("read")? {
                0 if self.wait == Wait::Spin => spin_loop(),
                0 => drop(self.changes.read_events().doing("read inotify")?),
                more => len += more,
            }
        }
        Ok(Some(&self.buffer))
    }
}
