//! Starts the server on a folder of its own, and sees that nothing of it is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{LONG, get};
use crate::process::{children, lives, signal, within};
use crate::{Result, ensure};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_web-server");

/// `fork` or `prefork`.
pub type Mode = &'static str;
/// Both modes.
pub const MODES: [Mode; 2] = ["fork", "prefork"];

/// Bytes in `big.bin`: more than the buffers of a connection hold, so that its answer takes as long as the client likes.
pub const BIG: usize = 24 << 20;

/// A server that runs, and its folder.
pub struct Server {
    pub address: SocketAddr,
    pub pid: i32,
    dir: TempDir,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

/// How to start a server.
pub struct Launch {
    command: Command,
    dir: TempDir,
}

impl Launch {
    /// A server in some mode, with a folder of files to serve and a secret beside it.
    pub fn new(mode: Mode, options: &[&str]) -> Result<Launch> {
        let dir = tempfile::Builder::new().prefix(&prefix()).tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("sub/empty"))?;
        fs::write(root.join("index.html"), "<p>home\n")?;
        fs::write(root.join("sub/index.html"), "<p>sub\n")?;
        fs::write(root.join("a b.txt"), "a space\n")?;
        fs::write(root.join("digits.txt"), "0123456789")?;
        fs::write(root.join("empty.txt"), "")?;
        fs::write(root.join(".hidden"), "TOP SECRET\n")?;
        fs::write(dir.path().join("secret.txt"), "TOP SECRET\n")?;
        fs::write(root.join("big.bin"), big())?;
        let mut command = Command::new(PROGRAM);
        command.arg("--root").arg(&root).args(["--mode", mode]).args(options);
        if !options.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Launch { command, dir })
    }

    /// The served folder, for more files in it.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The command, for what is special about a trial.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// As another user.
    pub fn uid(mut self, uid: u32) -> Launch {
        self.command.uid(uid);
        self
    }

    /// Starts it and waits until it is ready.
    pub fn start(mut self) -> Result<Server> {
        let mut child = self.command.spawn()?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stderr = child.stderr.take().ok_or("no standard error")?;
        let kept = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(std::io::Result::ok) {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { address, pid: child.id() as i32, dir: self.dir, child, lines };
        let ready = server.line("ready http://")?;
        let place = ready.split("http://").nth(1).ok_or("no address")?;
        server.address = place.trim_end_matches('/').parse()?;
        Ok(server)
    }
}

impl Server {
    /// A server that is ready.
    pub fn start(mode: Mode, options: &[&str]) -> Result<Server> {
        Launch::new(mode, options)?.start()
    }

    /// The served folder.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// What it has said so far.
    pub fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line that contains a text.
    pub fn line(&self, text: &str) -> Result<String> {
        let find = || self.said().into_iter().find(|line| line.contains(text));
        within(LONG, || find().is_some());
        find().ok_or_else(|| format!("no line {text:?} among {:?}", self.said()).into())
    }

    /// The scoreboard.
    pub fn status(&self) -> Result<Value> {
        let reply = get(self.address, "/status.json")?;
        ensure!(reply.status == 200, "status {}", reply.status);
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// One sum of the scoreboard.
    pub fn total(&self, name: &str) -> Result<u64> {
        self.status()?["totals"][name].as_u64().ok_or_else(|| format!("no total {name}").into())
    }

    /// Pids of the children that the kernel knows.
    pub fn children(&self) -> Vec<i32> {
        children(self.pid).iter().map(|child| child.pid).collect()
    }

    /// Sends a signal to the parent.
    pub fn signal(&self, what: Signal) -> Result {
        signal(self.pid, what)
    }

    /// Waits for the parent's end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut status = None;
        within(limit, || {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        status.ok_or_else(|| format!("it did not end within {limit:?}; it said {:?}", self.said()).into())
    }

    /// Stops it, and checks that it ends well and leaves nothing.
    pub fn stop(mut self) -> Result {
        let children = self.children();
        self.signal(Signal::SIGTERM)?;
        let status = self.wait(LONG)?;
        ensure!(status.code() == Some(0), "{status}; it said {:?}", self.said());
        let alive: Vec<_> = children.into_iter().filter(|&pid| lives(pid)).collect();
        ensure!(alive.is_empty(), "children {alive:?} outlive it");
        ensure!(std::net::TcpStream::connect(self.address).is_err(), "somebody still listens");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is in `big.bin`: no two places look alike.
pub fn big() -> Vec<u8> {
    (0..BIG as u32 / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn prefix() -> String {
    format!("web-server-test-{}-", std::process::id())
}

/// What all trials of this run have left behind.
pub fn leftovers() -> Vec<String> {
    let mut left: Vec<_> = children(std::process::id() as i32).iter().map(|child| format!("{child:?}")).collect();
    for place in [std::env::temp_dir().as_path(), Path::new("/dev/shm")] {
        let entries = fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
        let ours = |path: &PathBuf| path.to_string_lossy().contains(&prefix());
        left.extend(entries.filter(ours).map(|path| path.display().to_string()));
    }
    left
}
