//! One end's tie to the other: the rendezvous, and waits that end when the peer dies or time is up.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use crate::cleanup::Cleanup;
use crate::error::reason;
use crate::rendezvous::{Attachment, Claim, sender_death, wait_for_exit, wait_for_hang_up};
use crate::search::{Search, runtime_folder};
use crate::watch::{Cause, Watch};
use crate::{Args, Context, Error, Result, Role, endpoint, pid_file};

/// What a technique's sender or receiver waits through. It lives as long as the conversation; dropping a
/// receiver's link removes the endpoint.
pub struct Link {
    watch: Watch,
    hold: Hold,
    args: Args,
    endpoint: String,
}

enum Hold {
    /// The kernel tells of the peer's death, and nobody needs to be found.
    Nothing,
    Receiver(Claim),
    Sender(Attachment),
}

impl Link {
    /// For mechanisms that find and watch their peer themselves (an inherited pipe, a TCP connection).
    ///
    /// # Errors
    /// [`Error::System`] where a thread cannot be started.
    pub fn bare(args: &Args) -> Result<Link> {
        let watch = Watch::new(args.timeout).doing("starting a thread")?;
        if let Some(death) = args.death.0.clone() {
            watch.peer_of_program(move || death()).doing("starting a thread")?;
        }
        Ok(Link { watch, hold: Hold::Nothing, args: args.clone(), endpoint: args.endpoint()? })
    }

    /// The receiver's end: owns the endpoint, creates its objects with `create` and says that it is ready.
    ///
    /// `create` must fail with `EEXIST` rather than use what exists already, and must not block. `remove`
    /// removes the objects by name, refusing what is not of the right kind or not this user's; it runs when
    /// the link is dropped, when a signal ends the program, and before `create` where a killed run left
    /// something.
    ///
    /// # Errors
    /// [`Error::System`] where another receiver has the endpoint, or something else exists there.
    pub fn claim<T>(
        args: &Args,
        create: impl Fn() -> io::Result<T>,
        remove: impl Fn() -> io::Result<()> + Send + 'static,
    ) -> Result<(Link, T)> {
        let mut link = Link::bare(args)?;
        let path = endpoint::lock_file(args)?;
        let in_runtime_dir = path.starts_with(endpoint::runtime_dir()?);
        let claim = loop {
            let _folder = in_runtime_dir.then(runtime_folder).transpose().map_err(explain)?;
            match Claim::take(&path, args.technique.name, args.endpoint.is_none(), &remove) {
                // Another pair has ended in between and removed the folder, which was empty.
                Err(error) if in_runtime_dir && error.kind() == io::ErrorKind::NotFound => {}
                other => break other,
            }
        };
        let mut claim = claim.doing(format!("take {}", link.endpoint)).map_err(explain)?;
        let undo = move || drop(remove());
        let (made, object) =
            Cleanup::create(|| Ok((create()?, undo))).doing(format!("create {}", link.endpoint)).map_err(explain)?;
        claim.keep(object);
        let changes = claim.changes(&path).doing("inotify").map_err(explain)?;
        claim.ready().doing(format!("lock {}", path.display()))?;
        link.watch.peer(&[claim.as_fd(), changes.as_fd()], sender_death).doing("starting a thread")?;
        link.hold = Hold::Receiver(claim);
        args.ready(&link.endpoint);
        Ok((link, made))
    }

