//! Prints what comes through the pipe that its partner, `pipe-sender`, has started it with.

use std::process::ExitCode;

use common::{Output, Receiver, Role};

fn main() -> ExitCode {
    common::program(&pipe::TECHNIQUE, Role::Receiver, |args| {
        let mut output = Output::open(args)?;
        let mut receiver = pipe::receiver(args)?;
        while let Some(message) = receiver.recv()? {
            output.write(message)?;
        }
        output.finish()
    })
}
