//! Which pairs there are, and what each says of itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf, absolute};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

use crate::Result;

/// Bytes in the largest transfer that is tried.
const LARGE: usize = 64 << 20;

/// A sender and a receiver that belong together.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The technique.
    pub name: String,
    /// The sender's program.
    pub sender: PathBuf,
    /// The receiver's program.
    pub receiver: PathBuf,
    /// What `--describe` says.
    pub can: Capabilities,
}

/// Who can be at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The sender starts the receiver.
    Family,
    /// Any process of this user.
    Host,
    /// Any process anywhere.
    Network,
}

/// What `--endpoint` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointKind {
    /// A path.
    Path,
    /// A name with one slash in front.
    Name,
    /// A System V key.
    Key,
    /// A pid file, by its path.
    Pid,
    /// `ADDRESS:PORT`.
    Address,
    /// Nothing.
    Inherited,
}

/// What a technique declares; the promises that a pair is held to depend on it.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// Who can be at the other end?
    pub reach: Reach,
    /// What does `--endpoint` name?
    pub endpoint: EndpointKind,
    /// Is it a byte stream, where the programs mark the boundaries?
    pub byte_stream: bool,
    /// Does everything arrive?
    pub reliable: bool,
    /// Does the sender learn of a dead receiver without a timeout?
    pub sender_notices: bool,
    /// Does the receiver learn of a dead sender without a timeout?
    pub receiver_notices: bool,
    /// Does the sender wait while the receiver is slower?
    pub blocks: bool,
    /// Bytes in the longest message.
    pub max_message: usize,
    /// Bytes that a transfer may have, where the technique is slow.
    pub payload_limit: usize,
}

impl Pair {
    /// Reads what two programs say of themselves.
    ///
    /// # Errors
    /// Where the receiver cannot be run or its `--describe` lacks something.
    pub fn new(sender: PathBuf, receiver: PathBuf) -> Result<Pair> {
        let output = Command::new(&receiver)
            .arg("--describe")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{}: {error}", receiver.display()))?;
        let text = String::from_utf8(output.stdout)?;
        let lines: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(": ")).collect();
        let get = |key: &str| {
            lines.get(key).copied().ok_or_else(|| format!("{} --describe: no line {key:?}", receiver.display()))
        };
        let can = Capabilities::read(get)?;
        Ok(Pair { name: get("name")?.to_owned(), can, sender, receiver })
    }

    /// What a sender is told where the kernel drops what the receiver is too slow for: pauses of half a millisecond, so that
    /// a queue of some hundred messages has room for what comes while the machine is busy with something else.
    pub fn pace(&self) -> &'static [&'static str] {
        if self.can.reliable { &[] } else { &["--interval", "0.0005"] }
    }

    /// Does the sender start the receiver?
    pub fn is_family(&self) -> bool {
        self.can.reach == Reach::Family
    }
}

impl Capabilities {
    fn read<'a>(get: impl Fn(&str) -> Result<&'a str, String>) -> Result<Capabilities> {
        let unknown = |key: &str, value: &str| format!("--describe: {key}: {value:?} is not known");
        let reach = match get("reach")? {
            "family" => Reach::Family,
            "host" => Reach::Host,
            "network" => Reach::Network,
            other => return Err(unknown("reach", other).into()),
        };
        let endpoint = match get("endpoint")? {
            "path" => EndpointKind::Path,
            "name" => EndpointKind::Name,
            "key" => EndpointKind::Key,
            "pid" => EndpointKind::Pid,
            "address" => EndpointKind::Address,
            "inherited" => EndpointKind::Inherited,
            other => return Err(unknown("endpoint", other).into()),
        };
        let notices = get("notices")?;
        let payload_limit = get("payload-limit").ok().map_or(Ok(LARGE), str::parse)?;
        Ok(Capabilities {
            reach,
            endpoint,
            byte_stream: get("carries")? == "bytes",
            reliable: get("delivery")? == "reliable",
            sender_notices: matches!(notices, "both" | "sender-only"),
            receiver_notices: matches!(notices, "both" | "receiver-only"),
            blocks: get("when-full")? == "blocks",
            max_message: get("max-message")?.parse()?,
            payload_limit,
        })
    }
}

/// Every pair of the workspace, built; or the one that `PAIR=path/to/sender,path/to/receiver` names.
///
/// # Errors
/// Where the programs cannot be built or described.
pub fn pairs() -> Result<&'static [Pair]> {
    static PAIRS: OnceLock<Result<Vec<Pair>, String>> = OnceLock::new();
    let found = PAIRS.get_or_init(|| find().map_err(|error| error.to_string()));
    found.as_deref().map_err(|error| error.as_str().into())
}

/// The pair of this name.
///
/// # Errors
/// As [`pairs`], and where there is none of this name.
pub fn pair(name: &str) -> Result<&'static Pair> {
    let found = pairs()?.iter().find(|pair| pair.name == name);
    found.ok_or_else(|| format!("there is no pair named {name:?}").into())
}

fn find() -> Result<Vec<Pair>> {
    if let Ok(given) = env::var("PAIR") {
        let (sender, receiver) = given.split_once(',').ok_or("PAIR: two paths with a comma between them are needed")?;
        // cargo runs a test in its package's folder, and a person names a path from the workspace's.
        let program = |path: &str| absolute(if Path::new(path).exists() { path.into() } else { root().join(path) });
        return Ok(vec![Pair::new(program(sender)?, program(receiver)?)?]);
    }
    let programs = build()?;
    let mut found = Vec::new();
    for name in techniques()? {
        let program = |role: &str| {
            let name = format!("{name}-{role}");
            programs.get(&name).cloned().ok_or_else(|| format!("cargo did not build {name}"))
        };
        let pair = Pair::new(program("sender")?, program("receiver")?)?;
        crate::ensure!(pair.name == name, "crates/{name} calls itself {:?}", pair.name);
        found.push(pair);
    }
    Ok(found)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder is the registry: a technique is any `crates/X` with binaries `X-sender` and `X-receiver`.
fn techniques() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("crates"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let has = |role: &str| entry.path().join(format!("src/bin/{name}-{role}.rs")).is_file();
        if has("sender") && has("receiver") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Builds every program of the workspace: `cargo test` builds only those of the package under test.
fn build() -> Result<HashMap<String, PathBuf>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--workspace", "--bins", "--message-format=json", "--quiet"]).current_dir(root());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // What cargo sets for the package under test must not reach the build of the others.
    for (key, _) in env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(key);
        }
    }
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    crate::ensure!(output.status.success(), "cargo build --workspace --bins: {}", output.status);
    let mut programs = HashMap::new();
    for line in output.stdout.split(|&byte| byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
        if let (Some(path), Some(name)) = (message["executable"].as_str(), message["target"]["name"].as_str()) {
            programs.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    Ok(programs)
}
