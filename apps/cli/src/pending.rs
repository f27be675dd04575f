//! Files that a run writes at its end: proved to be creatable before anything moves, and seen under
//! their names only when they are whole.

use crate::exit::Failure;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that will be written later.
#[derive(Debug)]
pub(crate) struct Pending {
    path: PathBuf,
    part: PathBuf,
    written: bool,
}

impl Pending {
    /// Makes sure that the file can be written: makes its unfinished twin beside it.
    ///
    /// # Errors
    /// If it cannot be made, or a folder stands in its place (exit 5). `option` names what the
    /// person asked for.
    pub(crate) fn create(option: &str, path: &Path) -> Result<Pending, Failure> {
        if path.is_dir() || path.file_name().is_none() {
            return Err(Failure::disk(format!(
                "{option}: {} is a folder; give the path of a file",
                path.display()
            )));
        }
        let part = dunlin_disk::part_path(path);
        File::create(&part).map_err(|error| refused(option, path, &error))?;
        Ok(Pending { path: path.to_owned(), part, written: false })
    }

    /// Writes the file and gives it its name.
    ///
    /// # Errors
    /// If the disk refuses (exit 5).
    pub(crate) fn write(mut self, option: &str, bytes: &[u8]) -> Result<(), Failure> {
        let write = || {
            let mut file = File::create(&self.part)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&self.part, &self.path)
        };
        write().map_err(|error: io::Error| refused(option, &self.path, &error))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.written {
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// The failure for a path that cannot be made or written.
pub(crate) fn refused(option: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::disk(format!(
        "{option}: cannot write {}: {error}; give a path in a folder that exists and may be \
         written",
        path.display()
    ))
}
