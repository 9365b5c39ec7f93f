//! write(2) and read(2) on a byte stream.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;

use common::{Context, IoBuffer, Receiver, Result, Sender};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::results::Wait;
use crate::source::Setup;

/// The writing end.
pub struct Writer(File);

/// The reading end.
pub struct Reader {
    file: File,
    buffer: IoBuffer,
}

/// pipe(2).
pub fn pipe(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let (reader, writer) = io::pipe().doing("pipe")?;
    ends(setup, OwnedFd::from(writer), OwnedFd::from(reader)).doing("fcntl")
}

/// mkfifo(3).
pub fn fifo(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let path = setup.dir.join("twin-fifo");
    let open = || -> io::Result<_> {
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        // One process opens both ends, so the first one must not wait for the other.
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path)?;
        let writer = OpenOptions::new().write(true).open(&path)?;
        fs::remove_file(&path)?;
        ends(setup, writer.into(), reader.into())
    };
    open().doing("mkfifo")
}

/// Connected sockets of the Unix domain. How they were connected makes no difference to their messages.
pub fn unix_stream(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let (writer, reader) = UnixStream::pair().doing("socketpair")?;
    ends(setup, writer.into(), reader.into()).doing("fcntl")
}

/// A connection over the loopback device.
pub fn tcp(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let connect = || -> io::Result<_> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let writer = TcpStream::connect(listener.local_addr()?)?;
        let (reader, _) = listener.accept()?;
        // Without it a message waits until the last one has been acknowledged, in the hope of a fuller packet.
        writer.set_nodelay(true)?;
        ends(setup, writer.into(), reader.into())
    };
    connect().doing("connect")
}

fn ends(setup: &Setup<'_>, writer: OwnedFd, reader: OwnedFd) -> io::Result<(Writer, Reader)> {
    for fd in [&writer, &reader] {
        let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
        let flags = match setup.wait {
            Wait::Block => flags - OFlag::O_NONBLOCK,
            Wait::Spin => flags | OFlag::O_NONBLOCK,
        };
        fcntl(fd, FcntlArg::F_SETFL(flags))?;
    }
    Ok((Writer(writer.into()), Reader { file: reader.into(), buffer: IoBuffer::new(setup.size) }))
}

impl Sender for Writer {
    fn send(&mut self, mut message: &[u8]) -> Result<()> {
        while !message.is_empty() {
            match self.0.write(message) {
                Ok(len) => message = &message[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error).doing("write"),
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Reader {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let mut len = 0;
        while len < self.buffer.len() {
            match self.file.read(&mut self.buffer[len..]) {
                Ok(0) => return Ok(None),
                Ok(more) => len += more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
                Err(error) => return Err(error).doing("read"),
            }
        }
        Ok(Some(&self.buffer))
    }
}
