//! Makes a pipe, starts `pipe-receiver` with one end of it, and sends messages through it.

use std::process::ExitCode;

use common::{Input, Role, Sender};

fn main() -> ExitCode {
    common::program(&pipe::TECHNIQUE, Role::Sender, |args| {
        let mut input = Input::open(args)?;
        let mut sender = pipe::sender(args)?;
        while let Some(message) = input.next()? {
            sender.send(message)?;
        }
        sender.finish()
    })
}
