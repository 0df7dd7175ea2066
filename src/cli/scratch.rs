//! A directory that is removed when its owner is done with it.

use std::path::{Path, PathBuf};

use super::exit::Failure;

/// Removed, with everything in it, on drop; the parent goes as well when it was made for this and
/// is empty again.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    made_parent: bool,
}

impl Scratch {
    /// Makes a new directory inside `parent` (made too, if missing).
    pub(crate) fn inside(parent: &Path, prefix: &str) -> Result<Scratch, Failure> {
        let made_parent = !parent.exists();
        let path = parent.join(format!("{prefix}-{:08x}", fastrand::u32(..)));
        std::fs::create_dir_all(&path).map_err(|error| {
            Failure::failed(format!("{} cannot be made: {error}", path.display()))
        })?;
        Ok(Scratch { path, made_parent })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing sensible is left to do with an error here: the next run makes a new directory.
        let _ = std::fs::remove_dir_all(&self.path);
        if self.made_parent
            && let Some(parent) = self.path.parent()
        {
            let _ = std::fs::remove_dir(parent);
        }
    }
}
