//! What the mechanism does by itself: datagrams and their loss, who hears whom, and the numbers that tell of it.

use std::io::{self, ErrorKind, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;
use std::{fs, thread};

use nix::sys::socket::sockopt::{RcvBuf, ReuseAddr};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind as bind_to, getsockopt, setsockopt, socket,
};
use udp::caller::Caller;
use udp::group;
use udp::listener::{Heard, Listener};
use udp::numbers::{HEADER, Kind, Tally, header, parse};
use udp::peer_user::{Peer, Protocol, listener_is_foreign, udp_peer};
use udp::udp::{LONGEST, bind, connect, put, take};

const WAIT: Duration = Duration::from_secs(5);

fn anywhere() -> (UdpSocket, SocketAddr) {
    let socket = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn put_bytes(socket: &UdpSocket, bytes: &[u8]) -> io::Result<()> {
    put(socket, None, &[IoSlice::new(bytes)])
}

fn taken(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; LONGEST];
    let (len, _) = take(socket, &mut buffer).unwrap();
    buffer[..len].to_vec()
}

#[test]
fn boundaries_are_kept() {
    let (receiver, address) = anywhere();
    let sender = connect(address).unwrap();
    put(&sender, None, &[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"two")]).unwrap();
    put_bytes(&sender, b"").unwrap();
    put_bytes(&sender, &[7; LONGEST]).unwrap();
    assert_eq!([taken(&receiver), taken(&receiver), taken(&receiver)], [&b"onetwo"[..], b"", &[7; LONGEST]]);
    let error = put_bytes(&sender, &[7; LONGEST + 1]).unwrap_err();
    assert_eq!(nix::Error::try_from(error).unwrap(), nix::Error::EMSGSIZE);
}

/// Every put succeeds, and most of it is gone. Only numbers tell which.
#[test]
fn a_full_queue_loses_without_a_word() {
    const SENT: u64 = 50_000;
    let (receiver, address) = anywhere();
    let sender = connect(address).unwrap();
    for number in 0..SENT {
        put_bytes(&sender, &header(Kind::Message, number)).unwrap();
    }
    receiver.set_nonblocking(true).unwrap();
    let mut tally = Tally::new(0);
    let mut buffer = [0; HEADER];
    while let Ok((len, _)) = take(&receiver, &mut buffer) {
        let (_, number) = parse(&buffer[..len]).unwrap();
        assert!(tally.take(number));
    }
    let lost = tally.sent(SENT).unwrap() - tally.arrived();
    assert!(tally.arrived() > 100 && lost > 1000, "{lost} lost, {} arrived", tally.arrived());
    // The queue kept the first ones, and so the loss shows only by the end.
    assert_eq!(tally.next(), tally.arrived());
}

