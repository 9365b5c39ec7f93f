//! `ipc-channel`, by Servo: its channel of bytes, over sequenced-packet sockets of the Unix domain.

use std::io;

use common::{Context, Error, Receiver, Result, Sender};
use ipc_channel::ipc::{IpcBytesReceiver, IpcBytesSender, bytes_channel};

use crate::source::Setup;

/// The sending end.
pub struct Tx(IpcBytesSender);

/// The receiving end.
pub struct Rx {
    receiver: IpcBytesReceiver,
    /// The library returns each message in memory of its own.
    message: Vec<u8>,
}

/// Both ends are made before the fork(2), which the library's sockets come through.
pub fn channel(
    _setup: &Setup<'_>,
) -> Result<(impl FnOnce() -> Result<Tx> + use<>, impl FnOnce() -> Result<Rx> + use<>)> {
    let (sender, receiver) = bytes_channel().doing("bytes_channel")?;
    Ok((move || Ok(Tx(sender)), move || Ok(Rx { receiver, message: Vec::new() })))
}

impl Sender for Tx {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        self.0.send(message).doing("IpcBytesSender::send")
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Rx {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        self.message = self.receiver.recv().map_err(|error| Error::System {
            doing: "IpcBytesReceiver::recv".to_owned(),
            source: io::Error::other(error.to_string()),
            hint: None,
        })?;
        Ok(Some(&self.message))
    }
}
