//! Files that a run writes at its end: proved to be creatable before anything moves, and seen under
//! their names only when they are whole.

use crate::exit::Failure;
use dunlin_disk::{Fs, RealFs, write_file};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
        let place = place(path);
        let made = match place.create_new(&part) {
            // Left by an earlier run, or laid there: it is not written to.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                place.remove_file(&part).and_then(|()| place.create_new(&part))
            }
            made => made,
        };
        made.map_err(|error| refused(option, path, &error))?;
        Ok(Pending { path: path.to_owned(), part, written: false })
    }

    /// Writes the file and gives it its name.
    ///
    /// # Errors
    /// If the disk refuses (exit 5).
    pub(crate) fn write(mut self, option: &str, bytes: &[u8]) -> Result<(), Failure> {
        let written = write_file(&*place(&self.path), &self.path, bytes);
        written.map_err(|error| refused(option, &self.path, &error))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.written {
            let _ = place(&self.path).remove_file(&self.part);
        }
    }
}

/// The folder of a file, in which nothing is reached through a link.
fn place(path: &Path) -> Arc<dyn Fs> {
    RealFs.inside(path.parent().unwrap_or(Path::new("")))
}

/// The failure for a path that cannot be made or written.
pub(crate) fn refused(option: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::disk(format!(
        "{option}: cannot write {}: {error}; give a path in a folder that exists and may be \
         written",
        path.display()
    ))
}
