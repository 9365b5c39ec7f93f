//! Whatever is asked for, nothing but regular files below the root is served.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Completion;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode as Bits, SFlag, makedev, mknod};
use nix::unistd::{Uid, mkfifo};

use crate::client::{Client, Reply, get};
use crate::server::{Launch, Mode, Server};
use crate::{Result, ensure};

crate::trials! {
    paths_that_lead_out,
    links_that_lead_out,
    links_that_stay_inside,
    fifos_are_not_even_opened,
    sockets,
    devices,
    files_that_may_not_be_read,
    a_file_exchanged_for_a_link,
}

/// What must never leave the machine.
const SECRETS: [&str; 2] = ["TOP SECRET", "root:"];

fn refused(reply: &Reply, asked: &str) -> Result {
    ensure!((400..500).contains(&reply.status), "{asked}: {}", reply.head);
    let text = reply.head.clone() + &reply.text();
    ensure!(!SECRETS.iter().any(|secret| text.contains(secret)), "{asked}: {text}");
    Ok(())
}

/// All of these are refused, on one connection and on connections of their own, and no child minds.
fn all_refused(server: &Server, targets: &[&str]) -> Result {
    let mut client = Client::connect(server.address)?;
    for target in targets {
        let reply = client.get(target)?;
        refused(&reply, target)?;
        refused(&client.ask("HEAD", target, "")?, target)?;
        refused(&client.ask("GET", target, "Range: bytes=0-9\r\n")?, target)?;
        let alone = get(server.address, target)?;
        refused(&alone, target)?;
        ensure!(alone.status == reply.status, "{target}: {} and {}", alone.status, reply.status);
    }
    ensure!(client.get("/digits.txt")?.text() == "0123456789", "nothing is served any more");
    ensure!(server.total("children_crashed")? == 0, "a child crashed: {:?}", server.said());
    Ok(())
}

fn paths_that_lead_out(mode: Mode) -> Result {
    let server = Server::start(mode, &[])?;
    all_refused(
        &server,
        &[
            "/../secret.txt",
            "/sub/../../secret.txt",
            "/./../secret.txt",
            "//../secret.txt",
            "/..",
            "/../",
            "/%2e%2e/secret.txt",
            "/.%2E/secret.txt",
            "/%2e%2e%2fsecret.txt",
            "/..%2fsecret.txt",
            "/sub%2f..%2f..%2fsecret.txt",
            "/%252e%252e/secret.txt",
            "/..%5csecret.txt",
            "/..\\secret.txt",
            "/%c0%ae%c0%ae/secret.txt",
            "/%c0%ae%c0%ae%c0%afsecret.txt",
            "/..;/secret.txt",
            "/digits.txt/../../secret.txt",
            "/digits.txt%00.html",
            "/..%00/secret.txt",
            "/../secret.txt%00",
            "/../secret.txt?/digits.txt",
            "/etc/passwd",
            "//etc/passwd",
            "/%2fetc%2fpasswd",
            "http://localhost/../secret.txt",
            "http://localhost/%2e%2e/secret.txt",
            "/.hidden",
            "/%2ehidden",
            "/sub/../.hidden",
            "/proc/self/environ",
            "/%",
            "/%2",
            "/%zz",
            "/digits.txt%",
        ],
    )?;
    // What is not even a target.
    for request in ["GET ../secret.txt HTTP/1.1", "GET \0/../secret.txt HTTP/1.1", "GET file:///etc/passwd HTTP/1.1"] {
        let mut client = Client::connect(server.address)?;
        client.send(format!("{request}\r\nHost: a\r\n\r\n"))?;
        refused(&client.reply(false)?, request)?;
    }
    // Long ones, up to what a path can be and beyond.
    let deep = format!("/{}secret.txt", "../".repeat(1000));
    let long = format!("/{}", "a/".repeat(3900));
    all_refused(&server, &[&deep, &long, &format!("/{}", "a".repeat(300))])?;
    server.stop()
}

