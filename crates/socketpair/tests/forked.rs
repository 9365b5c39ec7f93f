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

#[test]
fn a_child_receives() {
    forked::a_child_receives::<Socketpair>();
}

#[test]
fn a_child_sends() {
    forked::a_child_sends::<Socketpair>();
}

#[test]
fn a_sender_that_is_killed_is_told_of() {
    forked::a_sender_that_is_killed_is_told_of::<Socketpair>();
}

#[test]
fn a_receiver_that_is_killed_is_told_of() {
    forked::a_receiver_that_is_killed_is_told_of::<Socketpair>();
}

#[test]
fn a_sender_that_is_dropped_has_not_finished() {
    forked::a_sender_that_is_dropped_has_not_finished::<Socketpair>();
}

#[test]
fn a_receiver_that_is_dropped_takes_no_more() {
    forked::a_receiver_that_is_dropped_takes_no_more::<Socketpair>();
}
