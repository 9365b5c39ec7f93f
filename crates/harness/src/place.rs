//! A place where two programs meet.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::leftovers;
use crate::program::NOBODY;

/// A path in a folder of its own, which goes with it.
pub struct Place {
    /// Nothing is there yet.
    pub path: PathBuf,
    dir: TempDir,
}

impl Place {
    /// Other users may look into its folder: what keeps them out of a conversation is to be seen.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Place {
        let (prefix, mode) = (leftovers::prefix(), Permissions::from_mode(0o755));
        let dir = tempfile::Builder::new().prefix(&prefix).permissions(mode).tempdir().unwrap();
        Place { path: dir.path().join("s"), dir }
    }

    /// One whose folder belongs to `nobody`; only root can make it.
    pub fn of_nobody() -> Place {
        let place = Place::new();
        chown(place.folder(), Some(NOBODY), None).unwrap();
        place
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }
}