    /// The receiver's end where it is found by its pid: the object is the pid file.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn claim_pid_file(args: &Args) -> Result<Link> {
        let path = PathBuf::from(args.endpoint()?);
        let remove = path.clone();
        let (link, ()) = Link::claim(args, || pid_file::create(&path), move || pid_file::remove(&remove))?;
        Ok(link)
    }

    /// The sender's end: waits until a receiver is ready.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where none came in time.
    pub fn attach(args: &Args) -> Result<Link> {
        let mut link = Link::bare(args)?;
        let path = endpoint::lock_file(args)?;
        let in_runtime_dir = path.starts_with(endpoint::runtime_dir()?);
        let mut search = Search::new(&path, in_runtime_dir);
        // One wait, however often something stirs in the folder.
        let attachment = link.wait("no receiver came to", || match search.look(|| link.say_that_it_waits()) {
            Ok(Some(attachment)) => Ok(Ok(attachment)),
            Ok(None) => Err(io::ErrorKind::Interrupted.into()),
            Err(error) => Ok(Err(error)),
        })??;
        let receiver = attachment.receiver.as_fd();
        link.watch.peer(&[receiver], |own| wait_for_exit(&own[0])).doing("starting a thread")?;
        link.hold = Hold::Sender(attachment);
        Ok(link)
    }

    /// For a mechanism that finds its peer itself and does not tell of its death: `line` is an end of a pipe or stream
    /// socket whose other end the peer alone has, so that it hangs up when the peer dies.
    ///
    /// # Errors
    /// [`Error::System`] where a thread cannot be started.
    pub fn watch_peer(&self, line: impl AsFd) -> Result<()> {
        self.watch.peer(&[line.as_fd()], |own| wait_for_hang_up(&own[0])).doing("starting a thread")
    }

    /// The endpoint, as a person writes it.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    #[inline]
    pub(crate) fn max_message(&self) -> usize {
        self.args.technique.max_message
    }

    /// The process at the other end, for the sender that has attached to it.
    pub fn receiver_pid(&self) -> Option<i32> {
        match &self.hold {
            Hold::Sender(attachment) => Some(attachment.pid),
            _ => None,
        }
    }

    /// For the sender that has attached: the receiver's pid and a pidfd of it.
    ///
    /// # Errors
    /// [`Error::System`] where descriptors have run out.
    pub fn receiver(&self) -> Result<(i32, OwnedFd)> {
        match &self.hold {
            Hold::Sender(attachment) => Ok((attachment.pid, attachment.receiver.try_clone().doing("dup")?)),
            _ => Err(io::Error::from(io::ErrorKind::NotConnected)).doing("pidfd_open"),
        }
    }

    /// For the receiver: what finds the sender that has attached, its pid and, unless it has ended already, a pidfd
    /// of it.
    pub fn find_sender(&self) -> impl Fn() -> io::Result<Option<(i32, Option<OwnedFd>)>> + Send + use<> {
        let find = match &self.hold {
            Hold::Receiver(claim) => Some(claim.sender()),
            _ => None,
        };
        move || find.as_ref().map_or(Ok(None), |find| find())
    }

    /// What else it takes to end a wait, for a library that hides EINTR. It may run more than once, in a thread of its
    /// own, which gets a duplicate of `descriptor`.
    ///
    /// # Errors
    /// [`Error::System`] where a thread cannot be started.
    pub fn on_stop(&self, descriptor: impl AsFd, action: impl Fn(&OwnedFd) + Send + 'static) -> Result<()> {
        self.watch.on_stop(descriptor.as_fd(), action).doing("starting a thread")
    }

    /// Runs one blocking call of a mechanism, again after each interruption, until it succeeds, fails, the
    /// peer is gone or time is up. `call` names it for the error.
    ///
    /// A receiver is told of its sender's death only by a call that began after the death and found
    /// nothing: what a dead sender handed over is never lost. A sender hears of its receiver's death before
    /// the first try, for a channel with room would take what nobody is there to read.
    ///
    /// # Errors
    /// [`Error::PeerGone`], [`Error::TimedOut`], and [`Error::System`] for what the call itself says.
    #[inline]
    pub fn wait<T>(&self, call: &str, mut op: impl FnMut() -> io::Result<T>) -> Result<T> {
        // Asked once only: what ends a later try may be a receiver's answer, given before it ended well.
        if self.args.role == Role::Sender && self.watch.cause() == Some(Cause::PeerGone) {
            return Err(self.gone(call, None));
        }
        self.watch.begin_wait();
        let result = loop {
            let cause = self.watch.cause();
            match op() {
                Ok(value) => break Ok(value),
                Err(error) if is_interruption(&error) => match cause {
                    Some(cause) => break Err(self.stopped(call, cause)),
                    None => continue,
                },
                Err(error) => break Err(self.failed(call, error)),
            }
        };
        self.watch.end_wait();
        result
    }

    /// Hands over a message for which there may not be room at once: `put` takes as much of it as there is room for and says
    /// how many bytes. Each time is a wait of its own.
    ///
    /// # Errors
    /// [`Error::TooLong`] above the technique's `max_message`; else as [`wait`](Self::wait).
    #[inline]
    pub fn put(&self, call: &str, message: &[u8], mut put: impl FnMut(&[u8]) -> io::Result<usize>) -> Result<()> {
        let max = self.max_message();
        if message.len() > max {
            return Err(Error::too_long(message.len(), max));
        }
        let mut rest = message;
        loop {
            let len = self.wait(call, || put(rest))?;
            rest = &rest[len..];
            // An empty message is put, too.
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// The error for an end of the conversation that was not announced.
    #[cold]
    pub fn gone(&self, call: &str, error: Option<&io::Error>) -> Error {
        let why = error.map_or(String::new(), |error| format!(" {}:", reason(error)));
        let what = match self.args.role {
            Role::Sender => "the receiver ended before it had taken everything",
            Role::Receiver => "the sender ended without finishing",
        };
        Error::PeerGone(format!("{}:{why} {what}", self.place(call)))
    }

    #[cold]
    fn stopped(&self, call: &str, cause: Cause) -> Error {
        match (cause, self.args.timeout) {
            (Cause::TimedOut, Some(after)) => Error::TimedOut { doing: self.place(call), after },
            _ => self.gone(call, None),
        }
    }

    #[cold]
    fn failed(&self, call: &str, error: io::Error) -> Error {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, NotFound, TimedOut, UnexpectedEof,
        };
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => self.gone(call, Some(&error)),
            // For a datagram socket: nobody is at that address any more.
            ConnectionRefused => self.gone(call, Some(&error)),
            // ETIMEDOUT is the network's own word for a peer that no longer answers.
            TimedOut => self.gone(call, Some(&error)),
            // What a sender has attached to is there for as long as its receiver.
            NotFound if matches!(self.hold, Hold::Sender(_)) => self.gone(call, Some(&error)),
            // System V objects do not live on for those who use them, as a removed file does. Who has removed it, nothing
            // tells.
            _ if error.raw_os_error() == Some(libc::EIDRM) && matches!(self.hold, Hold::Sender(_)) => {
                let why = "the receiver has ended, or somebody has removed it, as ipcrm(1) does";
                Error::PeerGone(format!("{}: {}: {why}", self.place(call), reason(&error)))
            }
            _ => {
                let hint = match error.raw_os_error() {
                    Some(libc::EFBIG) => Some("see ulimit -f".to_owned()),
                    Some(libc::ENOSPC) => Some(FULL.to_owned()),
                    Some(libc::EIDRM) => Some("somebody has removed it, as ipcrm(1) does".to_owned()),
                    _ => None,
                };
                Error::System { doing: self.place(call), source: error, hint }
            }
        }
    }

    fn say_that_it_waits(&self) {
        self.args.narrate(&format!("waiting for a receiver at {}", self.endpoint));
    }

    fn place(&self, call: &str) -> String {
        if self.endpoint.is_empty() { call.to_owned() } else { format!("{call} {}", self.endpoint) }
    }
}

fn is_interruption(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

const FULL: &str = "the file system is full; see df";

/// What to do about the errors that a beginner meets first.
pub(crate) fn explain(error: Error) -> Error {
    let Error::System { source, .. } = &error else { return error };
    let hint = match source.raw_os_error() {
        Some(libc::EADDRINUSE) => "another receiver is serving it; choose another --endpoint",
        Some(libc::EEXIST) => "it is not of our making; remove it or choose another --endpoint",
        Some(libc::EPERM | libc::EACCES | libc::ELOOP) => "it is not this user's own; choose another --endpoint",
        Some(libc::ENOENT | libc::ENOTDIR) => "the folder does not exist",
        Some(libc::ENOSPC) => FULL,
        Some(libc::EMFILE) => "too many are open; see ulimit -n and /proc/sys/fs/inotify",
        _ => return error,
    };
    error.with_hint(hint)
}

impl Args {
    /// Says that senders may come. It is printed even with `--quiet`'s narration off only by programs.
    pub fn ready(&self, endpoint: &str) {
        self.narrate(&format!("ready {endpoint}"));
    }
}
