//! Sends messages through a TCP connection. Its partner is `tcp-receiver`; either may be started first.

use std::process::ExitCode;

use common::{Input, Role, Sender};

fn main() -> ExitCode {
    common::program(&tcp::TECHNIQUE, Role::Sender, |args| {
        let mut input = Input::open(args)?;
        let mut sender = tcp::sender(args)?;
        while let Some(message) = input.next()? {
            sender.send(message)?;
        }
        sender.finish()
    })
}
