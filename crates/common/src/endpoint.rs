//! Where the two ends meet when nobody says where: per user, so that nobody else can read, squat or break it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;
use std::{env, fs, io, thread};

use nix::unistd::geteuid;

use crate::{Args, Context, Endpoint, Error, Result, Role};

/// A kernel name of this length leaves room for the name of its lock file (NAME_MAX is 255).
const MAX_NAME: usize = 200;

/// What `--endpoint` said, checked, or the default.
pub(crate) fn of(args: &Args) -> Result<String> {
    let name = args.technique.name;
    let uid = geteuid();
    let Some(text) = args.endpoint.clone() else {
        return Ok(match args.technique.endpoint {
            Endpoint::Path | Endpoint::Pid => runtime_dir()?.join(name).display().to_string(),
            Endpoint::Name => format!("/ipc-lab-{uid}-{name}"),
            // Below the ephemeral ports, one for each user.
            Endpoint::Address => format!("127.0.0.1:{}", 20_000 + uid.as_raw() % 10_000),
            // A name would have room for everything; a key has 32 bits for the lecture's chapter and the user.
            Endpoint::Key => {
                format!("{:#x}", 0x1bc0_0000 | (args.technique.chapter as u32 + 1) << 16 | (uid.as_raw() & 0xffff))
            }
            Endpoint::Inherited => String::new(),
        });
    };
    let refuse = |why: &str| Err(Error::Usage(format!("--endpoint {text:?}: {why}")));
    match args.technique.endpoint {
        Endpoint::Name => {
            let rest = text.strip_prefix('/').unwrap_or("/");
            if rest.is_empty() || rest.contains(['/', '\0']) || rest.starts_with('.') || rest.len() > MAX_NAME {
                return refuse("a name is one slash and up to 200 characters without another");
            }
        }
        Endpoint::Path | Endpoint::Pid => {
            if Path::new(&text).file_name().is_none() || text.ends_with('/') {
                return refuse("the path of a file is needed");
            }
        }
        Endpoint::Key => match parse_key(&text) {
            // One spelling for each key, because the lock file's name is made of it.
            Some(key) => return Ok(format!("{key:#x}")),
            None => return refuse("a key is 0x and up to eight hexadecimal digits, not 0"),
        },
        Endpoint::Inherited => {
            if text != "-" {
                return refuse("only - is possible");
            }
        }
        Endpoint::Address => {
            // A name is looked up when it is used; here it only has to look like one.
            let host_port = |text: &str| {
                let (host, port) = text.rsplit_once(':')?;
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
                (!host.is_empty() && host.bytes().all(is_name)).then_some(())?;
                port.bytes().all(|digit| digit.is_ascii_digit()).then_some(())?;
                port.parse::<u16>().ok()
            };
            let port = text.parse().ok().map(|address: SocketAddr| address.port()).or_else(|| host_port(&text));
            match port {
                None => return refuse("ADDRESS:PORT is needed, as in 127.0.0.1:20000, [::1]:20000 or localhost:20000"),
                Some(0) if args.role == Role::Sender => return refuse("a sender must know the port"),
                Some(_) => {}
            }
        }
    }
    Ok(text)
}

/// What an endpoint that is a System V key stands for, as the type key_t.
pub(crate) fn key(args: &Args) -> Result<i32> {
    let text = of(args)?;
    let key = parse_key(&text).ok_or_else(|| Error::Usage(format!("--endpoint {text:?}: not a key")))?;
    Ok(key.cast_signed())
}

/// 0 is no key of anybody's: it is IPC_PRIVATE.
fn parse_key(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok().filter(|&key| key != 0)
}

/// What an endpoint that is an address stands for; a host's name may stand for several.
pub(crate) fn addresses(args: &Args) -> Result<Vec<SocketAddr>> {
    let text = of(args)?;
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let call = format!("look up {text}");
    // getaddrinfo(3) may ask a server far away and cannot be interrupted, so it gets a thread that can be left.
    let (tell, told) = channel();
    let look_up = move || drop(tell.send(text.to_socket_addrs()));
    thread::Builder::new().name("look up".into()).spawn(look_up).doing("starting a thread")?;
    let timeout = args.timeout.unwrap_or(Duration::MAX);
    match told.recv_timeout(timeout) {
        Ok(found) => Ok(found.doing(call)?.collect()),
        Err(_) => Err(Error::TimedOut { doing: call, after: timeout }),
    }
}

/// The file that the two ends lock (see `rendezvous.rs`): beside a path, in /dev/shm for a name or key of the
/// kernel's. Such a name means the same thing in every terminal of a user's, whatever XDG_RUNTIME_DIR is there, and
/// so must its lock.
pub(crate) fn lock_file(args: &Args) -> Result<PathBuf> {
    let endpoint = of(args)?;
    Ok(match args.technique.endpoint {
        Endpoint::Path | Endpoint::Pid => PathBuf::from(format!("{endpoint}.lock")),
        _ => PathBuf::from(format!("/dev/shm/{}.{}.lock", endpoint.trim_start_matches('/'), args.technique.name)),
    })
}

/// `$XDG_RUNTIME_DIR/ipc-lab`, else `/tmp/ipc-lab-UID`; it need not exist.
pub(crate) fn runtime_dir() -> Result<PathBuf> {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(base) if base.is_absolute() => Ok(base.join("ipc-lab")),
        _ => Ok(PathBuf::from(format!("/tmp/ipc-lab-{}", geteuid()))),
    }
}

/// Makes the runtime folder where it is missing, and refuses one that others could tamper with.
pub(crate) fn make_runtime_dir() -> Result<()> {
    let dir = runtime_dir()?;
    let meta = loop {
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).doing(format!("mkdir {}", dir.display()));
            }
            _ => {}
        }
        // Never through a link: in /tmp anybody may have put one there.
        match fs::symlink_metadata(&dir) {
            // Another pair has ended in between and removed the folder, which was empty.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => break other.doing(format!("stat {}", dir.display()))?,
        }
    };
    if !meta.is_dir() || meta.uid() != geteuid().as_raw() || meta.mode() & 0o077 != 0 {
        return Err(io::Error::from_raw_os_error(libc::EPERM))
            .doing(format!("runtime folder {}", dir.display()))
            .map_err(|error| error.with_hint("it must be a folder of yours with mode 0700; set XDG_RUNTIME_DIR"));
    }
    Ok(())
}

/// Removes the runtime folder once nobody uses it.
pub(crate) fn remove_runtime_dir_if_empty() {
    if let Ok(dir) = runtime_dir() {
        let _ = fs::remove_dir(dir); // ENOTEMPTY: another pair is at work.
    }
}

#[cfg(test)]
mod tests {
    use super::parse_key;

    #[test]
    fn a_key_is_hexadecimal_and_not_0() {
        assert_eq!(parse_key("0xCafe"), Some(0xcafe));
        assert_eq!(parse_key("0x0000cafe"), Some(0xcafe));
        assert_eq!(parse_key("0xffffffff"), Some(u32::MAX));
        for bad in ["", "0", "0x", "0x0", "51966", "cafe", "0xcafé", "0x100000000", "-1"] {
            assert_eq!(parse_key(bad), None, "{bad:?}");
        }
    }
}
