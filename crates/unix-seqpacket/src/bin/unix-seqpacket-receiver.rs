//! Listens at a Unix domain seqpacket socket and prints what comes. Its partner is `unix-seqpacket-sender`; either may
//! be started first.

use std::process::ExitCode;

use common::{Output, Receiver, Role};

fn main() -> ExitCode {
    common::program(&unix_seqpacket::TECHNIQUE, Role::Receiver, |args| {
        let mut output = Output::open(args)?;
        let mut receiver = unix_seqpacket::receiver(args)?;
        while let Some(message) = receiver.recv()? {
            output.write(message)?;
        }
        output.finish()
    })
}
