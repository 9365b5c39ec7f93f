//! Appends messages to a file. Its partner is `file-receiver`; either may be started first.

use std::process::ExitCode;

use common::{Input, Role, Sender};

fn main() -> ExitCode {
    common::program(&file::TECHNIQUE, Role::Sender, |args| {
        let mut input = Input::open(args)?;
        let mut sender = file::sender(args)?;
        while let Some(message) = input.next()? {
            sender.send(message)?;
        }
        sender.finish()
    })
}
