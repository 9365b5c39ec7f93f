//! Sends messages by two signals, bit by bit. Its partner is `signal-receiver`; either may be started first.

use std::process::ExitCode;

use common::{Input, Role, Sender};

fn main() -> ExitCode {
    common::program(&signal::TECHNIQUE, Role::Sender, |args| {
        let mut input = Input::open(args)?;
        let mut sender = signal::sender(args)?;
        while let Some(message) = input.next()? {
            sender.send(message)?;
        }
        sender.finish()
    })
}
