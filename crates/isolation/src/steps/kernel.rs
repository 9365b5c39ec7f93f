//! The kernel's addresses: the processor itself refuses, and the kernel sends SIGSEGV.
#![expect(unsafe_code, reason = "the point is an access that must fail")]

use std::ptr;

use common::{Context, Result};
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::boundary;
use crate::child::Child;
use crate::page::Page;
use crate::show::Show;

pub fn run(show: &mut Show) -> Result<()> {
    show.explain(
        "A part of the addresses is the kernel's, the same part in every process. In user mode the processor does not let \
         anybody in; a system call is the only way. A process that tries nevertheless is sent SIGSEGV, so let children try.",
    )?;
    let Some(user_end) = boundary::user_end() else {
        return show.missing("where the kernel's addresses begin: mmap(2) does not tell");
    };
    let page = Page::private(1).doing("mmap")?;
    show.pair("", "reads a byte", "writes a byte")?;
    let own = attempt(show, page.address(), "own page")?;
    let mut kernel = vec![attempt(show, boundary::kernel_start(user_end), "kernel")?];
    let text = boundary::kernel_text();
    if let Some(address) = text {
        kernel.push(attempt(show, address, "its code")?);
    }
    show.line("")?;

    let done = |status: &WaitStatus| matches!(status, WaitStatus::Exited(_, 0));
    let refused = |status: &WaitStatus| matches!(status, WaitStatus::Signaled(_, Signal::SIGSEGV, _));
    show.expect(own.iter().all(done), "a child may read and write its own page")?;
    show.expect(kernel.as_flattened().iter().all(refused), "at the kernel's addresses SIGSEGV ends it")?;
    if text.is_none() {
        show.missing("where the kernel's code begins: /proc/kallsyms tells root only; run this with sudo")?;
    }
    Ok(())
}

/// How a child ends that reads, and one that writes, the byte at `address`.
fn attempt(show: &mut Show, address: u64, name: &str) -> Result<[WaitStatus; 2]> {
    let read = end_of(|| {
        // SAFETY: nothing of Rust's lies at a kernel's address. The access ends this child, which exists for
        // nothing else; at its own page it is an access like any other.
        unsafe { ptr::read_volatile(address as *const u8) };
    })?;
    let write = end_of(|| {
        // SAFETY: as for the read.
        unsafe { ptr::write_volatile(address as *mut u8, 0) };
    })?;
    show.pair(&format!("{address:#x} {name}"), &describe(read), &describe(write))?;
    Ok([read, write])
}

fn end_of(access: impl Fn()) -> Result<WaitStatus> {
    let mut child = Child::start(|_| {
        // It dies on purpose and shall leave no core file.
        set_dumpable(false)?;
        access();
        Ok(())
    })?;
    child.wait()
}

fn describe(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, 0) => "done".to_owned(),
        WaitStatus::Exited(_, code) => format!("ended with {code}"),
        WaitStatus::Signaled(_, signal, _) => signal.to_string(),
        other => format!("{other:?}"),
    }
}
