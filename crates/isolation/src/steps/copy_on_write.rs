//! Copy-on-write: after fork(2) one frame of memory stands behind both pages, until one process writes.

use std::io;

use common::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::getpid;

use crate::child::Child;
use crate::look::{self, Figures, Look};
use crate::page::Page;
use crate::show::Show;

pub fn run(show: &mut Show) -> Result<()> {
    show.explain(
        "fork(2) copies page tables and not memory. Both tables lead to the same frame, and both forbid to write. Who \
         writes to it nevertheless runs into a page fault, and the kernel gives that process a copy of the page.",
    )?;
    let (page, other) = (Page::private(1).doing("mmap")?, Page::private(1).doing("mmap")?);
    let mut child = Child::start(|parent| {
        parent.tell([page.read().into()])?;
        parent.wait()?;
        // The other page goes first, so that the measuring itself has run into its own faults by then.
        let mut faults = [0, 0];
        for page in [&other, &page] {
            faults = [faults_of(|| page.write(2))?, faults_of(|| (0..1000).for_each(|_| page.write(2)))?];
        }
        parent.tell([page.read().into(), faults[0], faults[1]])?;
        parent.wait()
    })?;
    let pids = [getpid(), child.pid()];

    let [there] = child.told()?;
    let values = [u64::from(page.read()), there];
    let before = Look::at_both(pids, page.address());
    show.pair("", "parent", "child")?;
    show.pair("value before the write", &values[0].to_string(), &values[1].to_string())?;
    look::show(show, &before)?;

    child.go_on()?;
    let [there, first, further] = child.told()?;
    let values = [u64::from(page.read()), there];
    let after = Look::at_both(pids, page.address());
    show.pair("the child writes: page faults", "", &first.to_string())?;
    show.pair("1000 writes more: page faults", "", &further.to_string())?;
    show.pair("value after it", &values[0].to_string(), &values[1].to_string())?;
    look::show(show, &after)?;
    show.line("")?;
    child.go_on()?;

    show.expect(values == [1, 2], "the parent still has 1, the child has 2")?;
    // The kernel may have reasons of its own for a fault now and then.
    show.expect(first > 0 && further < 10, "the first write is a page fault, the others are not")?;
    judge(show, [before, after])
}

fn judge(show: &mut Show, looks: [[Look; 2]; 2]) -> Result<()> {
    match look::all(looks, |look| look.frame) {
        Some([before, after]) => {
            let came = before[0] == before[1] && after[0] != after[1];
            show.expect(came, "one frame before the write, two frames after it")?;
        }
        None => show.missing(look::no_frames())?,
    }
    match look::all(looks, |look| look.figures) {
        Some([before, after]) => {
            let size = procfs::page_size();
            let (shared, private) = (Figures { shared: size, private: 0 }, Figures { shared: 0, private: size });
            let came = before == [shared; 2] && after == [private; 2];
            show.expect(came, "the page is shared before the write, and each has its own after it")
        }
        None => show.missing(look::NO_FIGURES),
    }
}

/// Page faults of this process while it does some work: those that needed no disk.
fn faults_of(work: impl Fn()) -> io::Result<u64> {
    let count = || Ok::<_, io::Error>(getrusage(UsageWho::RUSAGE_SELF)?.minor_page_faults() as u64);
    let before = count()?;
    work();
    Ok(count()? - before)
}
