//! What the kernel says about the memory behind an address: the frame, and who else has it.
//!
//! Manual pages: proc_pid_pagemap(5), proc_pid_smaps(5).

use std::io;

use common::Result;
use nix::unistd::Pid;
use procfs::ProcError;
use procfs::process::{PageInfo, Process};

use crate::show::Show;

/// Why a step cannot show what smaps says.
pub const NO_FIGURES: &str = "what smaps says: /proc/PID/smaps cannot be read here";

/// Why a step cannot show frames.
pub fn no_frames() -> &'static str {
    match Process::myself().and_then(|me| me.pagemap()) {
        Ok(_) => "the frames: only who has CAP_SYS_ADMIN may see them; run this with sudo",
        Err(_) => "the frames: /proc/PID/pagemap cannot be read here",
    }
}

/// A look at one page of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// The number of the frame of physical memory; `None` where it is hidden from this user.
    pub frame: Option<u64>,
    /// Where smaps tells.
    pub figures: Option<Figures>,
}

/// Bytes of a mapping, as smaps counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// In memory, and in the page tables of more than one process.
    pub shared: u64,
    /// In memory, and in those of this process alone.
    pub private: u64,
}

impl Look {
    /// The page at `address`, which has a mapping of its own.
    pub fn at(pid: Pid, address: u64) -> Look {
        Look { frame: frame(pid, address).ok().flatten(), figures: figures(pid, address).ok().flatten() }
    }

    /// The same page of two processes. The kernel may move a page to another frame at any time, so we look until
    /// nothing has changed meanwhile.
    pub fn at_both(pids: [Pid; 2], address: u64) -> [Look; 2] {
        let look = || pids.map(|pid| Look::at(pid, address));
        let mut last = look();
        loop {
            let now = look();
            if now == last {
                return now;
            }
            last = now;
        }
    }

    fn frame_text(&self) -> String {
        self.frame.map_or("hidden".to_owned(), |frame| format!("{frame:#x}"))
    }

    fn figures_text(&self) -> String {
        let Some(Figures { shared, private }) = self.figures else { return "hidden".to_owned() };
        format!("{} shared, {} private", shared / 1024, private / 1024)
    }
}

fn frame(pid: Pid, address: u64) -> Result<Option<u64>, ProcError> {
    let page = (address / procfs::page_size()) as usize;
    match Process::new(pid.as_raw())?.pagemap()?.get_info(page)? {
        // Without CAP_SYS_ADMIN the kernel says 0 for every frame: who knows the frames can aim at a neighbour's
        // memory cells (rowhammer).
        PageInfo::MemoryPage(flags) => Ok(Some(flags.get_page_frame_number().0).filter(|frame| *frame != 0)),
        PageInfo::SwapPage(_) => Ok(None),
    }
}

fn figures(pid: Pid, address: u64) -> Result<Option<Figures>, ProcError> {
    let maps = Process::new(pid.as_raw())?.smaps()?;
    let Some(map) = maps.iter().find(|map| map.address.0 == address) else {
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    };
    let sum = |clean: &str, dirty: &str| {
        let bytes = &map.extension.map;
        Some(bytes.get(clean)? + bytes.get(dirty)?)
    };
    let both = sum("Shared_Clean", "Shared_Dirty").zip(sum("Private_Clean", "Private_Dirty"));
    Ok(both.map(|(shared, private)| Figures { shared, private }))
}

/// Two rows of figures.
pub fn show(show: &mut Show, [parent, child]: &[Look; 2]) -> Result<()> {
    show.pair("  frame (pagemap)", &parent.frame_text(), &child.frame_text())?;
    show.pair("  KiB of memory (smaps)", &parent.figures_text(), &child.figures_text())
}

/// One fact of four looks, where all four have it.
pub fn all<T: Copy>(looks: [[Look; 2]; 2], fact: impl Fn(Look) -> Option<T>) -> Option<[[T; 2]; 2]> {
    match looks.map(|pair| pair.map(&fact)) {
        [[Some(a), Some(b)], [Some(c), Some(d)]] => Some([[a, b], [c, d]]),
        _ => None,
    }
}
