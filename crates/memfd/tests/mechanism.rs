//! The mechanism alone, as a copy of it is tested too.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, Read, Write, pipe};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use memfd::channel::{MAX_INLINE, MAX_MESSAGE, Reader, WINDOW, Writer};
use memfd::memfd::{Mapping, SEALS, seal, sealed};
use memfd::scm_rights;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, FdFlag, SealFlag, SpliceFFlags, fallocate, fcntl, splice};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair};

const LARGE: usize = 64 << 10;
const MIB: usize = 1 << 20;

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// Bytes that do not repeat from page to page.
fn bytes(len: usize, seed: usize) -> Vec<u8> {
    (seed..seed + len).map(|at| (at % 251) as u8).collect()
}

fn errno(result: io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn messages_come_out_whole_and_in_order() {
    let sizes = [0, 1, 4095, 4096, 4097, LARGE - 1, LARGE, LARGE + 1, MAX_INLINE, MAX_INLINE + 1, MIB - 1, MAX_MESSAGE];
    for large in [0, LARGE, usize::MAX] {
        let (ours, theirs) = pair();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(theirs, large);
            // More than the window, so that it depends on reports.
            for (number, size) in sizes.into_iter().chain([MAX_MESSAGE; 5]).enumerate() {
                writer.put(&bytes(size, number)).unwrap();
            }
            writer.put_end().unwrap();
        });
        let mut reader = Reader::new(ours);
        for (number, size) in sizes.into_iter().chain([MAX_MESSAGE; 5]).enumerate() {
            assert!(reader.take().unwrap());
            assert!(reader.message() == bytes(size, number), "message {number} of {size} bytes");
        }
        assert!(!reader.take().unwrap());
        writer.join().unwrap();
    }
}

/// Pages that are in a pipe are held there, as the kernel holds some for a moment whenever it moves them about.
#[test]
fn who_holds_a_page_delays_the_seal() {
    let mut file = File::from(memfd_create("held", MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.write_all(&bytes(4096, 1)).unwrap();
    let (mut reader, writer) = pipe().unwrap();
    splice(&file, Some(&mut 0), &writer, None, 4096, SpliceFFlags::empty()).unwrap();
    assert_eq!(seal(&file).unwrap_err().kind(), ErrorKind::WouldBlock);
    reader.read_exact(&mut [0; 4096]).unwrap();
    seal(&file).unwrap();
}

#[test]
fn nothing_changes_what_is_sealed() {
    let file = File::from(sealed(b"hello").unwrap());
    let eperm = Some(Errno::EPERM as i32);
    assert_eq!(errno(file.write_at(b"j", 0)), eperm, "write");
    assert_eq!(errno(file.set_len(1)), eperm, "shrink");
    assert_eq!(errno(file.set_len(6)), eperm, "grow");
    assert_eq!(errno(file.write_all_at(b"!", 5)), eperm, "append");
    let unseal = fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::empty())).map_err(io::Error::from);
    assert_eq!(errno(unseal), eperm, "any further seal");
    // A new opening of the file is no way round.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    assert_eq!(errno(File::options().write(true).open(path).unwrap().write(b"j")), eperm, "write after open");
    assert_eq!(&*Mapping::new(file.into(), 5).unwrap(), b"hello");
}

/// Whoever can still write has to let go first, or there will be no seal.
#[test]
fn a_writable_mapping_is_in_the_way_of_the_seal() {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap};
    let file = File::from(memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap());
    file.set_len(5).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    #[expect(unsafe_code, reason = "a mapping that nobody reads or writes")]
    // SAFETY: a new mapping at a place of the kernel's choice overlaps nothing.
    unsafe { mmap(None, 5.try_into().unwrap(), protection, MapFlags::MAP_SHARED, &file, 0) }.unwrap();
    assert_eq!(fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)), Err(Errno::EBUSY));
}

#[test]
fn what_could_change_or_vanish_is_not_mapped() {
    let memfd = |len: usize, seals: SealFlag| {
        let file = File::from(memfd_create("test", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap());
        file.write_all_at(&bytes(len, 0), 0).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        OwnedFd::from(file)
    };
    assert!(Mapping::new(memfd(5000, SEALS), 5000).is_ok());
    for missing in [SealFlag::F_SEAL_WRITE, SealFlag::F_SEAL_SHRINK, SealFlag::F_SEAL_GROW, SealFlag::F_SEAL_SEAL] {
        let refused = Mapping::new(memfd(5000, SEALS - missing), 5000).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidData, "without {missing:?}");
    }
    // The one that looks like enough: it leaves the writable mappings that there are.
    let future = (SEALS - SealFlag::F_SEAL_WRITE) | SealFlag::F_SEAL_FUTURE_WRITE;
    assert!(Mapping::new(memfd(5000, future), 5000).is_err());
    for (len, announced) in [(5000, 4999), (5000, 5001), (5000, 0), (0, 0), (0, 1), (1, MAX_MESSAGE)] {
        let refused = Mapping::new(memfd(len, SEALS), announced).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidData, "{len} bytes announced as {announced}");
    }
    // A hole needs memory when it is read. Where there is none that is SIGBUS.
    let hole = File::from(memfd(4096, SealFlag::empty()));
    hole.set_len(12288).unwrap();
    fcntl(&hole, FcntlArg::F_ADD_SEALS(SEALS)).unwrap();
    assert_eq!(Mapping::new(hole.into(), 12288).err().unwrap().kind(), ErrorKind::InvalidData);
    // Pages behind the end are no memory for those before it.
    let hole = File::from(memfd(0, SealFlag::empty()));
    hole.set_len(12288).unwrap();
    fallocate(&hole, FallocateFlags::FALLOC_FL_KEEP_SIZE, 12288, 12288).unwrap();
    fcntl(&hole, FcntlArg::F_ADD_SEALS(SEALS)).unwrap();
    assert_eq!(Mapping::new(hole.into(), 12288).err().unwrap().kind(), ErrorKind::InvalidData);
    // What is no file in memory has no seals.
    let (read, _write) = pipe().unwrap();
    assert_eq!(errno(Mapping::new(read.into(), 5000)), Some(Errno::EINVAL as i32));
}

