//! The memory of another process: an address means nothing there, and the kernel asks who wants to know.

use std::io::IoSliceMut;
use std::sync::atomic::{AtomicU32, Ordering};

use common::Result;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::{Gid, Pid, Uid, User, geteuid, getpid, setgroups, setresgid, setresuid};
use procfs::process::{Process, all_processes};

use crate::child::{Child, end_with};
use crate::show::Show;

/// What root becomes in order to be refused, where /etc/passwd knows no `nobody`.
const NOBODY: u32 = 65534;
/// The capability to read the memory of any process (capabilities(7)).
const CAP_SYS_PTRACE: u64 = 1 << 19;
/// What the child writes and its parent looks for.
const SECRET: u32 = 42;

/// Who asked whom, and what process_vm_readv(2) answered.
type Attempt = (String, nix::Result<u32>);

pub fn run(show: &mut Show) -> Result<()> {
    show.explain(
        "No instruction can name a byte of another process: each address goes through one's own page tables. Only the \
         kernel can fetch it. Debuggers ask it to, with ptrace(2) or process_vm_readv(2), and it serves those who may \
         control that process anyway: the same user, and root.",
    )?;
    let variable = AtomicU32::new(1);
    let own = read_child(&variable)?;
    let foreign = match read_as_nobody(&variable)? {
        None => read_other_users(),
        some => some,
    };
    for (what, answer) in [Some(&own), foreign.as_ref()].into_iter().flatten() {
        let answer = answer.map_or_else(|error| error.to_string(), |value| value.to_string());
        show.item(&format!("{what}: {answer}"))?;
    }
    show.line("")?;

    match own.1 {
        Ok(value) => show.expect(value == SECRET, "the same user may, and finds 42 where it has 1 itself"),
        Err(error) => show.missing(&format!("that the same user may; Yama or a container forbids it: {error}")),
    }?;
    match foreign {
        None => show.missing("that another user may not: there is no process here that is closed to this one"),
        // A system call that is forbidden to everybody proves nothing.
        Some(_) if own.1.is_err() => show.missing("that another user may not: nobody may"),
        Some((_, answer)) => show.expect(answer == Err(Errno::EPERM), "another user may not: EPERM"),
    }
}

/// This process reads its child's variable, which is at the address of its own.
fn read_child(variable: &AtomicU32) -> Result<Attempt> {
    let mut child = Child::start(|parent| {
        variable.store(SECRET, Ordering::SeqCst);
        parent.tell([])?;
        parent.wait()
    })?;
    child.told::<0>()?;
    let answer = read(child.pid(), variable);
    child.go_on()?;
    Ok((format!("process_vm_readv of {} by its parent", child.pid()), answer))
}

/// A child becomes another user and reads its parent's variable. `None` where it may not become one.
fn read_as_nobody(variable: &AtomicU32) -> Result<Option<Attempt>> {
    let parent = getpid();
    let nobody = User::from_name("nobody").ok().flatten();
    let (uid, gid) = nobody.map_or((Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)), |user| (user.uid, user.gid));
    let mut child = Child::start(|to_parent| {
        let change = || {
            setgroups(&[])?;
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)
        };
        let answer = match change() {
            Err(_) => [0, 0, 0],
            Ok(()) => {
                end_with(parent)?;
                read(parent, variable).map_or_else(|error| [1, error as u64, 0], |value| [1, 0, value.into()])
            }
        };
        to_parent.tell(answer)
    })?;
    let [changed, error, value] = child.told()?;
    let answer = if error == 0 { Ok(value as u32) } else { Err(Errno::from_raw(error as i32)) };
    Ok((changed == 1).then(|| (format!("process_vm_readv of {parent} by user {uid}"), answer)))
}

/// This process reads from one that it may not even signal. `None` where there is none.
fn read_other_users() -> Option<Attempt> {
    let all = all_processes().into_iter().flatten().flatten().map(|process| process.pid());
    // The first one is there, even if /proc hides the processes of others (hidepid).
    let others = [1].into_iter().chain(all).map(Pid::from_raw).filter(|pid| kill(*pid, None) == Err(Errno::EPERM));
    let mut attempts = others.map(|pid| (pid, read(pid, &AtomicU32::new(0))));
    // A thread of the kernel's has no memory of its own, and a process may have ended meanwhile: ESRCH for both.
    let (pid, answer) = attempts.find(|(_, answer)| *answer != Err(Errno::ESRCH))?;
    if answer != Err(Errno::EPERM) && may_read_all() {
        return None;
    }
    Some((format!("process_vm_readv of {pid} by user {}", geteuid()), answer))
}

fn may_read_all() -> bool {
    Process::myself().and_then(|me| me.status()).is_ok_and(|status| status.capeff & CAP_SYS_PTRACE != 0)
}

/// Asks the kernel for another process's four bytes at the address of our `variable`.
fn read(pid: Pid, variable: &AtomicU32) -> nix::Result<u32> {
    let mut bytes = [0; size_of::<u32>()];
    let there = RemoteIoVec { base: variable.as_ptr() as usize, len: bytes.len() };
    match process_vm_readv(pid, &mut [IoSliceMut::new(&mut bytes)], &[there])? {
        4 => Ok(u32::from_ne_bytes(bytes)),
        _ => Err(Errno::EFAULT),
    }
}
