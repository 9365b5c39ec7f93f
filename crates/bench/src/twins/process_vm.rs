//! process_vm_readv(2): the reader copies straight out of the writer's buffer. A socket tells where it is, and when it
//! has been read.
#![expect(unsafe_code, reason = "prctl(2) of PR_SET_PTRACER has no wrapper")]

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use common::{Context, IoBuffer, Receiver, Result, Sender};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;

use crate::source::Setup;

/// The end that is read.
pub struct Writer {
    socket: OwnedFd,
    granted: bool,
}

/// The end that reads.
pub struct Reader {
    socket: OwnedFd,
    buffer: IoBuffer,
}

/// The writer's pid, and the address of its buffer.
const OFFER: usize = 2 * size_of::<u64>();

/// Connected sockets.
pub fn process_vm(setup: &Setup<'_>) -> Result<(Writer, Reader)> {
    let pair = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC);
    let (to, from) = pair.doing("socketpair")?;
    Ok((Writer { socket: to, granted: false }, Reader { socket: from, buffer: IoBuffer::new(setup.size) }))
}

impl Sender for Writer {
    fn send(&mut self, message: &[u8]) -> Result<()> {
        if !self.granted {
            // Where Yama guards ptrace(2), a process reads its descendants only, unless they agree.
            // SAFETY: the call takes integers; where there is no Yama it fails, and nothing is needed.
            unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
            self.granted = true;
        }
        let mut offer = [0; OFFER];
        let (pid, address) = offer.split_at_mut(OFFER / 2);
        pid.copy_from_slice(&u64::from(std::process::id()).to_le_bytes());
        address.copy_from_slice(&(message.as_ptr().expose_provenance() as u64).to_le_bytes());
        let fd = self.socket.as_raw_fd();
        send(fd, &offer, MsgFlags::MSG_NOSIGNAL).doing("send")?;
        // Until then the buffer is the reader's.
        match recv(fd, &mut [0], MsgFlags::empty()).doing("recv")? {
            1 => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::BrokenPipe)).doing("recv"),
        }
    }

    fn finish(self) -> Result<()> {
        Ok(())
    }
}

impl Receiver for Reader {
    fn recv(&mut self) -> Result<Option<&[u8]>> {
        let (fd, mut offer) = (self.socket.as_raw_fd(), [0; OFFER]);
        if recv(fd, &mut offer, MsgFlags::empty()).doing("recv")? != OFFER {
            return Ok(None);
        }
        let (pid, address) = offer.split_at(OFFER / 2);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let there = RemoteIoVec { base: number(address) as usize, len: self.buffer.len() };
        let writer = Pid::from_raw(number(pid) as i32);
        let len = process_vm_readv(writer, &mut [IoSliceMut::new(&mut self.buffer)], &[there]);
        if len.doing("process_vm_readv")? != self.buffer.len() {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).doing("process_vm_readv");
        }
        send(fd, &[1], MsgFlags::MSG_NOSIGNAL).doing("send")?;
        Ok(Some(&self.buffer))
    }
}