#[test]
fn a_descriptor_that_was_passed_is_close_on_exec() {
    let (ours, theirs) = pair();
    scm_rights::send(&theirs, [b"one", b" record"], Some(&sealed(b"x").unwrap())).unwrap();
    let mut buffer = [0; 16];
    let (len, fd) = scm_rights::recv(&ours, &mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"one record");
    let flags = fcntl(fd.unwrap(), FcntlArg::F_GETFD).unwrap();
    assert!(FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC));
}

/// A pipe tells by its end of file that no descriptor of its writing end is left anywhere.
#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    for (count, record) in [(1, &[0; 17][..]), (2, b"x"), (3, b"x"), (100, b"x")] {
        let (ours, theirs) = pair();
        let (mut read, write) = pipe().unwrap();
        let fds = vec![write.as_raw_fd(); count];
        let rights = [ControlMessage::ScmRights(&fds)];
        sendmsg::<()>(theirs.as_raw_fd(), &[IoSlice::new(record)], &rights, MsgFlags::empty(), None).unwrap();
        drop(write);
        let refused = scm_rights::recv(&ours, &mut [0; 16]).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidData, "{count} descriptors");
        assert_eq!(read.read(&mut [0]).unwrap(), 0, "of {count} descriptors some are still open");
    }
}

#[test]
fn records_that_no_honest_sender_sends_are_errors() {
    let end = u32::MAX.to_be_bytes();
    let some = 5_u32.to_be_bytes();
    let memfd = || sealed(b"hello").unwrap();
    let hostile: [([&[u8]; 2], Option<OwnedFd>); 8] = [
        ([b"abc", b""], None),
        ([&some, b"hell"], None),
        ([&some, b"hello!"], None),
        ([&0xffff_fffe_u32.to_be_bytes(), b""], None),
        ([&end, b"hello"], None),
        ([&end, b""], Some(memfd())),
        ([&(MAX_MESSAGE as u32 + 1).to_be_bytes(), b""], Some(memfd())),
        ([&4_u32.to_be_bytes(), b""], Some(memfd())),
    ];
    for (number, (parts, fd)) in hostile.into_iter().enumerate() {
        let (ours, theirs) = pair();
        scm_rights::send(&theirs, parts, fd.as_ref()).unwrap();
        let refused = Reader::new(ours).take().err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::InvalidData, "record {number}");
    }
    // A report of what was never sent.
    let (ours, theirs) = pair();
    let mut writer = Writer::new(theirs, 1);
    (0..WINDOW / MAX_MESSAGE).for_each(|_| writer.put(&vec![0; MAX_MESSAGE]).unwrap());
    scm_rights::send(&ours, [&u32::MAX.to_be_bytes(), b""], None).unwrap();
    assert_eq!(writer.put(&vec![0; MAX_MESSAGE]).unwrap_err().kind(), ErrorKind::InvalidData);
}

/// What hangs on the descriptors in a socket is counted by nobody, so the writer does.
#[test]
fn no_more_than_the_window_is_under_way() {
    let (ours, theirs) = pair();
    let (report, reports) = mpsc::channel();
    let writer = thread::spawn(move || {
        let mut writer = Writer::new(theirs, LARGE);
        for number in 1..=2 * WINDOW / MIB {
            writer.put(&vec![number as u8; MIB]).unwrap();
            report.send(number).unwrap();
        }
    });
    for number in 1..=WINDOW / MIB {
        assert_eq!(reports.recv_timeout(Duration::from_secs(20)), Ok(number));
    }
    assert_eq!(reports.recv_timeout(Duration::from_millis(300)), Err(RecvTimeoutError::Timeout));
    thread::spawn(move || {
        let mut reader = Reader::new(ours);
        while reader.take().is_ok_and(|more| more) {}
    });
    // As the reader lets go of them, others come.
    for number in WINDOW / MIB + 1..=2 * WINDOW / MIB {
        assert_eq!(reports.recv_timeout(Duration::from_secs(20)), Ok(number));
    }
    writer.join().unwrap();
}

/// It leaves reports unread, and so its socket says ECONNRESET before what else there is.
#[test]
fn a_writer_that_is_gone_loses_nothing() {
    let (ours, theirs) = pair();
    let mut writer = Writer::new(theirs, LARGE);
    let mut reader = Reader::new(ours);
    for number in 0..20 {
        writer.put(&vec![number; MIB]).unwrap();
    }
    for number in 0..10 {
        assert!(reader.take().unwrap());
        assert_eq!(reader.message()[0], number);
    }
    drop(writer);
    for number in 10..20 {
        assert!(reader.take().unwrap());
        assert_eq!(reader.message()[0], number);
    }
    assert_eq!(reader.take().unwrap_err().kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn a_reader_that_is_gone_is_an_error() {
    let (ours, theirs) = pair();
    let mut writer = Writer::new(theirs, LARGE);
    drop(ours);
    for len in [0, MIB] {
        assert_eq!(writer.put(&vec![0; len]).unwrap_err().kind(), ErrorKind::BrokenPipe, "{len} bytes");
    }
    assert_eq!(errno(writer.put(&vec![0; MAX_MESSAGE + 1])), Some(Errno::EMSGSIZE as i32));
}
