//! How UDP keeps the contract, as far as it can be kept: every message has a number, so the receiver delivers each once
//! and in order and knows how many are missing. Before the first message the two have heard of each other, and after the
//! last one the sender asks until it is told how many have arrived. So both ends know what was lost, and say so.

use std::fs::File;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use caller::Caller;
use common::{
    Args, Carries, Chapter, Context, Delivery, Endpoint, Error, Extra, Lead, Link, Notices, Reach, Receiver, Result,
    Role, Sender, Technique, WhenFull,
};
use listener::{Heard, Listener};
use nix::errno::Errno;

pub mod caller;
pub mod group;
pub mod listener;
pub mod numbers;
pub mod peer_user;
pub mod udp;

const GROUP: Extra = Extra {
    name: "group",
    value: Some("ADDRESS"),
    role: Role::Receiver,
    help: "Join this multicast group, at the interface that has the endpoint's address",
};

/// The sender is given a moment whenever so many messages have been taken.
const LEAD: u32 = 8;
/// A moment at the longest. With longer ones it is faster still, but meanwhile the queue overflows more often.
const MOMENT: Duration = Duration::from_micros(3);

/// What UDP is and can do.
pub const TECHNIQUE: Technique = Technique {
    name: "udp",
    summary: "UDP: datagrams between two processes, on one machine or two, which may be lost",
    chapter: Chapter::Socket,
    kernel_object: "a socket with a queue of datagrams, found by an address and a port",
    carries: Carries::Messages,
    reach: Reach::Network,
    delivery: Delivery::BestEffort,
    notices: Notices::SenderOnly,
    when_full: WhenFull::Drops,
    max_message: udp::LONGEST - numbers::HEADER,
    payload_limit: None,
    endpoint: Endpoint::Address,
    options: &[
        GROUP,
        Extra { role: Role::Sender, help: "Send to this multicast group, through the endpoint's interface", ..GROUP },
        Extra::SPIN[0],
        Extra::SPIN[1],
    ],
};

/// Says hello to the receiver until it is welcome.
///
/// # Errors
/// [`Error::TimedOut`] where nobody answered in time; [`Error::System`] where no way leads there, or to another user's
/// process; [`Error::Unsupported`] for a group where there is no multicast.
pub fn sender(args: &Args) -> Result<impl Sender> {
    let first = random().doing("read /dev/urandom")?;
    let group = group(args)?;
    let mut args = args.clone();
    let callers = match group {
        Some((address, interface)) => {
            args.endpoint = Some(address.to_string());
            let socket = group::sender(interface).map_err(|error| failed(format!("bind {interface}"), group, error))?;
            vec![Caller::new(socket, Some(address.into()), first)]
        }
        None => {
            // A name may stand for addresses of a protocol that is not here.
            let (mut callers, mut failure) = (Vec::new(), Ok(()));
            for address in args.addresses()? {
                match udp::connect(address) {
                    Ok(socket) => callers.push(Caller::new(socket, None, first)),
                    Err(error) => failure = Err(error),
                }
            }
            if callers.is_empty() {
                failure.doing(format!("connect {}", args.endpoint()?))?;
            }
            callers
        }
    };
    let link = Link::bare(&args)?;
    let waits = || args.narrate(&format!("waiting for a receiver at {}", link.endpoint()));
    // The members of a group get the time to answer, all of them.
    let pause = if group.is_some() { LONGEST } else { SHORTEST };
    let mut search = Search { callers, turn: 0, pause, waited: false, possible: false, failure: Ok(()) };
    let found = link.wait("no receiver came to", || search.run(waits))?;
    let caller = found.map_err(|error| failed(format!("send {}", link.endpoint()), group, error))?;
    if args.spins() {
        caller.spin().doing("fcntl")?;
    }
    Ok(UdpSender { caller, link })
}

/// Between two questions that want an answer. 5 ms is not felt by a person, 200 ms costs no CPU.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(200);

struct Search {
    /// For each address that the endpoint names: `localhost` may be both 127.0.0.1 and ::1.
    callers: Vec<Caller>,
    turn: usize,
    pause: Duration,
    waited: bool,
    /// Somebody may yet answer at one of them.
    possible: bool,
    failure: io::Result<()>,
}

impl Search {
    /// Says hello at each address in turn until somebody says welcome, or until all of them fail for good. A timer is
    /// right here: nothing on a network tells that somebody listens now, and a hello may be lost.
    fn run(&mut self, first_pause: impl Fn()) -> io::Result<io::Result<Caller>> {
        use io::ErrorKind::{ConnectionRefused, Interrupted, WouldBlock};
        loop {
            match self.callers[self.turn].hello(self.pause) {
                Ok(()) => return Ok(Ok(self.callers.swap_remove(self.turn))),
                Err(error) if error.kind() == Interrupted => return Err(error),
                Err(error) if matches!(error.kind(), ConnectionRefused | WouldBlock) => self.possible = true,
                Err(error) => self.failure = Err(error),
            }
            self.turn = (self.turn + 1) % self.callers.len();
            if self.turn == 0 {
                if let (false, Err(error)) = (self.possible, std::mem::replace(&mut self.failure, Ok(()))) {
                    return Ok(Err(error));
                }
                if !self.waited {
                    first_pause();
                }
                self.waited = true;
                self.possible = false;
                self.pause = (self.pause * 2).min(LONGEST);
            }
        }
    }
}

