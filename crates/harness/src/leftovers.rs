//! What is left behind: objects with a name, files, processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, mq_close, mq_open, mq_unlink};
use nix::sys::stat::{Mode, fstat};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::run::children;
use crate::system_v;
use crate::trial::all_files;

/// An object of the kernel that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A file of any kind, in a trial's folder or in /dev/shm.
    File(PathBuf),
    /// A POSIX message queue; its file system need not be mounted.
    Queue(String),
    /// A System V object, by its kind (`msg`, `sem` or `shm`) and its key.
    SystemV(&'static str, i32),
}

impl Object {
    /// Its permission bits; `None` where it is gone.
    pub fn mode(&self) -> Option<u32> {
        match self {
            Object::File(path) => {
                use std::os::unix::fs::PermissionsExt;
                Some(fs::symlink_metadata(path).ok()?.permissions().mode() & 0o777)
            }
            Object::Queue(name) => {
                let queue = mq_open(name.as_str(), MQ_OFlag::O_RDONLY, Mode::empty(), None).ok()?;
                let mode = fstat(&queue).ok().map(|stat| stat.st_mode & 0o777);
                let _ = mq_close(queue);
                mode
            }
            Object::SystemV(kind, key) => system_v::with_key(kind, *key).map(|object| object.mode),
        }
    }

    /// Removes it.
    pub fn remove(&self) {
        match self {
            Object::File(path) => drop(fs::remove_file(path)),
            Object::Queue(name) => drop(mq_unlink(name.as_str())),
            Object::SystemV(kind, key) => system_v::with_key(kind, *key).iter().for_each(system_v::remove),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::File(path) => write!(f, "{}", path.display()),
            Object::Queue(name) => write!(f, "message queue {name}"),
            Object::SystemV(kind, key) => write!(f, "System V {kind} {key:#x}"),
        }
    }
}

/// What begins the id of every trial of this process.
pub(crate) fn prefix() -> String {
    format!("ipc-lab-test-{}-", std::process::id())
}

/// Everything whose name carries the id, or that is found by the endpoint.
pub(crate) fn objects(id: &str, meeting_dir: &Path, endpoint: Option<&str>) -> Vec<Object> {
    let mut files = Vec::new();
    all_files(meeting_dir, &mut files);
    files.extend(shared_memory(id));
    let mut objects: Vec<Object> = files.into_iter().map(Object::File).collect();
    if let Some(name) = endpoint.filter(|name| is_queue(name)) {
        objects.push(Object::Queue(name.to_owned()));
    }
    if let Some(key) = endpoint.and_then(system_v::parse_key) {
        let listed = system_v::all().into_iter().filter(|object| object.key == key);
        objects.extend(listed.map(|object| Object::SystemV(object.kind, key)));
        objects.extend(system_v::locks(|other| other == key).into_iter().map(Object::File));
    }
    objects
}

/// Files in /dev/shm, where shared memory and named semaphores live.
fn shared_memory(id: &str) -> Vec<PathBuf> {
    let carries = |name: &str| {
        let after = name.find(id).map(|at| &name[at + id.len()..]);
        after.is_some_and(|rest| id.ends_with('-') || !rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let entries = fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| carries(&path.to_string_lossy())).collect()
}

fn is_queue(name: &str) -> bool {
    if !name.starts_with('/') || name[1..].contains('/') {
        return false;
    }
    match mq_open(name, MQ_OFlag::O_RDONLY, Mode::empty(), None) {
        Ok(queue) => mq_close(queue).is_ok(),
        Err(error) => error == Errno::EACCES,
    }
}

/// Files below a folder. Folders do not count: an empty one is a place, not a leftover.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    all_files(dir, &mut files);
    files
}

/// What exists on this machine under no trial's name: System V objects, and objects at default endpoints.
pub struct Census(Vec<String>);

impl Census {
    /// Counts everything now.
    pub fn take() -> Census {
        let listed = system_v::all().into_iter().filter(|object| !system_v::is_of_another_run(object.key));
        let mut all: Vec<String> = listed.map(|object| format!("System V {} {}", object.kind, object.id)).collect();
        let by_default = |name: &str| name.contains("ipc-lab") && !name.contains("ipc-lab-test-");
        for folder in ["/dev/shm", "/dev/mqueue"] {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.path().display().to_string());
            all.extend(names.filter(|name| by_default(name)));
        }
        all.extend(system_v::locks(system_v::is_default).iter().map(|path| path.display().to_string()));
        Census(all)
    }

    /// What is there now and was not there then, and is not about to go either.
    pub fn new_since(&self) -> Vec<String> {
        let new = |now: Census| now.0.into_iter().filter(|object| !self.0.contains(object)).collect::<Vec<_>>();
        if new(Census::take()).is_empty() {
            return Vec::new();
        }
        // Somebody else at work, perhaps.
        thread::sleep(Duration::from_secs(1));
        new(Census::take())
    }
}

/// Processes that carry the trial's runtime folder in their environment, whoever is their parent now.
fn processes(runtime_dir: &Path) -> Vec<i32> {
    let mark = format!("XDG_RUNTIME_DIR={}", runtime_dir.display());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let carries = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
    };
    pids.filter(carries).collect()
}

/// Gives processes that are about to end a moment, and tells of those that stay.
pub(crate) fn processes_gone(runtime_dir: &Path) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_millis(500);
    loop {
        let alive = processes(runtime_dir);
        if alive.is_empty() || Instant::now() > deadline {
            return alive.iter().map(|pid| format!("process {pid}")).collect();
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Kills what still runs, and what that starts meanwhile.
pub(crate) fn kill_processes(runtime_dir: &Path) {
    for _ in 0..20 {
        let alive = processes(runtime_dir);
        if alive.is_empty() {
            return;
        }
        for pid in alive.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// What all the trials of this process have left behind; for the end of a run, when none is under way.
pub fn left_over_of_this_run() -> Vec<String> {
    // Orphans that ended were handed to us; nobody else will reap them.
    while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
    let files = [shared_memory(&prefix()), system_v::locks(system_v::is_ours)].concat();
    let mut left: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let folders = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    let ours = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix()));
    left.extend(ours.map(|entry| entry.path().display().to_string()));
    left.extend(children(std::process::id() as i32).iter().map(|pid| format!("child process {pid}")));
    left
}