fn links_that_lead_out(mode: Mode) -> Result {
    let launch = Launch::new(mode, &[])?;
    let root = launch.root();
    let secret = root.with_file_name("secret.txt");
    fs::create_dir(root.with_file_name("outside"))?;
    fs::write(root.with_file_name("outside").join("index.html"), "TOP SECRET\n")?;
    symlink(&secret, root.join("absolute.txt"))?;
    symlink("../secret.txt", root.join("relative.txt"))?;
    symlink("absolute.txt", root.join("chain.txt"))?;
    symlink("/etc", root.join("etc"))?;
    symlink("..", root.join("up"))?;
    symlink("../outside", root.join("folder"))?;
    symlink("nowhere", root.join("dangling.txt"))?;
    symlink("loop.txt", root.join("loop.txt"))?;
    symlink("/proc/self/root", root.join("magic"))?;
    symlink("/proc/self/cwd", root.join("cwd"))?;
    symlink("/proc/self/fd/0", root.join("zero.txt"))?;
    // Absolute, though it leads to a place inside: it would mean another file if the root were moved.
    symlink(root.join("digits.txt"), root.join("inside.txt"))?;
    let server = launch.start()?;
    all_refused(
        &server,
        &[
            "/absolute.txt",
            "/relative.txt",
            "/chain.txt",
            "/etc/passwd",
            "/etc",
            "/etc/",
            "/up",
            "/up/secret.txt",
            "/up/root/digits.txt",
            "/folder",
            "/folder/",
            "/folder/index.html",
            "/folder/missing",
            "/dangling.txt",
            "/loop.txt",
            "/magic/etc/passwd",
            "/cwd/Cargo.toml",
            "/zero.txt",
            "/inside.txt",
        ],
    )?;
    // Nor can be told what exists out there.
    let statuses = ["/etc/passwd", "/etc/missing", "/etc", "/folder", "/up/secret.txt", "/up/missing"];
    for target in statuses {
        ensure!(get(server.address, target)?.status == 404, "{target}");
    }
    server.stop()
}

fn links_that_stay_inside(mode: Mode) -> Result {
    let launch = Launch::new(mode, &[])?;
    symlink("../digits.txt", launch.root().join("sub/link.txt"))?;
    symlink("sub", launch.root().join("folder"))?;
    let server = launch.start()?;
    ensure!(get(server.address, "/sub/link.txt")?.text() == "0123456789", "sub/link.txt");
    ensure!(get(server.address, "/folder/")?.text() == "<p>sub\n", "folder/");
    server.stop()
}

/// Somebody waits in open(2) for a reader. A server that opened the FIFO would let it go on, and break it.
fn fifos_are_not_even_opened(mode: Mode) -> Result {
    let launch = Launch::new(mode, &[])?;
    let fifo = launch.root().join("fifo.txt");
    mkfifo(&fifo, Bits::from_bits_truncate(0o666))?;
    mkfifo(&launch.root().join("sub/empty/index.html"), Bits::from_bits_truncate(0o666))?;
    let server = launch.start()?;
    let path = fifo.clone();
    let writer = thread::spawn(move || File::options().write(true).open(path)?.write_all(b"TOP SECRET\n"));
    let start = Instant::now();
    all_refused(&server, &["/fifo.txt", "/fifo.txt/", "/sub/empty/", "/sub/empty/index.html"])?;
    ensure!(start.elapsed() < Duration::from_secs(5), "somebody waited at the FIFO");
    ensure!(!writer.is_finished(), "the writer was let go");
    // The reader that it waits for.
    let text = fs::read_to_string(&fifo)?;
    writer.join().map_err(|_| "the writer panicked")??;
    ensure!(text == "TOP SECRET\n", "{text:?}");
    server.stop()
}

fn sockets(mode: Mode) -> Result {
    let launch = Launch::new(mode, &[])?;
    let listener = UnixListener::bind(launch.root().join("socket.txt"))?;
    let server = launch.start()?;
    all_refused(&server, &["/socket.txt"])?;
    listener.set_nonblocking(true)?;
    ensure!(listener.accept().is_err(), "somebody connected");
    server.stop()
}

