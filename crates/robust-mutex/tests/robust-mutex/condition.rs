//! A condition variable of glibc's in place of the futex: what becomes of it where somebody dies.
#![expect(unsafe_code, reason = "the condition variable that is shown to hang has no safe wrapper")]

use std::cell::UnsafeCell;
use std::io::{self, Write};
use std::process::Child;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::robust_mutex::mutex::{Guard, Mutex, Robustness};
use harness::kill_after;
use libtest_mimic::Completion;
use nix::sys::signal::{Signal, raise};
use shared_memory::{Shmem, ShmemConf};

use crate::{Result, end, ends, ensure, name_of, no_ptrace, part, wait_until_asleep, wait_until_ready};

/// The parts of this play: see `play`.
pub fn play(part: &str, name: &str) -> io::Result<()> {
    let wrong = Wrong::open(name)?;
    match part {
        "wait for the flag" => wrong.wait()?,
        "signal" => {
            let guard = wrong.lock()?;
            wrong.get().flag.store(1, Ordering::Relaxed);
            raise(Signal::SIGSTOP)?;
            wrong.signal();
            drop(guard);
            raise(Signal::SIGSTOP)?;
        }
        "only signal" => wrong.signal(),
        "broadcast" => wrong.broadcast(),
        other => panic!("no part is called {other:?}"),
    }
    Ok(())
}

/// A flag, and those who wait for it.
struct Wrong(Shmem);

#[repr(C)]
struct Shared {
    mutex: Mutex,
    condition: UnsafeCell<libc::pthread_cond_t>,
    flag: AtomicU32,
}

impl Wrong {
    fn create(name: &str) -> io::Result<Wrong> {
        let wrong = Wrong(ShmemConf::new().os_id(name).size(4096).create().map_err(io::Error::other)?);
        // SAFETY: nobody else knows of it.
        unsafe { wrong.get().mutex.init(Robustness::Robust) }?;
        let mut attr = std::mem::MaybeUninit::<libc::pthread_condattr_t>::uninit();
        // SAFETY: `attr` has room for what is made in it.
        assert_eq!(unsafe { libc::pthread_condattr_init(attr.as_mut_ptr()) }, 0);
        // SAFETY: `attr` has just been made.
        let result = unsafe { libc::pthread_condattr_setpshared(attr.as_mut_ptr(), libc::PTHREAD_PROCESS_SHARED) };
        assert_eq!(result, 0);
        // SAFETY: the same, and nobody uses the condition variable yet.
        assert_eq!(unsafe { libc::pthread_cond_init(wrong.get().condition.get(), attr.as_ptr()) }, 0);
        Ok(wrong)
    }

    fn open(name: &str) -> io::Result<Wrong> {
        ShmemConf::new().os_id(name).open().map(Wrong).map_err(io::Error::other)
    }

    fn get(&self) -> &Shared {
        // SAFETY: the mapping is longer than this and lives as long as `self`; all of it is atomic or in an UnsafeCell.
        unsafe { &*self.0.as_ptr().cast::<Shared>() }
    }

    /// The mutex is not what hangs.
    fn lock(&self) -> io::Result<Guard<'_>> {
        let guard = self.get().mutex.lock(Some(Duration::from_secs(5)))?;
        if guard.owner_died {
            guard.make_consistent()?;
        }
        Ok(guard)
    }

    /// Waits for the flag, as the book says.
    fn wait(&self) -> io::Result<()> {
        let guard = self.lock()?;
        writeln!(io::stdout(), "ready")?;
        while self.get().flag.load(Ordering::Relaxed) == 0 {
            let mutex = ptr::from_ref(&self.get().mutex).cast_mut().cast();
            // SAFETY: both were made by `create`, and this thread holds the mutex, which the guard gives back.
            match unsafe { libc::pthread_cond_wait(self.get().condition.get(), mutex) } {
                0 => {}
                libc::EOWNERDEAD => guard.make_consistent()?,
                error => return Err(io::Error::from_raw_os_error(error)),
            }
        }
        Ok(())
    }

    fn signal(&self) {
        // SAFETY: `create` has made it.
        unsafe { libc::pthread_cond_signal(self.get().condition.get()) };
    }

    fn broadcast(&self) {
        // SAFETY: `create` has made it.
        unsafe { libc::pthread_cond_broadcast(self.get().condition.get()) };
    }
}

/// Somebody waits; another one signals, and is killed after so many instructions of it; a third one broadcasts, as
/// whoever notices the death would. Returns who of the two does not come to an end then.
fn who_hangs(steps: usize) -> Result<(bool, Vec<&'static str>)> {
    let name = name_of("condition");
    let wrong = Wrong::create(&name)?;
    let mut waiter = part("wait for the flag", &name)?.spawn()?;
    let _stdout = wait_until_ready(&mut waiter)?;
    // It said so with the mutex in its hands; once this has it, the other one waits.
    drop(wrong.lock()?);
    let more = kill_after(part("signal", &name)?, steps)?;
    let mut survivor = part("broadcast", &name)?.spawn()?;
    // Nothing takes a process so long that is neither stopped nor asleep for good.
    let within = Duration::from_secs(2);
    let mut hang = Vec::new();
    if !ends(&mut survivor, within)? {
        hang.push("the survivor, in pthread_cond_broadcast");
    }
    if !ends(&mut waiter, within)? {
        hang.push("the waiter, in pthread_cond_wait");
    }
    end(survivor)?;
    end(waiter)?;
    Ok((more, hang))
}

pub fn pthread_cond_hangs() -> Result<Completion> {
    if let Some(reason) = no_ptrace()? {
        return Ok(reason);
    }
    for steps in 0.. {
        let (more, hang) = who_hangs(steps)?;
        if !hang.is_empty() {
            return Ok(Completion::Completed);
        }
        ensure(more, || format!("{steps} kills, one at each instruction, and nobody hangs: the lesson is wrong"))?;
    }
    unreachable!("the loop ends at the last instruction")
}

/// A process is killed while it waits. The next signal is for it, and the one after that waits until it has taken it.
pub fn dead_waiter() -> Result<Completion> {
    let name = name_of("dead-waiter");
    let wrong = Wrong::create(&name)?;
    let waiter = || -> Result<Child> {
        let mut waiter = part("wait for the flag", &name)?.spawn()?;
        wait_until_ready(&mut waiter)?;
        drop(wrong.lock()?);
        wait_until_asleep(&waiter);
        Ok(waiter)
    };
    let signals = || -> Result<bool> {
        let mut survivor = part("only signal", &name)?.spawn()?;
        let returns = ends(&mut survivor, Duration::from_secs(2))?;
        end(survivor)?;
        Ok(returns)
    };
    end(waiter()?)?;
    ensure(signals()?, || "already the first signal hangs".into())?;
    let living = waiter()?;
    let returns = signals()?;
    end(living)?;
    Ok(if returns { Completion::ignored_with("this C library does not") } else { Completion::Completed })
}
