//! Listens at a Unix domain stream socket and prints what comes. Its partner is `unix-stream-sender`; either may
//! be started first.

use std::process::ExitCode;

use common::{Output, Receiver, Role};

fn main() -> ExitCode {
    common::program(&unix_stream::TECHNIQUE, Role::Receiver, |args| {
        let mut output = Output::open(args)?;
        let mut receiver = unix_stream::receiver(args)?;
        while let Some(message) = receiver.recv()? {
            output.write(message)?;
        }
        output.finish()
    })
}
