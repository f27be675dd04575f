//! One run at a time on one output folder.

use crate::fs::{Fs, FsFile};
use crate::names::STATE_DIR;
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// The lock's name in the state folder.
pub(crate) const LOCK_NAME: &str = "lock";

/// Bytes of a lock file that are read and written: a process id and a command line for people.
const MAX_CONTENT: usize = 4096;

/// Attempts to take a lock whose file is removed by its last holder at the same moment.
const ATTEMPTS: usize = 10;

/// Why an output folder could not be taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// Another run works on it.
    #[error(
        "{}: in use by {holder}; wait until it ends, or stop it, or choose another output",
        .root.display()
    )]
    Held {
        /// The output folder.
        root: PathBuf,
        /// Process id and command line of the other run.
        holder: String,
    },
    /// The lock file could not be made.
    #[error("{}: {error}; check that the folder can be written", .path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
}

/// The right to write below an output folder. Dropping it removes the lock, and the state folder
/// with it if nothing else is in it. A lock file that a killed run left behind is simply taken.
#[derive(Debug)]
pub struct OutputLock {
    fs: Arc<dyn Fs>,
    folder: PathBuf,
    file: Option<Arc<dyn FsFile>>,
}

impl OutputLock {
    /// Takes the lock of `root`, making the folder if it is not there.
    ///
    /// # Errors
    /// [`LockError::Held`] if another run holds it, [`LockError::Io`] if it cannot be made.
    pub fn acquire(fs: &Arc<dyn Fs>, root: &Path) -> Result<OutputLock, LockError> {
        let folder = root.join(STATE_DIR);
        let path = folder.join(LOCK_NAME);
        let failed = |error| LockError::Io { path: path.clone(), error };
        for _ in 0..ATTEMPTS {
            fs.create_dir_all(&folder).map_err(failed)?;
            let file = match fs.open_write(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            if !fs.lock_exclusive(&file).map_err(failed)? {
                return Err(LockError::Held {
                    root: root.to_owned(),
                    holder: holder(&**fs, &path),
                });
            }
            // The last holder may have removed the name between our open and our lock.
            let ours = file.meta().map_err(failed)?;
            if fs.metadata(&path).is_ok_and(|named| named.inode == ours.inode) {
                // The content is for people; a full disk must not keep a run from resuming.
                let _ = file.set_len(0).and_then(|()| file.write_at(&[content()], 0));
                return Ok(OutputLock { fs: Arc::clone(fs), folder, file: Some(file) });
            }
        }
        Err(failed(io::ErrorKind::ResourceBusy.into()))
    }
}

impl Drop for OutputLock {
    fn drop(&mut self) {
        // The name goes while the lock is held; what fails here is found and taken by the next run.
        let _ = self.fs.remove_file(&self.folder.join(LOCK_NAME));
        self.file = None;
        let _ = self.fs.remove_dir(&self.folder);
    }
}

/// Who holds the lock of the state folder `folder`, if anybody does.
pub(crate) fn held_by(fs: &dyn Fs, folder: &Path) -> Option<String> {
    let path = folder.join(LOCK_NAME);
    let file = fs.open_read(&path).ok()?;
    let free = fs.lock_exclusive(&file).unwrap_or(false);
    (!free).then(|| holder(fs, &path))
}

fn holder(fs: &dyn Fs, path: &Path) -> String {
    let bytes = fs.read_all(path, MAX_CONTENT as u64).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let shown: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    if shown.is_empty() { "another run".to_owned() } else { format!("process {shown}") }
}

fn content() -> Bytes {
    let words: Vec<_> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut text = format!("{} ({})\n", std::process::id(), words.join(" ")).into_bytes();
    text.truncate(MAX_CONTENT);
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemFs, RealFs};

    fn check(fs: &Arc<dyn Fs>, root: &Path) {
        let state = root.join(STATE_DIR);
        let lock = OutputLock::acquire(fs, root).unwrap();
        let text = OutputLock::acquire(fs, root).unwrap_err().to_string();
        assert!(text.contains(&format!("process {} (", std::process::id())), "{text}");
        assert!(held_by(&**fs, &state).is_some());
        drop(lock);
        assert!(fs.metadata(&state).is_err(), "the state folder goes with it");
        // Left behind by a killed run.
        fs.create_dir_all(&state).unwrap();
        fs.create_new(&state.join(LOCK_NAME)).unwrap();
        fs.create_new(&state.join("other")).unwrap();
        drop(OutputLock::acquire(fs, root).unwrap());
        assert!(fs.metadata(&state.join(LOCK_NAME)).is_err() && fs.metadata(&state).is_ok());
    }

    #[test]
    fn the_second_run_is_refused_and_told_who_holds_it() {
        check(&(Arc::new(MemFs::new()) as Arc<dyn Fs>), Path::new("/out"));
        let folder = tempfile::tempdir().unwrap();
        check(&(Arc::new(RealFs) as Arc<dyn Fs>), &folder.path().join("out"));
    }
}
