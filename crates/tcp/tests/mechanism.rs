//! What the mechanism does by itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
use tcp::peer_user::{Peer, Protocol, listener_is_foreign, peer};
use tcp::tcp::{accept, finish_connect, listen, start_connect, stop_listening};

fn anywhere() -> (TcpListener, SocketAddr) {
    let listener = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn connected(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = start_connect(address)?;
    finish_connect(&stream)?;
    Ok(stream)
}

#[test]
fn bytes_come_out_in_the_order_in_which_they_went_in() {
    let (listener, address) = anywhere();
    let mut writer = connected(address).unwrap();
    let mut reader = accept(&listener).unwrap();
    let sent: Vec<u8> = (0..1_000_003_u32).map(|at| (at % 251) as u8).collect();
    let expected = sent.clone();
    let write = thread::spawn(move || writer.write_all(&sent).unwrap());
    let mut received = Vec::new();
    reader.read_to_end(&mut received).unwrap();
    write.join().unwrap();
    assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
}

#[test]
fn no_boundaries_are_kept() {
    let (listener, address) = anywhere();
    let mut writer = connected(address).unwrap();
    writer.write_all(b"one").unwrap();
    writer.write_all(b"two").unwrap();
    drop(writer);
    let mut reader = accept(&listener).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(reader.read(&mut buffer).unwrap(), 6);
    assert_eq!(&buffer[..6], b"onetwo");
}

/// The first write after the reader's end succeeds: the news is not back yet.
#[test]
fn a_write_may_succeed_with_nobody_to_read() {
    let (listener, address) = anywhere();
    let mut writer = connected(address).unwrap();
    drop(accept(&listener).unwrap());
    writer.write_all(b"into the void").unwrap();
    let kind = writer.write_all(b"again").unwrap_err().kind();
    assert!(matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{kind}");
}

#[test]
fn nobody_listens() {
    let (listener, address) = anywhere();
    drop(listener);
    assert_eq!(connected(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// Who comes later is refused, and yet the port is not free.
#[test]
fn a_port_can_be_kept_without_listening() {
    let (listener, address) = anywhere();
    kept(listener, address);
    // The same for a port that was asked for.
    kept(listen(&[address]).unwrap(), address);
}

fn kept(listener: TcpListener, address: SocketAddr) {
    let mut writer = connected(address).unwrap();
    let mut reader = accept(&listener).unwrap();
    stop_listening(&listener).unwrap();
    assert_eq!(connected(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(listen(&[address]).unwrap_err().kind(), ErrorKind::AddrInUse);
    writer.write_all(b"x").unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 1);
    // At once free for the next one, although the kernel remembers the connection for a minute.
    drop((reader, writer, listener));
    listen(&[address]).unwrap();
}

/// Closing with bytes unread resets the connection, and the kernel forgets both addresses.
#[test]
fn after_a_reset_nobody_is_there() {
    let (listener, address) = anywhere();
    let mut writer = connected(address).unwrap();
    let reader = accept(&listener).unwrap();
    writer.write_all(b"unread").unwrap();
    drop(reader);
    assert_eq!(writer.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
    assert_eq!(peer(&writer).unwrap(), Peer::Gone);
}

/// A socket that knocks at its own port finds itself.
#[test]
fn a_socket_connected_to_itself_is_refused() {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    use std::os::fd::AsRawFd;
    let any = SockaddrStorage::from("127.0.0.1:0".parse::<SocketAddr>().unwrap());
    bind(fd.as_raw_fd(), &any).unwrap();
    let mut stream = TcpStream::from(fd);
    let own = stream.local_addr().unwrap();
    connect(stream.as_raw_fd(), &SockaddrStorage::from(own)).unwrap();
    stream.write_all(b"echo").unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 4);
    assert_eq!(finish_connect(&stream).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn ones_own_process_is_not_foreign() {
    for place in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        // IPv6 may be missing.
        let Ok(listener) = listen(&[place.parse().unwrap()]) else { continue };
        let port = listener.local_addr().unwrap().port();
        let host = if place.starts_with("[::1]") { "::1" } else { "127.0.0.1" };
        let here = SocketAddr::new(host.parse().unwrap(), port);
        assert!(!listener_is_foreign(Protocol::Tcp, here).unwrap(), "{place}");
        let writer = connected(here).unwrap();
        let reader = accept(&listener).unwrap();
        assert_eq!((peer(&writer).unwrap(), peer(&reader).unwrap()), (Peer::Own, Peer::Own), "{place}");
        drop(writer);
        assert_eq!(peer(&reader).unwrap(), Peer::Gone, "{place}");
    }
}
