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

#[test]
fn a_child_receives() {
    forked::a_child_receives::<Eventfd>();
}

#[test]
fn a_child_sends() {
    forked::a_child_sends::<Eventfd>();
}

#[test]
fn a_sender_that_is_killed_is_told_of() {
    forked::a_sender_that_is_killed_is_told_of::<Eventfd>();
}

#[test]
fn a_receiver_that_is_killed_is_told_of() {
    forked::a_receiver_that_is_killed_is_told_of::<Eventfd>();
}

#[test]
fn a_sender_that_is_dropped_has_not_finished() {
    forked::a_sender_that_is_dropped_has_not_finished::<Eventfd>();
}

#[test]
fn a_receiver_that_is_dropped_takes_no_more() {
    forked::a_receiver_that_is_dropped_takes_no_more::<Eventfd>();
}
