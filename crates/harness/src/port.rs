//! What holds of each pair that meets at an address and a port, whatever the protocol is.
#![expect(unsafe_code, reason = "ioctl(2) that sets an interface up has no wrapper")]

use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{process, thread};

use nix::sched::{CloneFlags, unshare};

use crate::Signal;
use crate::pid::signal;
use crate::program::{command, ended, ready, run, said, text};

/// An address that nobody has, below the ports that the kernel gives away.
pub fn nobody_there(number: u16) -> String {
    format!("127.0.0.1:{}", 12_000 + (process::id() % 500) as u16 * 16 + number)
}

/// Two senders, two receivers one after the other: each sender is served or waits, and none talks to nobody.
pub fn a_second_sender_waits_for_the_next_receiver(sender: &str, receiver: &str, endpoint: &str) {
    for _ in 0..5 {
        let senders = ["one", "two"].map(|word| command(sender, endpoint).arg(word).spawn().unwrap());
        let mut words = [(); 2].map(|()| text(&run(receiver, endpoint, &["--quiet"]).success().get_output().stdout));
        words.sort();
        assert_eq!(words, ["one\n", "two\n"]);
        assert!(senders.map(|sender| ended(sender).0) == [Some(0); 2]);
    }
}

/// A sender tells that it waits, and then does what it is told.
pub fn an_interrupt_ends_the_wait_for_a_receiver(sender: &str, endpoint: &str) {
    let mut child = command(sender, endpoint).arg("hello").spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let name = Path::new(sender).file_name().unwrap().display();
    assert_eq!(line, format!("{name}: waiting for a receiver at {endpoint}\n"));
    let started = Instant::now();
    signal(child.id(), Signal::INT);
    assert_eq!(ended(child).0, Some(130));
    assert!(started.elapsed() < Duration::from_millis(500));
}

/// Alone, each end gives up in time. Returns what the receiver says.
pub fn nobody_comes_in_time(sender: &str, receiver: &str, endpoint: &str) -> String {
    let complaint = said(&run(sender, endpoint, &["--timeout", "0.3", "hello"]).code(4));
    let expected = format!("no receiver came to {endpoint}: nothing happened for 0.3 s");
    assert!(complaint.contains(&expected), "{complaint}");
    said(&run(receiver, endpoint, &["--timeout", "0.3"]).code(4))
}

/// A receiver that is bound to one name of this machine is reached by another, or the same.
pub fn a_receiver_is_reached(sender: &str, receiver: &str, bound: &str, host: &str) {
    let (receiver, endpoint) = ready(command(receiver, format!("{bound}:0")).spawn().unwrap());
    let port = endpoint.rsplit_once(':').unwrap().1;
    run(sender, format!("{host}:{port}"), &["hello"]).success();
    assert_eq!(ended(receiver).1, b"hello\n");
}

/// What cannot be an address at all is found by its form, what cannot be one of this machine or of any by asking.
pub fn addresses_are_checked(sender: &str, receiver: &str) {
    for bad in ["", "1.2.3.4", ":80", "127.0.0.1:70000", "::1:80", "a b:80", "host:+1", "[::1]", "127.0.0.1:x"] {
        for program in [sender, receiver] {
            run(program, bad, &[]).code(2);
        }
    }
    run(sender, "127.0.0.1:0", &["hello"]).code(2);
    let complaint = said(&run(receiver, "192.0.2.1:20000", &[]).code(1));
    assert!(complaint.contains("it is not an address of this machine"), "{complaint}");
    let complaint = said(&run(sender, "no-such-host.invalid:20000", &["hello"]).code(1));
    assert!(complaint.contains("look up no-such-host.invalid:20000"), "{complaint}");
}

/// Runs a test in a network of its own, whose only interface is the loopback one, with a second address that is not 127.x.x.x.
/// It needs root.
pub fn in_a_network_with_two_addresses(test: impl FnOnce(Ipv4Addr) + Send) {
    let address = Ipv4Addr::new(192, 0, 2, 77);
    let run = move || {
        // Of this thread alone, and of the processes that it starts.
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let up = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        interface(&socket, libc::SIOCSIFFLAGS, "lo", libc::__c_anonymous_ifr_ifru { ifru_flags: up });
        let family = libc::AF_INET as libc::sa_family_t;
        let mut ifru_addr = libc::sockaddr { sa_family: family, sa_data: [0; 14] };
        for (to, from) in ifru_addr.sa_data[2..6].iter_mut().zip(address.octets()) {
            *to = from.cast_signed();
        }
        interface(&socket, libc::SIOCSIFADDR, "lo:1", libc::__c_anonymous_ifr_ifru { ifru_addr });
        test(address);
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| resume_unwind(panic));
}

/// Changes a network interface (netdevice(7)).
fn interface(socket: &UdpSocket, what: libc::Ioctl, name: &str, value: libc::__c_anonymous_ifr_ifru) {
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: value };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the descriptor is open, and `request` is what these two requests take.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw const request) };
    assert_eq!(result, 0, "{name}: {}", io::Error::last_os_error());
}
