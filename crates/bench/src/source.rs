//! What can be measured: a technique (crate catalog), its bare twin (`twins/`), or a library of somebody else's
//! (`peers/`). Each makes channels for the same loops (`worker.rs`).

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use common::{Delivery, Endpoint, Receiver, Result, Sender, Technique, WhenFull};

use crate::peers;
use crate::processes::{self, Failure};
use crate::results::{self, Kind, Round, Source, Status, Wait};
use crate::twins;
use crate::worker::{self, Job, Traits};
use catalog::Ends;

/// What channels are made for.
pub struct Maker<'a> {
    /// A private folder.
    pub dir: &'a Path,
    /// Tells this run's endpoints apart.
    pub number: Cell<u32>,
}

/// What a channel of a twin or a peer is made for.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Bytes in every message.
    pub size: usize,
    /// What its ends do while they wait.
    pub wait: Wait,
    /// A private folder for names in the file system.
    pub dir: &'a Path,
    /// What the process that made the channel has to do after the measurement.
    pub undo: &'a RefCell<Vec<Box<dyn FnOnce()>>>,
}

/// Something to do with a twin or a peer that is known by its name only.
pub trait Work {
    /// What comes of it.
    type Output;

    /// Does it. `channel` prepares a channel in the process that will fork; of the two functions that it returns one
    /// process calls the first, to send, and the other process the second. Either may wait for the other process.
    fn run<S: Sender, R: Receiver, ToSend: FnOnce() -> Result<S>, ToReceive: FnOnce() -> Result<R>>(
        self,
        channel: impl Fn(&Setup<'_>) -> Result<(ToSend, ToReceive)>,
    ) -> Self::Output;
}

/// The technique of this name.
pub fn technique(name: &str) -> Option<&'static Technique> {
    catalog::TECHNIQUES.iter().copied().find(|technique| technique.name == name)
}

/// Why a source cannot carry messages of `size` bytes, or wait in this way.
pub fn refusal(source: &Source, measure: results::Measure, size: usize, wait: Wait) -> Option<Status> {
    if let Some(peer) = peers::PEERS.iter().find(|peer| source.kind == Kind::Peer && peer.name == source.name) {
        return match () {
            () if size > peer.max_message => Some(too_long(peer.max_message)),
            () if !peer.waits.contains(&wait) => Some(Status::Skipped(format!("cannot {wait}"))),
            () => None,
        };
    }
    let technique = technique(&source.name)?;
    if size > technique.max_message {
        return Some(too_long(technique.max_message));
    }
    // One that does not count, one that does, and one that is the last.
    let least = match measure {
        results::Measure::Throughput => 3 * size,
        results::Measure::RoundTrip => 6 * size,
    };
    if technique.payload_limit.is_some_and(|limit| least > limit) {
        return Some(Status::Skipped("nobody would wait for it".to_owned()));
    }
    // A twin is measured beside its technique, not alone.
    let spins = technique.options.iter().any(|option| option.name == "spin");
    (wait == Wait::Spin && !spins).then(|| Status::Skipped("cannot spin".to_owned()))
}

fn too_long(max: usize) -> Status {
    Status::Skipped(format!("a message has at most {max} bytes"))
}

/// How many messages of `size` bytes one measurement may send: what a channel keeps must not fill the disk.
pub fn most(source: &Source, size: usize) -> u64 {
    const ROOM: u64 = 256 << 20;
    match technique(&source.name) {
        Some(technique) if technique.when_full == WhenFull::Grows => (ROOM / size as u64).max(2),
        _ => u64::MAX,
    }
}

/// Does one measurement.
///
/// # Errors
/// As [`worker::measure`].
pub fn measure(source: &Source, wait: Wait, job: Job, maker: &Maker<'_>) -> Result<Round, Failure> {
    let what = Measure { technique: technique(&source.name), wait, job, maker };
    let done = match source.kind {
        Kind::Technique => catalog::with(&source.name, what),
        Kind::Twin => twins::with(&source.name, what),
        Kind::Peer => peers::with(&source.name, what),
    };
    done.unwrap_or_else(|| Err(Failure::failed(format!("there is no {} {}", source.kind, source.name))))
}

struct Measure<'a> {
    technique: Option<&'static Technique>,
    wait: Wait,
    job: Job,
    maker: &'a Maker<'a>,
}

