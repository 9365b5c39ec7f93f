//! One connection: requests come in, answers go out, and nothing here ever waits.
//!
//! The socket is not blocking. [`Connection::advance`] goes as far as it can and says what it needs next, so that a
//! child with one connection (`child.rs`) can wait with poll(2), and a worker with hundreds (`worker.rs`) with epoll(7).
//!
//! ```text
//! reading ──▶ writing ──▶ reading …           as long as both sides want the connection to last
//!    │           └──────▶ draining ──▶ closed
//!    └───────────────────────────────▶ closed
//! ```
//!
//! Manual pages: recv(2), send(2), sendfile(2), shutdown(2).

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::sendfile::sendfile;
use nix::sys::socket::{MsgFlags, send};

use crate::answer::answer;
use crate::reply::{Body, Reply, Status};
use crate::request::{self, LIMIT, Method, Parsed};
use crate::scoreboard::Account;
use crate::server::{Context, say};

/// Room for the head of a request at first: few are longer, and a child that touches little memory has few page faults.
const INPUT: usize = 1 << 10;
// It is doubled as long as it is too small.
const _: () = assert!((LIMIT / INPUT).is_power_of_two());

/// Bytes of a file that are sent before others have their turn.
const TURN: u64 = 1 << 20;
/// How long a client may take to notice that the connection is over.
const LINGER: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Bytes from the client.
    Read,
    /// Room for bytes to the client.
    Write,
    /// Nothing. It is over.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Reading,
    Writing,
    Draining,
}

/// A connection with a client.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    phase: Phase,
    deadline: Instant,
    /// What has come and has not been understood yet: `input[start..end]`. It grows up to [`LIMIT`].
    input: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of a request's body that are still to be thrown away.
    skip: u64,
    /// What is to be sent: `output[sent..]`, and then so many bytes of a file from an offset on.
    output: Vec<u8>,
    sent: usize,
    file: Option<(OwnedFd, libc::off_t, u64)>,
    /// Has the answer promised that another may follow?
    keep: bool,
    /// May there be something on the way from the client?
    linger: bool,
    /// The next answer to begin is the last.
    last: bool,
    log: Option<String>,
}

impl Connection {
    /// Takes a connected socket that does not block.
    pub fn new(stream: TcpStream, context: &Context) -> Connection {
        Connection {
            stream,
            phase: Phase::Reading,
            deadline: Instant::now() + context.timeout,
            input: vec![0; INPUT],
            start: 0,
            end: 0,
            skip: 0,
            output: Vec::with_capacity(512),
            sent: 0,
            file: None,
            keep: true,
            linger: false,
            last: false,
            log: None,
        }
    }

    /// When the client will have taken too long.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Is it between two requests?
    pub fn is_idle(&self) -> bool {
        self.phase == Phase::Reading && self.start == self.end
    }

    /// No more than one further answer shall begin.
    pub fn finish(&mut self) {
        self.last = true;
    }

    /// Goes on until the client has to do something. It reads from the socket once at most, so that a client that
    /// never stops cannot keep others from their turn.
    pub fn advance(&mut self, context: &Context, account: &Account) -> Next {
        let (mut may_read, mut turn) = (true, TURN);
        loop {
            let step = match self.phase {
                Phase::Reading => self.read(context, account, &mut may_read),
                Phase::Writing => self.write(context, account, &mut turn),
                Phase::Draining => self.drain(),
            };
            match step {
                Ok(None) => {}
                Ok(Some(next)) => return next,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.phase == Phase::Writing => {
                    return Next::Write;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Read,
                Err(_) => return Next::Close,
            }
        }
    }

    /// The deadline has passed. Is there still something to be said?
    pub fn expire(&mut self, context: &Context, account: &Account) -> bool {
        let unfinished = self.phase == Phase::Reading && !self.is_idle();
        if unfinished {
            self.refuse(Status::RequestTimeout, context, account);
        }
        unfinished
    }

    fn read(&mut self, context: &Context, account: &Account, may_read: &mut bool) -> io::Result<Option<Next>> {
        let skipped = self.skip.min((self.end - self.start) as u64);
        self.skip -= skipped;
        self.start += skipped as usize;
        if self.start < self.end {
            match request::parse(&self.input[self.start..self.end]) {
                Parsed::Partial => {}
                Parsed::Whole(request, len) => {
                    let reply = answer(&request, context, || self.stream.peer_addr().ok());
                    self.keep = request.keep_alive && !self.last;
                    self.linger = request.keep_alive || request.body > 0 || request.chunked;
                    self.skip = request.body;
                    self.log = context.verbose.then(|| log_line(request.verb, request.target, &self.stream));
                    let connection = match (self.keep, request.minor) {
                        (false, _) => Some("close"),
                        (true, 0) => Some("keep-alive"),
                        (true, _) => None,
                    };
                    let head_only = request.method == Method::Head;
                    self.start += len;
                    self.begin(reply, connection, head_only, account);
                    return Ok(None);
                }
                Parsed::Refused(status) => {
                    self.refuse(status, context, account);
                    return Ok(None);
                }
            }
        }
        if !*may_read {
            return Ok(Some(Next::Read));
        }
        *may_read = false;
        self.receive(context)
    }

    fn receive(&mut self, context: &Context) -> io::Result<Option<Next>> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.input.len() && self.start > 0 {
            self.input.copy_within(self.start.., 0);
            (self.start, self.end) = (0, self.end - self.start);
        } else if self.end == self.input.len() {
            self.input.resize(2 * self.end, 0);
        }
        let begins = self.is_idle() && self.skip == 0;
        match self.stream.read(&mut self.input[self.end..])? {
            0 => return Ok(Some(Next::Close)),
            count => self.end += count,
        }
        if begins {
            // From the first byte on, however slowly the others drip in.
            self.deadline = Instant::now() + context.timeout;
        }
        Ok(None)
    }

