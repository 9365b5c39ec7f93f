//! The two halves of a pair in two processes that fork(2) has made of one, without exec(2).

use common::{Args, Receiver, Result, Sender, Technique};
use eventfd::Half;
use harness::forked::{self, Halves};

struct Eventfd;

impl Halves for Eventfd {
    type Half = Half;

    const TECHNIQUE: Technique = eventfd::TECHNIQUE;

    fn pair() -> Result<(Half, Half)> {
        eventfd::pair()
    }

    fn sender_of(args: &Args, half: Half) -> Result<impl Sender> {
        eventfd::sender_of(args, half)
    }

    fn receiver_of(args: &Args, half: Half) -> Result<impl Receiver> {
        eventfd::receiver_of(args, half)
    }
}

fn main() {
    forked::main::<Eventfd>()
}