impl catalog::Job for Measure<'_> {
    type Output = Result<Round, Failure>;

    fn run<S: Sender, R: Receiver, ToSend: FnOnce() -> Result<S>, ToReceive: FnOnce() -> Result<R>>(
        self,
        technique: &'static Technique,
        channel: impl Fn(&Ends) -> Result<(ToSend, ToReceive)>,
    ) -> Self::Output {
        let used = RefCell::new(Vec::new());
        let private = || {
            let number = self.maker.number.replace(self.maker.number.get() + 1);
            let mut ends = Ends::private(technique, self.maker.dir, number);
            if self.wait == Wait::Spin {
                for args in [&mut ends.sender, &mut ends.receiver] {
                    args.set_extra("spin", "");
                }
            }
            let made = channel(&ends);
            used.borrow_mut().push(ends);
            made
        };
        let job = Job { traits: traits(technique), ..self.job };
        let measured = self.measure(job, Answers::of(technique.name), private);
        if measured.is_err() && technique.endpoint != Endpoint::Inherited {
            for ends in used.take() {
                tidy(|| channel(&ends).map(|(_, to_receive)| to_receive));
            }
        }
        measured
    }
}

impl Measure<'_> {
    /// Measures with channels of one kind, and with a pipe for the answers where it must be.
    fn measure<S: Sender, R: Receiver, ToSend: FnOnce() -> Result<S>, ToReceive: FnOnce() -> Result<R>>(
        &self,
        job: Job,
        answers: Answers,
        channel: impl Fn() -> Result<(ToSend, ToReceive)>,
    ) -> Result<Round, Failure> {
        let undo = RefCell::default();
        match answers {
            Answers::Alike | Answers::InTurn => worker::measure(job, &channel, &channel),
            Answers::ByPipe => worker::measure(job, &channel, || {
                let (sender, receiver) = twins::stream::pipe(&self.setup(&undo))?;
                Ok((move || Ok(sender), move || Ok(receiver)))
            }),
        }
    }

    fn setup<'a>(&'a self, undo: &'a RefCell<Vec<Box<dyn FnOnce()>>>) -> Setup<'a> {
        Setup { size: self.job.form.size(), wait: self.wait, dir: self.maker.dir, undo }
    }
}

/// A process that was killed may have left something behind. The next receiver at the same place takes over what
/// is there, and removes it when it ends, which it does at once.
fn tidy<R: Receiver, ToReceive: FnOnce() -> Result<R>>(channel: impl Fn() -> Result<ToReceive>) {
    let come_and_go = || {
        drop(channel().and_then(|to_receive| to_receive()));
        Ok(())
    };
    let _ = processes::run([None; 2], Duration::from_secs(2), come_and_go, || Ok(()));
}

fn traits(technique: &Technique) -> Traits {
    Traits {
        may_lose: technique.delivery == Delivery::BestEffort,
        says_end: true,
        takes_turns: Answers::of(technique.name) == Answers::InTurn,
    }
}

/// How the answers of a round trip come back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// Through another channel of the same kind.
    Alike,
    /// So too, but standard signals merge, so two channels of them between the same two processes are in each
    /// other's way.
    InTurn,
    /// Through a pipe: all realtime signals to a process come to the same place, so that of two channels one would
    /// take what is meant for the other.
    ByPipe,
}

impl Answers {
    fn of(name: &str) -> Answers {
        match name {
            "signal" => Answers::InTurn,
            "rt-signal" => Answers::ByPipe,
            _ => Answers::Alike,
        }
    }
}

/// What is special about a row.
pub fn note(source: &Source, measure: results::Measure) -> Option<&'static str> {
    if source.kind != Kind::Technique || measure != results::Measure::RoundTrip {
        return None;
    }
    match Answers::of(&source.name) {
        Answers::Alike => None,
        Answers::InTurn => {
            Some("each end sends only after the other end's send has returned, for the signals would merge")
        }
        Answers::ByPipe => Some("the answers come through a pipe, for two channels would take each other's signals"),
    }
}

impl Work for Measure<'_> {
    type Output = Result<Round, Failure>;

    fn run<S: Sender, R: Receiver, ToSend: FnOnce() -> Result<S>, ToReceive: FnOnce() -> Result<R>>(
        self,
        channel: impl Fn(&Setup<'_>) -> Result<(ToSend, ToReceive)>,
    ) -> Self::Output {
        let undo = RefCell::default();
        let traits = self.technique.map(|technique| Traits { says_end: false, ..traits(technique) });
        let job = Job { traits: traits.unwrap_or_default(), ..self.job };
        let answers = self.technique.map_or(Answers::Alike, |technique| Answers::of(technique.name));
        let measured = self.measure(job, answers, || channel(&self.setup(&undo)));
        for undo in undo.take() {
            undo();
        }
        measured
    }
}
