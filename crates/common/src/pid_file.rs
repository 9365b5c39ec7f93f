//! The pid file, the endpoint of receivers that are found by their pid. It is for people and for programs in other
//! languages: which process is meant, and that it lives, the lock beside the file tells (see `rendezvous.rs`).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process;

use nix::errno::Errno;
use nix::unistd::geteuid;

/// Makes a file with this process's pid in it, for this user alone.
///
/// # Errors
/// `EEXIST` where the path exists, whatever it is.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    writeln!(file, "{}", process::id()).inspect_err(|_| drop(fs::remove_file(path)))
}

/// Removes the file.
///
/// # Errors
/// `EEXIST` where it is not such a file as [`create`] makes; `ENOENT`.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_file() || meta.uid() != geteuid().as_raw() || meta.mode() & 0o7777 != 0o600 {
        return Err(Errno::EEXIST.into());
    }
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, Permissions};
    use std::io::{self, ErrorKind};
    use std::os::unix::fs::PermissionsExt;
    use std::{env, process};

    use super::{create, remove};

    #[test]
    fn it_holds_the_pid_and_nothing_else_is_taken_for_one() -> io::Result<()> {
        let path = env::temp_dir().join(format!("pid-file-test-{}", process::id()));
        create(&path)?;
        assert_eq!(fs::read_to_string(&path)?, format!("{}\n", process::id()));
        let again = create(&path);
        remove(&path)?;
        assert_eq!(again.map_err(|error| error.kind()), Err(ErrorKind::AlreadyExists));
        File::create_new(&path)?.set_permissions(Permissions::from_mode(0o644))?;
        let foreign = remove(&path);
        fs::remove_file(&path)?;
        assert_eq!(foreign.map_err(|error| error.kind()), Err(ErrorKind::AlreadyExists));
        Ok(())
    }
}
