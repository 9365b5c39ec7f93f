//! How fast are sealed memfds, and how fast would a pool of eight regions be that are mapped once and used again?
//!
//! ```sh
//! cargo run --release -p memfd --example memfd-pool            # or with a number of MiB for each measurement
//! ```
//!
//! A region that is to be used again cannot be sealed against writing. So its receiver must copy the message out
//! before it looks at it, or it could change under its eyes, and then tell the sender that the region is free.
//! `sealed` has one copy and new memory for each message, `pool` two copies and always the same memory. In both the
//! receiver, a process of its own, reads every byte in the end.
#![expect(unsafe_code, reason = "memory that another process can write is reached through raw pointers only")]

use std::fs::File;
use std::hint::black_box;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::ptr::NonNull;
use std::time::Instant;

use memfd::channel::{MAX_MESSAGE, Reader, Writer};
use memfd::scm_rights;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

const REGIONS: usize = 8;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |text: &String| text.parse::<usize>().expect("a number");
    match &args[..] {
        [what, size, count] => {
            let socket = io::stdin().as_fd().try_clone_to_owned()?;
            let receive = if what == "pool" { receive_from_pool } else { receive_sealed };
            receive(socket, number(size), number(count))
        }
        _ => measure(args.first().map_or(1024, number) << 20),
    }
}

/// Prints a line for each size, each way having carried `total` bytes.
fn measure(total: usize) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "   bytes   sealed us     pool us")?;
    for size in [64 << 10, 1 << 20, MAX_MESSAGE] {
        let count = (total / size).max(2);
        let message = vec![7; size];
        let mut took = Vec::new();
        for (what, send) in [("sealed", send_sealed as fn(_, &_, _) -> _), ("pool", send_to_pool)] {
            let (socket, mut receiver) = start(what, size, count)?;
            // Pages that are touched for the first time are not what is compared, nor is the start of a program.
            recv(socket.as_raw_fd(), &mut [0], MsgFlags::empty())?;
            let start = Instant::now();
            send(socket, &message, count)?;
            assert!(receiver.wait()?.success(), "the receiver failed");
            took.push(start.elapsed().as_secs_f64() * 1e6 / count as f64);
        }
        writeln!(stdout, "{size:8} {:11.1} {:11.1}", took[0], took[1])?;
    }
    Ok(())
}

/// Starts this program as a receiver, with one end of a pair of sockets as its standard input.
fn start(what: &str, size: usize, count: usize) -> io::Result<(OwnedFd, Child)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([what, &size.to_string(), &count.to_string()]).stdin(Stdio::from(theirs));
    Ok((ours, command.spawn()?))
}

fn send_sealed(socket: OwnedFd, message: &[u8], count: usize) -> io::Result<()> {
    let mut writer = Writer::new(socket, 1);
    (0..count).try_for_each(|_| writer.put(message))?;
    writer.put_end()
}

fn receive_sealed(socket: OwnedFd, _: usize, _: usize) -> io::Result<()> {
    tell(&socket)?;
    let mut reader = Reader::new(socket);
    while reader.take()? {
        look_at(reader.message());
    }
    Ok(())
}

fn send_to_pool(socket: OwnedFd, message: &[u8], count: usize) -> io::Result<()> {
    let mut regions = Vec::new();
    for _ in 0..REGIONS {
        let memfd = File::from(memfd_create("region", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
        memfd.set_len(message.len() as u64)?;
        fcntl(&memfd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))?;
        let memfd = memfd.into();
        regions.push(map(&memfd, message.len())?);
        scm_rights::send(&socket, [&[0], &[]], Some(&memfd))?;
    }
    for number in 0..count {
        if number >= REGIONS {
            heard(&socket)?;
        }
        let region = regions[number % REGIONS].as_ptr();
        // SAFETY: the region has the message's length and nothing else lies in it; F_SEAL_SHRINK keeps it there.
        unsafe { region.copy_from_nonoverlapping(message.as_ptr(), message.len()) };
        tell(&socket)?;
    }
    // What is not heard now would be lost with the socket, and the receiver's next word with it.
    (0..count.min(REGIONS)).try_for_each(|_| heard(&socket))
}

fn receive_from_pool(socket: OwnedFd, size: usize, count: usize) -> io::Result<()> {
    tell(&socket)?;
    let mut regions = Vec::new();
    for _ in 0..REGIONS {
        let memfd = scm_rights::recv(&socket, &mut [0])?.1.ok_or(io::ErrorKind::InvalidData)?;
        regions.push(map(&memfd, size)?);
    }
    let mut message = vec![0; size];
    for number in 0..count {
        heard(&socket)?;
        // SAFETY: as in `send_to_pool`.
        unsafe { message.as_mut_ptr().copy_from_nonoverlapping(regions[number % REGIONS].as_ptr(), size) };
        tell(&socket)?;
        look_at(&message);
    }
    Ok(())
}

fn map(memfd: &OwnedFd, len: usize) -> io::Result<NonNull<u8>> {
    let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
    Ok(unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, memfd, 0) }?.cast())
}

/// Says that a region is full, or free. Which one is clear from the order.
fn tell(socket: &OwnedFd) -> io::Result<()> {
    send(socket.as_raw_fd(), &[0], MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

fn heard(socket: &OwnedFd) -> io::Result<()> {
    match recv(socket.as_raw_fd(), &mut [0], MsgFlags::empty())? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn look_at(message: &[u8]) {
    black_box(message.iter().map(|&byte| u64::from(byte)).sum::<u64>());
}
