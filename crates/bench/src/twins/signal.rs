//! kill(2) or sigqueue(3), and sigwaitinfo(2).
#![expect(unsafe_code, reason = "sigqueue and sigwaitinfo have no safe wrapper")]

use std::io;
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::atomic::{AtomicI32, Ordering};

use common::{Context, IoBuffer, Receiver, Result, Sender};
use nix::sched::sched_yield;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use crate::control::Shared;
use crate::source::Setup;

const ZERO: Signal = Signal::SIGUSR1;
const ONE: Signal = Signal::SIGUSR2;
const ACKNOWLEDGED: Signal = ZERO;

/// Where the receiver says who it is, once signals to it do no harm.
struct Meeting(Shared);

impl Meeting {
    fn new() -> Result<Rc<Meeting>> {
        Ok(Rc::new(Meeting(Shared::new(size_of::<AtomicI32>()).doing("mmap")?)))
    }

    fn receiver(&self) -> &AtomicI32 {
        // SAFETY: the mapping is large enough, aligned, zeroed, and lives as long as `self`.
        unsafe { &*self.0.as_ptr().cast() }
    }

    /// Says that this process is the receiver. Its signals were blocked before the fork(2).
    fn tell(&self) {
        self.receiver().store(Pid::this().as_raw(), Ordering::Release);
    }

    /// The receiver, once it is there.
    fn ask(&self) -> Pid {
        loop {
            match self.receiver().load(Ordering::Acquire) {
                0 => drop(sched_yield()),
                pid => return Pid::from_raw(pid),
            }
        }
    }
}

/// Blocks the signals in both processes to come; and not in this one, once they have gone.
fn block(setup: &Setup<'_>, signals: SigSet) -> Result<()> {
    signals.thread_block().doing("pthread_sigmask")?;
    setup.undo.borrow_mut().push(Box::new(move || {
        let _ = signals.thread_unblock();
    }));
    Ok(())
}

/// Waits for one of the signals.
fn wait(signals: &SigSet) -> io::Result<libc::siginfo_t> {
    let mut info = MaybeUninit::zeroed();
    // SAFETY: the set is initialised, and there is room for what the kernel tells.
    if unsafe { libc::sigwaitinfo(signals.as_ref(), info.as_mut_ptr()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeroes are a valid siginfo_t, and the call has filled it in.
    Ok(unsafe { info.assume_init() })
}

/// The sending end of a bit at a time.
pub struct Bits {
    meeting: Rc<Meeting>,
    receiver: Option<Pid>,
}

/// The receiving end of a bit at a time.
pub struct BitsIn {
    meeting: Rc<Meeting>,
    told: bool,
    buffer: IoBuffer,
}

/// SIGUSR1 is a 0, SIGUSR2 is a 1, and SIGUSR1 acknowledges each.
pub fn standard(setup: &Setup<'_>) -> Result<(Bits, BitsIn)> {
    block(setup, SigSet::from_iter([ZERO, ONE]))?;
    let meeting = Meeting::new()?;
    let receiving = BitsIn { meeting: Rc::clone(&meeting), told: false, buffer: IoBuffer::new(setup.size) };
    Ok((Bits { meeting, receiver: None }, receiving))
}

impl Sender for Bits {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let receiver = *self.receiver.get_or_insert_with(|| self.meeting.ask());
        let acknowledged = SigSet::from(ACKNOWLEDGED);
        for byte in message {
            for bit in 0..u8::BITS {
                kill(receiver, if byte >> bit & 1 == 1 { ONE } else { ZERO }).doing("kill")?;
                wait(&acknowledged).doing("sigwaitinfo")?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for BitsIn {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if !self.told {
            self.meeting.tell();
            self.told = true;
        }
        let bits = SigSet::from_iter([ZERO, ONE]);
        for byte in &mut *self.buffer {
            *byte = 0;
            for bit in 0..u8::BITS {
                let info = wait(&bits).doing("sigwaitinfo")?;
                *byte |= u8::from(info.si_signo == ONE as i32) << bit;
                // SAFETY: kill(2) says who sent the signal.
                let sender = Pid::from_raw(unsafe { info.si_pid() });
                kill(sender, ACKNOWLEDGED).doing("kill")?;
            }
        }
        Ok(Some(&self.buffer))
    }
}

/// The sending end of a word at a time.
pub struct Words {
    meeting: Rc<Meeting>,
    receiver: Option<Pid>,
}

/// The receiving end of a word at a time.
pub struct WordsIn {
    meeting: Rc<Meeting>,
    told: bool,
    buffer: IoBuffer,
}

/// A word in a signal's value. Each such signal waits in its turn, and nothing is merged.
pub fn realtime(setup: &Setup<'_>) -> Result<(Words, WordsIn)> {
    block(setup, wait_set())?;
    let meeting = Meeting::new()?;
    let receiving = WordsIn { meeting: Rc::clone(&meeting), told: false, buffer: IoBuffer::new(setup.size) };
    Ok((Words { meeting, receiver: None }, receiving))
}

fn wait_set() -> SigSet {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: it is initialised.
    unsafe { libc::sigaddset(set.as_mut_ptr(), libc::SIGRTMIN()) };
    // SAFETY: it is initialised.
    let set = unsafe { set.assume_init() };
    // SAFETY: it is a valid set.
    unsafe { SigSet::from_sigset_t_unchecked(set) }
}

impl Sender for Words {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let receiver = *self.receiver.get_or_insert_with(|| self.meeting.ask());
        for part in message.chunks(size_of::<usize>()) {
            let mut word = [0; size_of::<usize>()];
            word[..part.len()].copy_from_slice(part);
            let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(usize::from_ne_bytes(word)) };
            // SAFETY: the value is a number, and nobody follows it.
            while unsafe { libc::sigqueue(receiver.as_raw(), libc::SIGRTMIN(), value) } < 0 {
                match io::Error::last_os_error() {
                    // RLIMIT_SIGPENDING of them wait already.
                    error if error.kind() == io::ErrorKind::WouldBlock => drop(sched_yield()),
                    error => return Err(error).doing("sigqueue"),
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for WordsIn {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        if !self.told {
            self.meeting.tell();
            self.told = true;
        }
        let set = wait_set();
        for part in self.buffer.chunks_mut(size_of::<usize>()) {
            let info = wait(&set).doing("sigwaitinfo")?;
            // SAFETY: sigqueue(3) gives the signal a value.
            let word = unsafe { info.si_value() }.sival_ptr.addr().to_ne_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
        Ok(Some(&self.buffer))
    }
}
