//! Sends messages through a Unix domain stream socket. Its partner is `unix-stream-receiver`; either may be
//! started first.

use std::process::ExitCode;

use common::{Input, Role, Sender};

fn main() -> ExitCode {
    common::program(&unix_stream::TECHNIQUE, Role::Sender, |args| {
        let mut input = Input::open(args)?;
        let mut sender = unix_stream::sender(args)?;
        while let Some(message) = input.next()? {
            sender.send(message)?;
        }
        sender.finish()
    })
}