fn devices(mode: Mode) -> Result<Completion> {
    let launch = Launch::new(mode, &[])?;
    // 1, 5 is /dev/zero: a file without an end. 5, 0 is the terminal.
    for (name, minor, major) in [("zero.bin", 5, 1), ("tty.bin", 0, 5)] {
        let made =
            mknod(&launch.root().join(name), SFlag::S_IFCHR, Bits::from_bits_truncate(0o666), makedev(major, minor));
        if let Err(error) = made {
            return Ok(Completion::ignored_with(format!("no device can be made here: {error}")));
        }
    }
    symlink("zero.bin", launch.root().join("link.bin"))?;
    symlink("/dev/zero", launch.root().join("outside.bin"))?;
    let server = launch.start()?;
    all_refused(&server, &["/zero.bin", "/tty.bin", "/link.bin", "/outside.bin"])?;
    server.stop()?;
    Ok(Completion::Completed)
}

fn files_that_may_not_be_read(mode: Mode) -> Result {
    /// The user `nobody`.
    const NOBODY: u32 = 65534;
    let mut launch = Launch::new(mode, &[])?;
    let hidden = launch.root().join("hidden.txt");
    OpenOptions::new().write(true).create_new(true).mode(0o000).open(&hidden)?.write_all(b"TOP SECRET\n")?;
    fs::create_dir(launch.root().join("closed"))?;
    fs::write(launch.root().join("closed/index.html"), "TOP SECRET\n")?;
    fs::set_permissions(launch.root().join("closed"), fs::Permissions::from_mode(0o000))?;
    if Uid::effective().is_root() {
        // Root may read everything.
        launch = launch.uid(NOBODY);
    }
    let server = launch.start()?;
    all_refused(&server, &["/hidden.txt", "/closed", "/closed/", "/closed/index.html"])?;
    ensure!(get(server.address, "/hidden.txt")?.status == 403, "hidden.txt");
    fs::set_permissions(server.root().join("closed"), fs::Permissions::from_mode(0o755))?;
    server.stop()
}

/// Between any two steps of the server, the file may become a link and be a file again.
fn a_file_exchanged_for_a_link(mode: Mode) -> Result {
    let launch = Launch::new(mode, &[])?;
    let root = launch.root();
    fs::write(root.join("public.txt"), "public\n")?;
    symlink("../secret.txt", root.join("other.txt"))?;
    fs::create_dir(root.join("folder"))?;
    fs::write(root.join("folder/secret.txt"), "public\n")?;
    symlink("..", root.join("link"))?;
    let server = launch.start()?;
    let stop = AtomicBool::new(false);
    let exchange = |one: &str, other: &str| {
        let (one, other) = (root.join(one), root.join(other));
        renameat2(AT_FDCWD, &one, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE)
    };
    let served = thread::scope(|scope| -> Result<[usize; 2]> {
        let swap = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                exchange("public.txt", "other.txt")?;
                exchange("folder", "link")?;
            }
            nix::Result::Ok(())
        });
        let mut seen = [0, 0];
        let ask = || -> Result<[usize; 2]> {
            let mut client = Client::connect(server.address)?;
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(1500) {
                for target in ["/public.txt", "/folder/secret.txt"] {
                    let reply = client.get(target)?;
                    match reply.status {
                        200 if reply.text() == "public\n" => seen[0] += 1,
                        404 | 503 => seen[1] += 1,
                        _ => return Err(format!("{target}: {reply:?}").into()),
                    }
                }
            }
            Ok(seen)
        };
        let asked = { ask }();
        stop.store(true, Ordering::Relaxed);
        swap.join().map_err(|_| "the exchanging thread panicked")??;
        asked
    })?;
    ensure!(served[0] > 10 && served[1] > 10, "{served:?} served and refused: that tried nothing");
    server.stop()
}
