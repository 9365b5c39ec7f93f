//! Both address spaces, drawn from /proc/PID/maps.
//!
//! Manual page: proc(5), /proc/PID/maps.

use common::{Context, Result};
use nix::unistd::{Pid, getpid};
use procfs::ProcError;
use procfs::process::{MMapPath, MemoryMap, Process};

use crate::boundary;
use crate::child::Child;
use crate::drawing::{self, Area};
use crate::look::Look;
use crate::page::Page;
use crate::show::Show;

pub fn run(show: &mut Show) -> Result<()> {
    show.explain(
        "Here are this process and a child. Both had a private and a shared page with a 1 in it, then the child wrote 2 \
         into both, and mapped a page of its own. Addresses that nobody has mapped are not drawn.",
    )?;
    let (private, shared) = (Page::private(1).doing("mmap")?, Page::shared(1).doing("mmap")?);
    let mut child = Child::start(|parent| {
        private.write(2);
        shared.write(2);
        let own = Page::private(3)?;
        parent.tell([own.address(), own.read().into(), private.read().into(), shared.read().into()])?;
        parent.wait()
    })?;
    let [own, own_there, private_there, shared_there] = child.told()?;
    let pids = [getpid(), child.pid()];
    let (maps, user_end) = match (pids.map(maps), boundary::user_end()) {
        ([Ok(ours), Ok(theirs)], Some(user_end)) => ([ours, theirs], user_end),
        ([Err(error), _] | [_, Err(error)], _) => return show.missing(&format!("the address spaces: {error}")),
        (_, None) => return show.missing("the address spaces: mmap(2) does not tell where they end"),
    };

    let mut spaces = maps.each_ref().map(|maps| drawing::areas(maps, user_end));
    let [ours, theirs] = &mut spaces;
    name(ours, pids[0], private.address(), "private page", private.read());
    name(ours, pids[0], shared.address(), "shared page", shared.read());
    name(theirs, pids[1], private.address(), "private page", private_there as u32);
    name(theirs, pids[1], shared.address(), "shared page", shared_there as u32);
    name(theirs, pids[1], own, "the child's own page", own_there as u32);
    let vsyscall = maps.iter().flatten().any(is_vsyscall);
    let heads = [format!("parent, process {}", pids[0]), format!("child, process {}", pids[1])];
    drawing::draw(show, heads.each_ref().map(String::as_str), &spaces, user_end, vsyscall)?;
    show.line("")?;
    child.go_on()?;

    let [ours, theirs] = &spaces;
    let copied = ours.iter().all(|area| theirs.iter().any(|other| area.is_same(other)));
    show.expect(copied, "all that the parent has, the child has at the same address")?;
    let values = [private.read(), shared.read()];
    show.expect(values == [1, 2], "the parent has its own private page, and sees the shared one")?;
    let has = |space: &[Area]| space.iter().any(|area| area.range.contains(&own));
    show.expect(!has(ours) && has(theirs), "what the child has mapped since, is not in the parent's address space")?;
    let is_users = |map: &MemoryMap| map.address.1 <= user_end || is_vsyscall(map);
    let exception = if vsyscall { ", but for [vsyscall]" } else { "" };
    show.expect(maps.iter().flatten().all(is_users), &format!("neither has anything in the kernel's part{exception}"))
}

fn maps(pid: Pid) -> Result<Vec<MemoryMap>, ProcError> {
    Ok(Process::new(pid.as_raw())?.maps()?.0)
}

/// x86-64 still has this page, from before the vdso.
fn is_vsyscall(map: &MemoryMap) -> bool {
    map.pathname == MMapPath::Vsyscall
}

/// Says of the page at `address` what it is for and what is in it.
fn name(space: &mut [Area], pid: Pid, address: u64, name: &str, value: u32) {
    if let Some(area) = space.iter_mut().find(|area| area.range.start == address) {
        let frame = Look::at(pid, address).frame.map_or(String::new(), |frame| format!(" in frame {frame:#x}"));
        (area.name, area.note) = (name.to_owned(), format!("{value}{frame}"));
    }
}
