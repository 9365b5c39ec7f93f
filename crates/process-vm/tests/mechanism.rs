//! The mechanism alone, as a copy of it is tested too: the process reads its own memory, which is always permitted.
#![expect(unsafe_code, reason = "pages are mapped and unmapped")]

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use process_vm::process_vm::{MAX_MESSAGE, Reader, Writer, grant};

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// Bytes that do not repeat from page to page.
fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (seed..seed + len).map(|at| (at % 251) as u8).collect()
}

/// An offer of somebody else's making.
fn offer(socket: &OwnedFd, address: u64, len: u64) {
    let words = [address.to_ne_bytes(), len.to_ne_bytes()].concat();
    send(socket.as_raw_fd(), &words, MsgFlags::empty()).unwrap();
}

/// The receiver's answer, an errno.
fn answer(socket: &OwnedFd) -> i32 {
    let mut answer = [0; 4];
    assert_eq!(recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT), Ok(4));
    i32::from_ne_bytes(answer)
}

#[test]
fn messages_come_out_whole_and_in_order() {
    let sizes = [0, 1, 7, 4095, 4096, 4097, 65537, MAX_MESSAGE - 1, MAX_MESSAGE];
    let (ours, theirs) = pair();
    let sender = thread::spawn(move || {
        let writer = Writer::new(theirs).unwrap();
        for (number, size) in sizes.into_iter().enumerate() {
            writer.offer(&bytes(size, number)).unwrap().taken().unwrap();
        }
        writer.end().unwrap();
    });
    let reader = Reader::new(ours).unwrap();
    let mut buffer = vec![0xff; MAX_MESSAGE];
    for (number, size) in sizes.into_iter().enumerate() {
        assert_eq!(reader.take(&mut buffer).unwrap(), Some(size));
        assert!(buffer[..size] == bytes(size, number), "message {number} of {size} bytes");
    }
    assert_eq!(reader.take(&mut buffer).unwrap(), None);
    sender.join().unwrap();
}

/// Whoever gives up waiting may use the memory again. What is read then is nobody's message.
#[test]
fn an_offer_that_is_withdrawn_is_not_taken() {
    let (ours, theirs) = pair();
    let writer = Writer::new(theirs).unwrap();
    drop(writer.offer(b"first thoughts").unwrap());
    let refused = Reader::new(ours).unwrap().take(&mut [0; 64]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
    assert!(writer.offer(b"second thoughts").is_err(), "the conversation is over");
}

#[test]
fn a_wrong_address_is_an_error_at_both_ends() {
    let text = b"hello";
    let good = text.as_ptr().expose_provenance() as u64;
    for (address, len) in [(0, 1), (8, 4096), (u64::MAX, 1), (u64::MAX - 4095, 8192), (1 << 63, 16), (good, 1 << 23)] {
        let (ours, theirs) = pair();
        offer(&theirs, address, len);
        let refused = Reader::new(ours).unwrap().take(&mut vec![0; MAX_MESSAGE]).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::EFAULT as i32), "{len} bytes at {address:#x}");
        assert_eq!(answer(&theirs), Errno::EFAULT as i32);
    }
    let (ours, theirs) = pair();
    let reader = Reader::new(ours).unwrap();
    let mut buffer = [0; 5];
    offer(&theirs, good, 5);
    assert_eq!(reader.take(&mut buffer).unwrap(), Some(5));
    assert_eq!((&buffer, answer(&theirs)), (text, 0));
}

/// The first page is there, and the second is not: process_vm_readv(2) says that it has read one page.
#[test]
fn a_message_of_which_a_part_is_missing_is_an_error() {
    let two_pages = 8192.try_into().unwrap();
    // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
    let page = unsafe { mmap_anonymous(None, two_pages, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE) }.unwrap();
    let second = NonNull::new(page.as_ptr().wrapping_byte_add(4096)).unwrap();
    // SAFETY: it is a page of the mapping above, which nobody uses.
    unsafe { munmap(second, 4096) }.unwrap();
    let (ours, theirs) = pair();
    let reader = Reader::new(ours).unwrap();
    let address = page.as_ptr().expose_provenance() as u64;
    offer(&theirs, address, 4096);
    assert_eq!(reader.take(&mut [1; 8192]).unwrap(), Some(4096));
    offer(&theirs, address, 8192);
    let refused = reader.take(&mut [1; 8192]).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(Errno::EFAULT as i32));
}

#[test]
fn records_that_no_honest_sender_sends_are_errors() {
    for len in [MAX_MESSAGE as u64 + 1, 1 << 32, u64::MAX - 1] {
        let (ours, theirs) = pair();
        offer(&theirs, 0x1000, len);
        let refused = Reader::new(ours).unwrap().take(&mut vec![0; MAX_MESSAGE]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData, "{len} bytes");
    }
    for len in [1, 8, 15, 17, 4096] {
        let (ours, theirs) = pair();
        send(theirs.as_raw_fd(), &vec![0; len], MsgFlags::empty()).unwrap();
        let refused = Reader::new(ours).unwrap().take(&mut [0; 64]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidData, "a record of {len} bytes");
    }
}

/// Answers that nobody takes fill the socket. The reader must not wait for room in it.
#[test]
fn a_sender_that_never_listens_does_not_make_the_reader_wait() {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (ours, theirs) = pair();
        let reader = Reader::new(ours).unwrap();
        let refused = (0..100_000).find_map(|_| {
            offer(&theirs, 0, 0);
            reader.take(&mut []).err()
        });
        tell.send(refused.map(|error| error.kind())).unwrap();
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(Some(ErrorKind::InvalidData)));
}

#[test]
fn a_peer_that_is_gone_is_an_error() {
    let (ours, theirs) = pair();
    drop(theirs);
    assert_eq!(Reader::new(ours).unwrap().take(&mut [0; 64]).unwrap_err().kind(), ErrorKind::UnexpectedEof);

    let (ours, theirs) = pair();
    let writer = Writer::new(theirs).unwrap();
    let mut offer = writer.offer(b"hello").unwrap();
    drop(ours);
    assert!(matches!(offer.taken().unwrap_err().kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
    drop(offer);
    assert_eq!(writer.offer(b"hello").err().map(|error| error.kind()), Some(ErrorKind::BrokenPipe));
    assert_eq!(writer.offer(&vec![0; MAX_MESSAGE + 1]).err().and_then(|error| error.raw_os_error()), Some(90));
}

#[test]
fn granting_works_or_is_not_needed() {
    let granted = grant(std::process::id() as i32);
    let yama = File::open("/proc/sys/kernel/yama/ptrace_scope");
    let needed = yama.is_ok_and(|file| file.read_at(&mut [0], 0).is_ok());
    let expected = if needed { None } else { Some(Errno::EINVAL as i32) };
    assert_eq!(granted.as_ref().err().and_then(Error::raw_os_error), expected);
}
