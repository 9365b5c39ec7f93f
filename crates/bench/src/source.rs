//! What can be measured: a technique, its bare twin, or a library of somebody else's. Each makes channels for the same
//! loops (`worker.rs`); this is where another kind of source is added.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use common::{Delivery, Endpoint, Receiver, Result, Sender, Technique, WhenFull};

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

/// The technique of this name.
pub fn technique(name: &str) -> Option<&'static Technique> {
    catalog::TECHNIQUES.iter().copied().find(|technique| technique.name == name)
}

/// Why a source cannot carry messages of `size` bytes, or wait in this way.
pub fn refusal(source: &Source, size: usize, wait: Wait) -> Option<Status> {
    let technique = technique(&source.name)?;
    if size > technique.max_message {
        return Some(Status::Skipped(format!("a message has at most {} bytes", technique.max_message)));
    }
    if technique.payload_limit.is_some_and(|limit| size > limit / 2) {
        return Some(Status::Skipped("nobody would wait for it".to_owned()));
    }
    // A twin is measured beside its technique, not alone.
    let spins = technique.options.iter().any(|option| option.name == "spin");
    (wait == Wait::Spin && !spins).then(|| Status::Skipped("cannot spin".to_owned()))
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
        Kind::Peer => None,
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
        let measured = worker::measure(Job { traits: traits(technique), ..self.job }, || {
            let number = self.maker.number.replace(self.maker.number.get() + 1);
            let mut ends = Ends::private(technique, self.maker.dir, number)?;
            if self.wait == Wait::Spin {
                for args in [&mut ends.sender, &mut ends.receiver] {
                    args.set_extra("spin", "");
                }
            }
            let made = channel(&ends);
            used.borrow_mut().push(ends);
            made
        });
        if measured.is_err() && technique.endpoint != Endpoint::Inherited {
            for ends in used.take() {
                tidy(|| channel(&ends).map(|(_, to_receive)| to_receive));
            }
        }
        measured
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
    Traits { may_lose: technique.delivery == Delivery::BestEffort, says_end: true, takes_turns: takes_turns(technique) }
}

/// Standard signals merge, so two channels of them between the same two processes are in each other's way.
pub fn takes_turns(technique: &Technique) -> bool {
    technique.name == "signal"
}

impl twins::Job for Measure<'_> {
    type Output = Result<Round, Failure>;

    fn run<S: Sender, R: Receiver>(self, channel: impl Fn(&twins::Setup<'_>) -> Result<(S, R)>) -> Self::Output {
        let undo = RefCell::default();
        let setup = twins::Setup { size: self.job.form.size(), wait: self.wait, dir: self.maker.dir, undo: &undo };
        let traits = self.technique.map(|technique| Traits { says_end: false, ..traits(technique) });
        let job = Job { traits: traits.unwrap_or_default(), ..self.job };
        let measured = worker::measure(job, || {
            let (sender, receiver) = channel(&setup)?;
            Ok((move || Ok(sender), move || Ok(receiver)))
        });
        for undo in undo.take() {
            undo();
        }
        measured
    }
}

/// What is special about a row.
pub fn note(source: &Source, measure: results::Measure) -> Option<&'static str> {
    let special = technique(&source.name).is_some_and(takes_turns);
    (special && source.kind == Kind::Technique && measure == results::Measure::RoundTrip)
        .then_some("an end sends only after the other end's send has returned: standard signals merge")
}
