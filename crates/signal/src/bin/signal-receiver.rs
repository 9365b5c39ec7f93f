//! Prints what the sender says by two signals. Its partner is `signal-sender`; either may be started first.

use std::process::ExitCode;

use common::{Output, Receiver, Role};

fn main() -> ExitCode {
    common::program(&signal::TECHNIQUE, Role::Receiver, |args| {
        let mut output = Output::open(args)?;
        let mut receiver = signal::receiver(args)?;
        while let Some(message) = receiver.recv()? {
            output.write(message)?;
        }
        output.finish()
    })
}
