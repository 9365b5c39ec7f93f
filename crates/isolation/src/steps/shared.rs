//! The same with `MAP_SHARED`: one frame for good. This is what shared memory is.

use common::{Context, Result};
use nix::unistd::getpid;

use crate::child::Child;
use crate::look::{self, Figures, Look};
use crate::page::Page;
use crate::show::Show;

pub fn run(show: &mut Show) -> Result<()> {
    show.explain(
        "A process can ask for memory that fork(2) does not divide: mmap(2) with MAP_SHARED. Then both page tables \
         lead to one frame and both allow to write. The kernel has made the way; after that it is not asked again.",
    )?;
    let page = Page::shared(1).doing("mmap")?;
    let mut child = Child::start(|parent| {
        parent.tell([page.read().into()])?;
        parent.wait()?;
        page.write(2);
        parent.tell([page.read().into()])?;
        parent.wait()
    })?;
    let pids = [getpid(), child.pid()];

    let [there] = child.told()?;
    let first = [u64::from(page.read()), there];
    let before = Look::at_both(pids, page.address());
    show.pair("", "parent", "child")?;
    show.pair("value before the write", &first[0].to_string(), &first[1].to_string())?;
    look::show(show, &before)?;

    child.go_on()?;
    let [there] = child.told()?;
    let then = [u64::from(page.read()), there];
    let after = Look::at_both(pids, page.address());
    show.pair("value, when the child wrote 2", &then[0].to_string(), &then[1].to_string())?;
    look::show(show, &after)?;
    show.line("")?;
    child.go_on()?;

    show.expect((first, then) == ([1, 1], [2, 2]), "what the child writes, the parent reads")?;
    match look::all([before, after], |look| look.frame) {
        // Between the two looks the kernel may have moved it, for both.
        Some([before, after]) => {
            let came = before[0] == before[1] && after[0] == after[1];
            show.expect(came, "one frame before the write and after it")?;
        }
        None => show.missing(look::no_frames())?,
    }
    match look::all([before, after], |look| look.figures) {
        Some(figures) => {
            let shared = Figures { shared: procfs::page_size(), private: 0 };
            show.expect(figures == [[shared; 2]; 2], "the page is shared before the write and after it")
        }
        None => show.missing(look::NO_FIGURES),
    }
}
