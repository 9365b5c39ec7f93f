//! Nobody else gets in: modes, other users' objects, symbolic links.
#![expect(unsafe_code, reason = "another user's System V objects are made by calls without a safe wrapper")]

use std::fs::{self, File, FileType, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::{io, thread};

use harness::{EndpointKind, NO_ARGS, Object, Pair, Process, Result, Role, Signal, Trial, ensure};
use nix::mqueue::{MQ_OFlag, mq_close, mq_open};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, geteuid, mkfifo, setfsuid};

use crate::{DoesNotApply, always, ends};

/// Nobody in particular.
const NOBODY: u32 = 65534;

fn named(pair: &Pair) -> Result<(), &'static str> {
    use EndpointKind::{Key, Name, Path, Pid};
    let named = matches!(pair.can.endpoint, Path | Pid | Name | Key);
    named.then_some(()).ok_or("the endpoint is no object with an owner")
}

fn named_and_root(pair: &Pair) -> Result<(), &'static str> {
    named(pair)?;
    geteuid().is_root().then_some(()).ok_or("only root can make another user's objects")
}

/// What a receiver makes, and of what kind it is if it is a file.
type Made = (Object, Option<FileType>);

/// A receiver started alone, looked at, and ended.
fn objects_of(trial: &Trial) -> Result<Vec<Made>> {
    let receiver = trial.receiver(NO_ARGS)?;
    let kind = |object: &Object| match object {
        Object::File(path) => fs::symlink_metadata(path).ok().map(|meta| meta.file_type()),
        Object::Queue(_) | Object::SystemV(..) => None,
    };
    let made: Vec<Made> = trial.objects().into_iter().map(|object| (object.clone(), kind(&object))).collect();
    receiver.signal(Signal::TERM)?;
    receiver.wait()?.expect(143)?;
    ensure!(!made.is_empty(), "the receiver made nothing that could be found");
    Ok(made)
}

/// A mask of 0 takes nothing away; that others may not come in is for the programs to say.
fn umask_zero(trial: &Trial) -> Result {
    let run = ends::endless(trial).umask(0).timeout(5.0).start()?;
    private(trial)?;
    run.output().wait_for_stdout(1)?;
    private(trial)?;
    run.sender.signal(Signal::TERM)?;
    run.wait()?;
    Ok(())
}

fn private(trial: &Trial) -> Result {
    for object in trial.objects() {
        // Gone meanwhile is fine: what has no name cannot be opened.
        let mode = object.mode().unwrap_or(0);
        ensure!(mode & 0o077 == 0, "{object} has mode {mode:o}");
    }
    Ok(())
}

/// Another user was there first: refused, and left alone.
fn foreign_object(trial: &Trial) -> Result {
    for (object, kind) in objects_of(trial)? {
        plant(&object, kind)?;
        refused(trial, &object)?;
        ensure!(object.mode() == Some(0o666), "{object} of another user was removed or changed");
        if let Object::File(path) = &object {
            ensure!(fs::symlink_metadata(path)?.uid() == NOBODY, "{object} was replaced");
        }
        object.remove();
    }
    Ok(())
}

/// Somebody put a link there, to make us write elsewhere: refused, and left alone.
fn symbolic_link(trial: &Trial) -> Result {
    let target = trial.file("victim", b"untouched")?;
    for (object, _) in objects_of(trial)? {
        let Object::File(path) = &object else { continue };
        symlink(&target, path)?;
        refused(trial, &object)?;
        let kept = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink());
        ensure!(kept, "the link at {object} was removed or replaced");
        ensure!(fs::read(&target)? == b"untouched", "the target of a link at {object} was written to");
        object.remove();
    }
    Ok(())
}

/// A link to nothing is a trap of its own: O_CREAT makes the file that it names.
fn dangling_link(trial: &Trial) -> Result {
    let target = trial.meeting_dir().join("nowhere");
    for (object, _) in objects_of(trial)? {
        let Object::File(path) = &object else { continue };
        symlink(&target, path)?;
        refused(trial, &object)?;
        ensure!(!target.exists(), "the target of a link at {object} was made");
        object.remove();
    }
    Ok(())
}

