//! Makes a file and prints what is appended to it. Its partner is `file-sender`; either may be started first.

use std::process::ExitCode;

use common::{Output, Receiver, Role};

fn main() -> ExitCode {
    common::program(&file::TECHNIQUE, Role::Receiver, |args| {
        let mut output = Output::open(args)?;
        let mut receiver = file::receiver(args)?;
        while let Some(message) = receiver.recv()? {
            output.write(message)?;
        }
        output.finish()
    })
}
