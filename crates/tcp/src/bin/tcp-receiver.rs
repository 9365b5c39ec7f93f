//! Listens at a TCP port and prints what comes through it. Its partner is `tcp-sender`; either may be started first.

use std::process::ExitCode;

use common::{Output, Receiver, Role};

fn main() -> ExitCode {
    common::program(&tcp::TECHNIQUE, Role::Receiver, |args| {
        let mut output = Output::open(args)?;
        let mut receiver = tcp::receiver(args)?;
        while let Some(message) = receiver.recv()? {
            output.write(message)?;
        }
        output.finish()
    })
}