/// A file that is called as the lock file would be, and is another program's: refused, and left alone, held or not.
fn foreign_lock(trial: &Trial) -> Result {
    let is_lock = |path: &Path| path.extension().is_some_and(|end| end == "lock");
    let mut found = false;
    for (object, _) in objects_of(trial)? {
        let Object::File(path) = &object else { continue };
        if !is_lock(path) {
            continue;
        }
        found = true;
        let mut own = File::options().write(true).create_new(true).mode(0o600).open(path)?;
        // As other programs hold theirs.
        own.lock()?;
        refused(trial, &object)?;
        own.unlock()?;
        own.write_all(b"precious\n")?;
        refused(trial, &object)?;
        ensure!(fs::read(path)? == b"precious\n", "{object}, which is another program's, was removed or changed");
        object.remove();
    }
    if found { Ok(()) } else { Err(DoesNotApply("it has no lock file").into()) }
}

fn refused(trial: &Trial, object: &Object) -> Result {
    let launch = trial.launch(Role::Receiver).args(["--quiet"]).timeout(1.0);
    let receiver: Process = launch.spawn()?;
    receiver.wait()?.expect(1).map_err(|error| format!("with {object} in the way: {error}"))?;
    let text = receiver.stderr();
    ensure!(text.lines().count() == 1, "not one line on standard error: {text:?}");
    Ok(())
}

/// Makes an object of the same name and kind that belongs to another user and that anybody may open.
fn plant(object: &Object, kind: Option<FileType>) -> Result {
    match object {
        Object::File(path) => {
            match kind {
                Some(kind) if kind.is_fifo() => mkfifo(path, Mode::S_IRUSR)?,
                Some(kind) if kind.is_socket() => drop(UnixListener::bind(path)?),
                _ => drop(File::create_new(path)?),
            }
            chown(path, Some(NOBODY), Some(NOBODY))?;
            Ok(fs::set_permissions(path, Permissions::from_mode(0o666))?)
        }
        Object::Queue(name) => plant_queue(name.clone()),
        Object::SystemV(kind, key) => plant_system_v(kind, *key),
    }
}

/// A queue belongs to whom the thread is for file systems when it makes it.
fn plant_queue(name: String) -> Result {
    let make = move || {
        setfsuid(Uid::from_raw(NOBODY));
        let everybody = Mode::from_bits_truncate(0o666);
        let attributes = nix::mqueue::MqAttr::new(0, 1, 64, 0);
        let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_RDWR;
        let queue = mq_open(name.as_str(), flags, everybody, Some(&attributes))?;
        nix::sys::stat::fchmod(&queue, everybody)?;
        mq_close(queue)
    };
    Ok(thread::spawn(make).join().map_err(|_| "a thread panicked")??)
}

/// A System V object belongs to the effective user of the thread that makes it.
fn plant_system_v(kind: &'static str, key: i32) -> Result {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o666;
    let make = move || {
        // Not seteuid(3): for glibc that means all threads.
        // SAFETY: the call takes three numbers, and this thread does nothing that needs to be root afterwards.
        if unsafe { libc::syscall(libc::SYS_setresuid, -1, NOBODY, -1) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let id = match kind {
            // SAFETY: the three calls take numbers and touch no memory.
            "msg" => unsafe { libc::msgget(key, flags) },
            // SAFETY: as above.
            "sem" => unsafe { libc::semget(key, 1, flags) },
            // SAFETY: as above.
            _ => unsafe { libc::shmget(key, 4096, flags) },
        };
        if id < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    Ok(thread::spawn(make).join().map_err(|_| "a thread panicked")??)
}

crate::promises! {
    always: umask_zero;
    named: symbolic_link, dangling_link, foreign_lock;
    named_and_root: foreign_object;
}
