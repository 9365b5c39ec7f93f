//! Sends messages through a Unix domain seqpacket socket. Its partner is `unix-seqpacket-receiver`; either may be
//! started first.

use std::process::ExitCode;

use common::{Input, Role, Sender};

fn main() -> ExitCode {
    common::program(&unix_seqpacket::TECHNIQUE, Role::Sender, |args| {
        let mut input = Input::open(args)?;
        let mut sender = unix_seqpacket::sender(args)?;
        while let Some(message) = input.next()? {
            sender.send(message)?;
        }
        sender.finish()
    })
}
