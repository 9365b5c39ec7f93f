//! memfd_create(2), write(2), seals, and sendmsg(2) of the descriptor; recvmsg(2), and mmap(2) of what came.
#![expect(unsafe_code, reason = "what is mapped is reached through a pointer")]

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;

use common::{Context, Receiver, Result, Sender};
use nix::cmsg_space;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, setsockopt,
    socketpair, sockopt,
};

use crate::source::Setup;

/// The sending end.
pub struct Giver(OwnedFd);

/// The receiving end, and the last message.
pub struct Taker {
    socket: OwnedFd,
    size: usize,
    mapped: Option<NonNull<libc::c_void>>,
}

/// Connected sockets.
pub fn memfd(setup: &Setup<'_>) -> Result<(Giver, Taker)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (to, from) = pair.doing("socketpair")?;
    // As little as there can be: the buffer does not count the memory behind the descriptors in it.
    setsockopt(&to, sockopt::SndBuf, &0).doing("setsockopt")?;
    Ok((Giver(to), Taker { socket: from, size: setup.size, mapped: None }))
}

impl Sender for Giver {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        let give = || -> io::Result<()> {
            let fd = memfd_create("message", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
            let mut file = File::from(fd);
            file.write_all(message)?;
            let seals = SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
            // It is busy where the kernel itself has a hand on a page for a moment.
            while let Err(error) = fcntl(&file, FcntlArg::F_ADD_SEALS(seals)) {
                if error != nix::Error::EBUSY {
                    return Err(error.into());
                }
            }
            let fds = [file.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&fds)];
            sendmsg::<()>(self.0.as_raw_fd(), &[IoSlice::new(&[0])], &rights, MsgFlags::empty(), None)?;
            Ok(())
        };
        give().doing("sendmsg")
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Taker {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        self.unmap();
        let Some(start) = self.take().doing("recvmsg")? else { return Ok(None) };
        self.mapped = Some(start);
        // SAFETY: the mapping has `size` bytes that seals keep from changing, until the next call unmaps it.
        Ok(Some(unsafe { slice::from_raw_parts(start.as_ptr().cast(), self.size) }))
    }
}

impl Taker {
    /// Maps what comes next; `None` at the end.
    fn take(&self) -> io::Result<Option<NonNull<libc::c_void>>> {
        let (mut byte, mut space) = ([0], cmsg_space!([i32; 1]));
        let mut bytes = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let taken = recvmsg::<()>(self.socket.as_raw_fd(), &mut bytes, Some(&mut space), flags)?;
        let fd = taken.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
            _ => None,
        });
        let Some(fd) = fd else { return Ok(None) };
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        let size = NonZeroUsize::new(self.size).ok_or(io::ErrorKind::InvalidData)?;
        if file.metadata()?.len() < self.size as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // SAFETY: a new mapping, where the kernel finds room, concerns nobody's memory.
        Ok(Some(unsafe { mmap(None, size, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, &file, 0) }?))
    }

    fn unmap(&mut self) {
        if let Some(start) = self.mapped.take() {
            // SAFETY: the slice that was made of the mapping ended with the call of `recv` that made it.
            let _ = unsafe { munmap(start, self.size) };
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.unmap();
    }
}