/// Nobody is there: the first put succeeds, and the next one tells of it.
#[test]
fn the_refusal_comes_one_datagram_late() {
    let (receiver, address) = anywhere();
    drop(receiver);
    let sender = connect(address).unwrap();
    put_bytes(&sender, b"into the void").unwrap();
    assert_eq!(put_bytes(&sender, b"again").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // Without connect(2) nobody is told.
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..3 {
        put(&sender, Some(address), &[IoSlice::new(b"into the void")]).unwrap();
    }
}

#[test]
fn a_connected_socket_hears_one_sender_alone() {
    let (receiver, address) = anywhere();
    let (sender, stranger) = (connect(address).unwrap(), connect(address).unwrap());
    put_bytes(&stranger, b"early").unwrap();
    receiver.connect(sender.local_addr().unwrap()).unwrap();
    put_bytes(&stranger, b"late").unwrap();
    assert_eq!(put_bytes(&stranger, b"x").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    put_bytes(&sender, b"good").unwrap();
    // What was in the queue before is not taken out of it.
    let mut buffer = [0; 16];
    assert_eq!(take(&receiver, &mut buffer).unwrap(), (5, stranger.local_addr().unwrap()));
    assert_eq!(take(&receiver, &mut buffer).unwrap(), (4, sender.local_addr().unwrap()));
}

/// The kernel grants what net.core.rmem_max allows, and doubles it for what it keeps about each datagram.
#[test]
fn the_queue_is_as_long_as_allowed() {
    let (receiver, _) = anywhere();
    let allowed: usize = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    assert_eq!(getsockopt(&receiver, RcvBuf).unwrap(), 2 * allowed.min(4 << 20));
}

#[test]
fn a_port_is_not_shared() {
    let (_receiver, address) = anywhere();
    assert_eq!(bind(&[address]).unwrap_err().kind(), ErrorKind::AddrInUse);
}

/// What `bind` does without.
#[test]
fn with_so_reuseaddr_the_last_one_gets_everything() {
    let shared = |port| {
        let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None).unwrap();
        setsockopt(&fd, ReuseAddr, &true).unwrap();
        bind_to(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).unwrap();
        UdpSocket::from(fd)
    };
    let first = shared(0);
    let address = first.local_addr().unwrap();
    let thief = shared(address.port());
    put_bytes(&connect(address).unwrap(), b"x").unwrap();
    assert_eq!(taken(&thief), b"x");
    first.set_nonblocking(true).unwrap();
    assert_eq!(take(&first, &mut []).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_kernel_tells_whose_a_socket_is() {
    for place in ["127.0.0.1:0", "[::1]:0"] {
        // IPv6 may be missing.
        let Ok(receiver) = bind(&[place.parse().unwrap()]) else { continue };
        let here = receiver.local_addr().unwrap();
        assert!(!listener_is_foreign(Protocol::Udp, here).unwrap(), "{place}");
        let sender = connect(here).unwrap();
        let there = sender.local_addr().unwrap();
        assert_eq!(udp_peer(there, here).unwrap(), Peer::Own, "{place}");
        receiver.connect(there).unwrap();
        assert_eq!(udp_peer(here, there).unwrap(), Peer::Own, "{place}");
        drop(sender);
        assert_eq!(udp_peer(there, here).unwrap(), Peer::Gone, "{place}");
    }
}

#[test]
fn all_members_of_a_group_get_the_same() {
    let interface = Ipv4Addr::LOCALHOST;
    let join = |port| {
        let socket = group::join(SocketAddrV4::new(Ipv4Addr::new(239, 255, 7, 7), port), interface).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        socket
    };
    let first = join(0);
    let address = first.local_addr().unwrap();
    let second = join(address.port());
    let sender = group::sender(interface).unwrap();
    put(&sender, Some(address), &[IoSlice::new(b"to all")]).unwrap();
    assert_eq!([taken(&first), taken(&second)], [b"to all"; 2]);
    // Neither hears what is sent to the port but not to the group.
    put(&sender, Some((interface, address.port()).into()), &[IoSlice::new(b"not to the group")]).unwrap();
    put(&sender, Some(address), &[IoSlice::new(b"to all again")]).unwrap();
    assert_eq!([taken(&first), taken(&second)], [b"to all again"; 2]);
}

#[test]
fn headers_are_what_they_were() {
    for (kind, byte) in [(Kind::Message, 0), (Kind::End, 1), (Kind::Hello, 2), (Kind::Welcome, 3), (Kind::Report, 4)] {
        assert_eq!(header(kind, 0x0102_0304_0506_0708), [byte, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(parse(&header(kind, u64::MAX)), Some((kind, u64::MAX)));
    }
    let long = [&header(Kind::Message, 5)[..], b"hello"].concat();
    assert_eq!(parse(&long), Some((Kind::Message, 5)));
    let wrong: [&[u8]; 5] = [b"", b"\0", &[0; 8], &[5; 9], &[&header(Kind::End, 5)[..], b"x"].concat()];
    assert!(wrong.iter().all(|datagram| parse(datagram).is_none()));
}

/// Wherever the numbers begin, what is delivered is in order and once, and what is missing is counted.
#[test]
fn the_tally_is_right_whatever_the_network_does() {
    for first in [0, 1000, u64::MAX - 2, u64::MAX] {
        let mut tally = Tally::new(first);
        // Lost: 3. Too late: 1. Twice: 0 and 5.
        let came = [0, 0, 2, 1, 4, 5, 5, 6];
        let delivered: Vec<u64> = came.into_iter().filter(|at| tally.take(first.wrapping_add(*at))).collect();
        assert_eq!(delivered, [0, 2, 4, 5, 6]);
        assert_eq!((tally.arrived(), tally.late()), (5, 3));
        assert_eq!(tally.sent(first.wrapping_add(10)), Some(10), "the last three were lost");
        assert_eq!(tally.sent(first.wrapping_add(6)), None, "number 6 has arrived");
    }
}

/// A number that nobody could have told is not one of ours.
#[test]
fn guessed_numbers_are_not_taken() {
    let mut tally = Tally::new(1 << 63);
    for guess in [0, 1, (1 << 63) - 1, (1 << 63) + (1 << 32), u64::MAX] {
        assert!(!tally.take(guess), "{guess}");
        assert_eq!(tally.sent(guess), None, "{guess}");
    }
    assert!(tally.take(1 << 63));
}

#[test]
fn a_conversation() {
    converse(false);
}

#[test]
fn a_conversation_without_sleep() {
    converse(true);
}

fn converse(spins: bool) {
    let (socket, address) = anywhere();
    let mut listener = Listener::new(socket);
    let mut nothing = vec![ErrorKind::Interrupted];
    if spins {
        listener.spin().unwrap();
        assert_eq!(listener.hear().unwrap_err().kind(), ErrorKind::WouldBlock);
        nothing.push(ErrorKind::WouldBlock);
    }
    let sent = 200;
    let call = thread::spawn(move || {
        let mut caller = Caller::new(connect(address).unwrap(), None, 7);
        caller.hello(WAIT).unwrap();
        if spins {
            caller.spin().unwrap();
        }
        (0..sent).for_each(|number: u64| caller.message(number.to_string().as_bytes()).unwrap());
        (caller.end(WAIT).unwrap(), caller.sent())
    });
    let mut next = 0;
    loop {
        match listener.hear() {
            Ok(Heard::Message(len)) => {
                assert_eq!(listener.message(len), next.to_string().as_bytes());
                next += 1;
            }
            Ok(Heard::End(total)) => break assert_eq!((next, total), (sent, sent)),
            Err(error) => assert!(nothing.contains(&error.kind()), "{error}"),
        }
    }
    assert_eq!(call.join().unwrap(), (sent, sent));
}

#[test]
fn what_is_too_long_is_not_cut_but_lost() {
    // IPv6 may be missing.
    let Ok(socket) = bind(&["[::1]:0".parse().unwrap()]) else { return };
    let sender = connect(socket.local_addr().unwrap()).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    put_bytes(&sender, &header(Kind::Hello, 0)).unwrap();
    put(&sender, None, &[IoSlice::new(&header(Kind::Message, 0)), IoSlice::new(&[7; LONGEST - HEADER])]).unwrap();
    put(&sender, None, &[IoSlice::new(&header(Kind::Message, 1)), IoSlice::new(&[7; LONGEST - HEADER + 1])]).unwrap();
    put_bytes(&sender, &header(Kind::End, 2)).unwrap();
    let mut listener = Listener::new(socket);
    let heard: Vec<_> = (0..4).map(|_| listener.hear().map_err(|error| error.kind())).collect();
    let nothing = Err(ErrorKind::Interrupted);
    assert_eq!(heard, [nothing, Ok(Heard::Message(LONGEST - HEADER)), nothing, Ok(Heard::End(2))]);
    assert_eq!(listener.tally().arrived(), 1);
}

/// Says welcome to who says hello with the number 0, and something more.
fn welcoming(socket: UdpSocket, more: &'static [u8]) -> thread::JoinHandle<UdpSocket> {
    thread::spawn(move || {
        let mut buffer = [0; HEADER];
        let (_, from) = take(&socket, &mut buffer).unwrap();
        assert_eq!(parse(&buffer), Some((Kind::Hello, 0)));
        put(&socket, Some(from), &[IoSlice::new(&header(Kind::Welcome, 0))]).unwrap();
        put(&socket, Some(from), &[IoSlice::new(more)]).unwrap();
        socket
    })
}

/// The refusal of a question to who is gone comes before his answer, which has waited in the queue.
#[test]
fn who_has_answered_and_gone_is_told_from_who_has_not_answered() {
    for (more, expected) in [(&b"\x04\0\0\0\0\0\0\0\0"[..], Ok(0)), (b"", Err(ErrorKind::ConnectionRefused))] {
        let (socket, address) = anywhere();
        let mut caller = Caller::new(connect(address).unwrap(), None, 0);
        let answers = welcoming(socket, more);
        caller.hello(WAIT).unwrap();
        drop(answers.join().unwrap());
        assert_eq!(caller.end(Duration::from_millis(50)).map_err(|error| error.kind()), expected);
    }
}

#[test]
fn nobody_answers() {
    let (receiver, address) = anywhere();
    let mut caller = Caller::new(connect(address).unwrap(), None, 0);
    assert_eq!(caller.hello(Duration::from_millis(20)).unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(receiver);
    assert_eq!(caller.hello(Duration::from_millis(20)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
