//! Two address spaces side by side, the highest addresses on top.

use std::ops::Range;
use std::path::Path;

use common::Result;
use console::{Alignment, pad_str, truncate_str};
use procfs::process::{MMPermissions, MMapPath, MemoryMap};

use crate::boundary;
use crate::show::Show;

/// Columns of an address.
const ADDRESS: usize = 16;

/// A stretch of an address space with one purpose, such as the segments of one library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    pub range: Range<u64>,
    pub name: String,
    /// What more there is to say of it.
    pub note: String,
}

impl Area {
    /// Is it what `other` is, in another process? A stack or a heap may have grown.
    pub fn is_same(&self, other: &Area) -> bool {
        self.name == other.name && self.range.start < other.range.end && other.range.start < self.range.end
    }
}

/// What is mapped below `end`.
pub fn areas(maps: &[MemoryMap], end: u64) -> Vec<Area> {
    let mut areas: Vec<Area> = Vec::new();
    // Without any access it is a guard or a gap, such as those around our pages.
    let access = MMPermissions::READ | MMPermissions::WRITE | MMPermissions::EXECUTE;
    for map in maps.iter().filter(|map| map.address.0 < end && map.perms.intersects(access)) {
        let name = match &map.pathname {
            MMapPath::Anonymous => "anonymous".to_owned(),
            MMapPath::Path(path) => file_name(path),
            MMapPath::Heap => "[heap]".to_owned(),
            MMapPath::Stack => "[stack]".to_owned(),
            MMapPath::Vdso | MMapPath::Vvar => "[vdso]".to_owned(),
            MMapPath::Other(name) if name.starts_with("vvar") => "[vdso]".to_owned(),
            MMapPath::Other(name) => format!("[{name}]"),
            other => format!("{other:?}"),
        };
        match areas.last_mut() {
            // The segments of one file, gaps or not.
            Some(last) if last.name == name && name != "anonymous" => last.range.end = map.address.1,
            _ => areas.push(Area { range: map.address.0..map.address.1, name, note: String::new() }),
        }
    }
    areas
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// Draws the areas of two processes below one box for the kernel, and in that `vsyscall` where there is such a page.
pub fn draw(show: &mut Show, heads: [&str; 2], spaces: &[Vec<Area>; 2], user_end: u64, vsyscall: bool) -> Result<()> {
    // An address, a space, and twice two borders with a space between the boxes.
    let inner = show.width().saturating_sub(ADDRESS + 6) / 2;
    let whole = 2 * inner + 3;
    let line = |address: &str, rest: &str| format!("{address:>ADDRESS$} {rest}");
    let two = |cells: [&str; 2]| cells.map(|cell| format!("│{}│", fit(cell, inner))).join(" ");
    let border = |left: &str, right: &str, width: usize| format!("{left}{}{right}", "─".repeat(width));
    let borders = |left: &str, right: &str| [(); 2].map(|()| border(left, right, inner)).join(" ");

    show.line(&line("", &heads.map(|head| format!(" {}", fit(head, inner + 1))).join(" ")))?;
    show.line(&line(&format!("{:x}", u64::MAX), &border("┌", "┐", whole)))?;
    show.line(&line("", &format!("│{}│", fit(" the kernel: the same for both, closed to both", whole))))?;
    if vsyscall {
        show.line(&line("", &format!("│{}│", fit("   [vsyscall] is the one page that both may execute", whole))))?;
    }
    show.line(&line(&format!("{:x}", boundary::kernel_start(user_end)), &border("└", "┘", whole)))?;
    show.line(&line(&format!("{:x}", user_end - 1), &borders("┌", "┐")))?;
    for row in rows(spaces) {
        let address = row.iter().flatten().map(|area| area.range.start).min().unwrap_or_default();
        let names = row.map(|area| area.map_or(String::new(), |area| label(area, inner)));
        show.line(&line(&format!("{address:x}"), &two(names.each_ref().map(String::as_str))))?;
        let notes = row.map(|area| area.map_or(String::new(), |area| format!("   {}", area.note)));
        if notes.iter().any(|note| !note.trim().is_empty()) {
            show.line(&line("", &two(notes.each_ref().map(String::as_str))))?;
        }
    }
    show.line(&line("0", &borders("└", "┘")))
}

/// The areas from the highest to the lowest, those of the same purpose in one row.
fn rows([first, second]: &[Vec<Area>; 2]) -> Vec<[Option<&Area>; 2]> {
    let mut rows: Vec<[Option<&Area>; 2]> =
        first.iter().map(|area| [Some(area), second.iter().find(|other| area.is_same(other))]).collect();
    let alone = second.iter().filter(|other| !first.iter().any(|area| area.is_same(other)));
    rows.extend(alone.map(|area| [None, Some(area)]));
    rows.sort_by_key(|row| row.iter().flatten().map(|area| std::cmp::Reverse(area.range.start)).max());
    rows
}

/// The name on the left, the size on the right.
fn label(area: &Area, width: usize) -> String {
    let size = format!("{} KiB ", (area.range.end - area.range.start) / 1024);
    let room = width.saturating_sub(size.len() + 2);
    format!(" {} {size}", fit(&area.name, room))
}

/// Exactly so many columns.
fn fit(text: &str, width: usize) -> String {
    pad_str(&truncate_str(text, width, "…"), width, Alignment::Left, None).into_owned()
}
