//! A peer that keeps no contract: lengths that nobody has.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use harness::{EndpointKind, NO_ARGS, Pair, Process, Result, Role, Trial, ensure};

/// The length in front of a message that nobody has room for: one below the mark of the end.
const HOSTILE: [u8; 4] = 0xffff_fffe_u32.to_be_bytes();
/// A refusal does not read, allocate or wait.
const PROMPTLY: Duration = Duration::from_secs(2);

const OWN_TESTS: &str = "no raw bytes can be put there; the crate's own tests do";

fn raw_bytes(pair: &Pair) -> Result<(), &'static str> {
    let reachable = matches!(pair.can.endpoint, EndpointKind::Path | EndpointKind::Address | EndpointKind::Inherited);
    (pair.can.byte_stream && reachable).then_some(()).ok_or(OWN_TESTS)
}

/// A length that comes from outside is checked before anything is made of it.
fn hostile_length(trial: &Trial) -> Result {
    if trial.pair.can.endpoint == EndpointKind::Inherited {
        let launch = trial.launch(Role::Receiver).args(["--endpoint", "-"]).stdin_open(HOSTILE);
        return refuses(&launch.spawn()?);
    }
    let receiver = trial.receiver(NO_ARGS)?;
    // Kept open: the end of the stream must not be what ends the receiver.
    let _stream = put(trial.endpoint().unwrap_or_default(), trial.pair.can.endpoint)?;
    refuses(&receiver)
}

fn refuses(receiver: &Process) -> Result {
    let end = receiver.wait_within(PROMPTLY)?;
    end.expect_one_of(&[1, 5])?;
    ensure!(receiver.stdout().is_empty(), "something came out");
    Ok(())
}

/// Puts the hostile length there, by whatever the endpoint turns out to be.
fn put(endpoint: &str, kind: EndpointKind) -> Result<Box<dyn Write>> {
    let path = Path::new(endpoint);
    let mut stream: Box<dyn Write> = if kind == EndpointKind::Address {
        Box::new(TcpStream::connect(endpoint)?)
    } else if fs::metadata(path)?.file_type().is_socket() {
        Box::new(UnixStream::connect(path)?)
    } else {
        let mut options = File::options();
        Box::new(options.append(true).custom_flags(libc::O_CLOEXEC).open(path)?)
    };
    stream.write_all(&HOSTILE)?;
    Ok(stream)
}

crate::promises! {
    raw_bytes: hostile_length;
}