struct UdpSender {
    caller: Caller,
    link: Link,
}

impl Sender for UdpSender {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() > TECHNIQUE.max_message {
            return Err(Error::too_long(message.len(), TECHNIQUE.max_message));
        }
        self.link.wait("send", || self.caller.message(message))
    }

    fn finish(mut self) -> Result<()> {
        let mut pause = SHORTEST;
        let arrived = self.link.wait("wait for the report from", || {
            let wait = pause;
            pause = (pause * 2).min(LONGEST);
            self.caller.end(wait)
        })?;
        complete(arrived, self.caller.sent(), 0)
    }
}

/// Binds the port; the first `recv` waits for the sender.
///
/// # Errors
/// [`Error::System`] where the port cannot be had; [`Error::Unsupported`] for a group where there is no multicast.
pub fn receiver(args: &Args) -> Result<impl Receiver> {
    let group = group(args)?;
    let bound = match group {
        Some((address, interface)) => {
            group::join(address, interface).and_then(|socket| Listener::member(socket, interface))
        }
        None => udp::bind(&args.addresses()?).map(Listener::new),
    };
    let at = group.map_or(args.endpoint()?, |(address, interface)| format!("{address} at {interface}"));
    let listener = bound.map_err(|error| failed(format!("bind {at}"), group, error))?;
    if args.spins() {
        listener.spin().doing("fcntl")?;
    }
    // Port 0 has become another one.
    let mut args = args.clone();
    args.endpoint = Some(listener.address().doing("getsockname")?.to_string());
    let link = Link::bare(&args)?;
    args.ready(link.endpoint());
    Ok(UdpReceiver { listener, lead: Lead::new(&args, LEAD, MOMENT), finished: false, link })
}

struct UdpReceiver {
    listener: Listener,
    lead: Lead,
    finished: bool,
    link: Link,
}

impl Receiver for UdpReceiver {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if self.finished {
            return Ok(None);
        }
        let hear = || self.link.wait("recv", || self.listener.hear());
        match self.lead.before(hear)? {
            Heard::Message(len) => Ok(Some(self.listener.message(len))),
            Heard::End(sent) => {
                self.finished = true;
                let tally = self.listener.tally();
                complete(tally.arrived(), sent, tally.late()).map(|()| None)
            }
        }
    }
}

/// Nothing is lost, or an error that says how much.
fn complete(arrived: u64, sent: u64, late: u64) -> Result<()> {
    match sent - arrived {
        0 => Ok(()),
        lost => {
            let hint = (late > 0).then(|| format!("{late} came twice or too late"));
            Err(Error::Lost { lost, of: sent, hint })
        }
    }
}

/// The address of `--group` with the endpoint's port, and the address of the endpoint's interface.
type Group = (SocketAddrV4, Ipv4Addr);

fn group(args: &Args) -> Result<Option<Group>> {
    let Some(text) = args.extra(GROUP.name) else { return Ok(None) };
    let refuse = |why| Err(Error::Usage(format!("--group {text}: {why}")));
    let Some(group) = text.parse().ok().filter(Ipv4Addr::is_multicast) else {
        return refuse("a group is an address from 224.0.0.0 to 239.255.255.255");
    };
    let ipv4 = |address: SocketAddr| match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    };
    match args.addresses()?.into_iter().find_map(ipv4) {
        Some(interface) => Ok(Some((SocketAddrV4::new(group, interface.port()), *interface.ip()))),
        None => refuse("the endpoint must be an IPv4 address of the interface to use"),
    }
}

fn failed(call: String, group: Option<Group>, error: io::Error) -> Error {
    let errno = Errno::from_raw(error.raw_os_error().unwrap_or(0));
    let nowhere = matches!(errno, Errno::ENODEV | Errno::EADDRNOTAVAIL | Errno::ENETUNREACH);
    if nowhere && group.is_some_and(|(_, interface)| interface.is_loopback()) {
        return Error::Unsupported(format!("no multicast on the loopback interface: {call}: {errno}"));
    }
    let hint = match errno {
        Errno::EADDRINUSE => Some("another receiver or program has this port; choose another --endpoint"),
        Errno::EADDRNOTAVAIL | Errno::ENODEV => Some("it is not an address of this machine"),
        Errno::EACCES => Some("ports below 1024 are for the system"),
        _ => None,
    };
    Error::System { doing: call, source: error, hint: hint.map(str::to_owned) }
}

/// A number that nobody can guess.
fn random() -> io::Result<u64> {
    let mut bytes = [0; size_of::<u64>()];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}
