//! `interprocess`: its local socket, a byte stream. Like a twin's, a message has the size that both ends know and no
//! frame, because the library has none.

use std::fs;
use std::io::{Read, Write};

use common::{Context, IoBuffer, Receiver, Result, Sender};
use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, Stream};

use crate::source::Setup;

/// The sending end.
pub struct Tx(Stream);

/// The receiving end.
pub struct Rx {
    stream: Stream,
    buffer: IoBuffer,
}

/// Both ends are connected before the fork(2): connect(2) does not wait for accept(2).
pub fn channel(
    setup: &Setup<'_>,
) -> Result<(impl FnOnce() -> Result<Tx> + use<>, impl FnOnce() -> Result<Rx> + use<>)> {
    let path = setup.dir.join("peer-socket");
    let name = path.as_path().to_fs_name::<GenericFilePath>().doing("to_fs_name")?;
    let listener = ListenerOptions::new().name(name.borrow()).create_sync().doing("ListenerOptions::create_sync")?;
    let connected = Stream::connect(name).and_then(|sender| Ok((sender, listener.accept()?)));
    drop(listener);
    // The listener has removed it, where all went well.
    let _ = fs::remove_file(&path);
    let (sender, stream) = connected.doing("Stream::connect")?;
    let buffer = IoBuffer::new(setup.size);
    Ok((move || Ok(Tx(sender)), move || Ok(Rx { stream, buffer })))
}

impl Sender for Tx {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.0.write_all(message).doing("Stream::write_all")
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Rx {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        self.stream.read_exact(&mut self.buffer).doing("Stream::read_exact")?;
        Ok(Some(&self.buffer))
    }
}
