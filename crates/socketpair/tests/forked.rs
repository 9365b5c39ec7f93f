//! The two halves of a pair in two processes that fork(2) has made of one, without exec(2).

use common::{Args, Receiver, Result, Sender, Technique};
use harness::forked::{self, Halves};
use socketpair::socketpair::Socket;

struct Socketpair;

impl Halves for Socketpair {
    type Half = Socket;

    const TECHNIQUE: Technique = socketpair::TECHNIQUE;

    fn pair() -> Result<(Socket, Socket)> {
        socketpair::pair()
    }

    fn sender_of(args: &Args, half: Socket) -> Result<impl Sender> {
        socketpair::sender_of(args, half)
    }

    fn receiver_of(args: &Args, half: Socket) -> Result<impl Receiver> {
        socketpair::receiver_of(args, half)
    }
}

fn main() {
    forked::main::<Socketpair>()
}