    fn refuse(&mut self, status: Status, context: &Context, account: &Account) {
        self.log = context.verbose.then(|| log_line("?", "?", &self.stream));
        (self.keep, self.linger, self.start, self.end) = (false, true, 0, 0);
        self.begin(Reply::plain(status), Some("close"), false, account);
    }

    fn begin(&mut self, reply: Reply, connection: Option<&str>, head_only: bool, account: &Account) {
        account.request();
        self.output.clear();
        self.sent = 0;
        reply.write_head(connection, &mut self.output);
        if let Some(log) = &mut self.log {
            log.push_str(&format!(" {}", reply.status as u16));
        }
        match reply.body {
            Body::Text(text) if !head_only => self.output.extend_from_slice(text.as_bytes()),
            Body::File { file, start, len } if !head_only && len > 0 => {
                self.file = Some((file, start as libc::off_t, len));
            }
            _ => {}
        }
        self.phase = Phase::Writing;
    }

    fn write(&mut self, context: &Context, account: &Account, turn: &mut u64) -> io::Result<Option<Next>> {
        let moved = if self.sent < self.output.len() {
            // Head and file shall share a packet: the kernel may wait for more before it sends.
            let more = if self.file.is_some() { libc::MSG_MORE } else { 0 };
            let flags = MsgFlags::from_bits_retain(more);
            let count = send(self.stream.as_raw_fd(), &self.output[self.sent..], flags)?;
            self.sent += count;
            count
        } else if let Some((file, offset, left)) = &mut self.file {
            let count = sendfile(&self.stream, &*file, Some(offset), (*left).min(*turn) as usize)?;
            if count == 0 {
                // The file has become shorter than was promised. Only a connection that breaks can tell.
                return Err(ErrorKind::UnexpectedEof.into());
            }
            *left -= count as u64;
            *turn -= count as u64;
            if *left == 0 {
                self.file = None;
            }
            count
        } else {
            return self.end_of_answer(context);
        };
        account.bytes(moved);
        self.deadline = Instant::now() + context.timeout;
        Ok((*turn == 0 && self.file.is_some()).then_some(Next::Write))
    }

    fn end_of_answer(&mut self, context: &Context) -> io::Result<Option<Next>> {
        if let Some(line) = self.log.take() {
            say(&line);
        }
        if self.keep {
            self.phase = Phase::Reading;
            self.deadline = Instant::now() + context.timeout;
            return Ok(self.is_idle().then_some(Next::Read));
        }
        if !self.linger {
            return Ok(Some(Next::Close));
        }
        // To close a socket that holds unread bytes resets the connection, and a reset overtakes the answer.
        self.stream.shutdown(Shutdown::Write)?;
        self.phase = Phase::Draining;
        self.deadline = Instant::now() + LINGER;
        Ok(None)
    }

    fn drain(&mut self) -> io::Result<Option<Next>> {
        let count = self.stream.read(&mut self.input[..])?;
        Ok(Some(if count == 0 { Next::Close } else { Next::Read }))
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn log_line(verb: &str, target: &str, stream: &TcpStream) -> String {
    let peer = stream.peer_addr().map_or_else(|_| "?".to_owned(), |peer: SocketAddr| peer.to_string());
    // Escaped: a target must not be able to write lines of its own, nor to speak to the terminal.
    format!("{peer} {verb} {}", target.escape_debug())
}
