//! What unfinished runs leave behind, found and removed on request: part files and state folders.

use crate::claims::CLAIMS_SUFFIX;
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::Fs;
use crate::lock::LockError;
use crate::lock_file::{LOCK_NAME, LOCK_SUFFIX, held_by};
use crate::names::{RUN_MARK, is_part_name, is_state_name};
use crate::resume::RESUME_SUFFIX;
use crate::state::{PARTS_SUFFIX, STATE_SUFFIX};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Folders that are entered one within another. Deeper ones are no output of ours.
const MAX_DEPTH: usize = 128;

/// The endings of names of ours in a state folder.
const OURS: [&str; 5] = [RESUME_SUFFIX, STATE_SUFFIX, PARTS_SUFFIX, LOCK_SUFFIX, CLAIMS_SUFFIX];

/// A part file or a state folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes (holes count); of a state folder, of the files in it.
    pub bytes: u64,
    /// Whether it is a state folder.
    pub is_state: bool,
}

/// Why leftovers were not removed.
#[derive(Debug, Error)]
pub enum CleanError {
    /// A run works there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The operating system refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The part files and state folders at and below `path`, in order. Links are not followed.
///
/// # Errors
/// If a folder cannot be read.
pub fn find_leftovers(fs: &dyn Fs, path: &Path) -> Result<Vec<Leftover>, DiskError> {
    let mut found = Vec::new();
    let start = fs.metadata(path).map_err(|error| DiskError::io(path, &error))?;
    let mut folders = Vec::new();
    if start.is_dir {
        folders.push((path.to_owned(), 0));
    } else if path.file_name().is_some_and(is_part_name) {
        found.push(Leftover { path: path.to_owned(), bytes: start.len, is_state: false });
    }
    while let Some((folder, depth)) = folders.pop() {
        let named = |error| DiskError::io(&folder, &error);
        let is_state = folder.file_name().is_some_and(is_state_name);
        let mut sum = 0;
        for entry in fs.read_dir(&folder).map_err(named)? {
            let bytes = || fs.metadata(&entry.path).map_or(0, |meta| meta.len);
            if entry.is_dir && depth < MAX_DEPTH && !is_state {
                folders.push((entry.path, depth + 1));
            } else if entry.is_file && is_state {
                sum += bytes();
            } else if entry.is_file && entry.path.file_name().is_some_and(is_part_name) {
                found.push(Leftover { bytes: bytes(), path: entry.path, is_state: false });
            }
        }
        if is_state {
            found.push(Leftover { path: folder, bytes: sum, is_state: true });
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes what [`find_leftovers`] found. In a state folder only files of ours are removed, and the
/// folder if nothing else is in it.
///
/// # Errors
/// If a run holds the lock of the folder or of one above it, in which case nothing is removed; or
/// if the operating system refuses.
pub fn remove_leftovers(fs: &dyn Fs, leftovers: &[Leftover]) -> Result<(), CleanError> {
    let mut roots = BTreeSet::new();
    for leftover in leftovers {
        roots.extend(leftover.path.ancestors().skip(1).map(Path::to_owned));
    }
    for root in roots {
        for entry in fs.read_dir(&root).unwrap_or_default() {
            if entry.path.file_name().is_some_and(is_state_name)
                && let Some(holder) = held_by(fs, &entry.path)
            {
                return Err(LockError::Held { root, holder }.into());
            }
        }
    }
    for leftover in leftovers {
        let path = &leftover.path;
        if leftover.is_state {
            remove_state(fs, path)?;
        } else if path.file_name().is_some_and(is_part_name) {
            fs.remove_file(path).map_err(|error| DiskError::io(path, &error))?;
        } else {
            let what = DiskErrorKind::Misuse("asked to remove a file that is no part file");
            return Err(DiskError::new(path, what).into());
        }
    }
    Ok(())
}

fn remove_state(fs: &dyn Fs, folder: &Path) -> Result<(), DiskError> {
    let named = |error| DiskError::io(folder, &error);
    for entry in fs.read_dir(folder).map_err(named)? {
        let name = entry.path.file_name().unwrap_or_default();
        let ours = name == LOCK_NAME
            || name == RUN_MARK
            || is_part_name(name)
            || name.to_str().is_some_and(|name| OURS.iter().any(|end| name.ends_with(end)));
        if entry.is_file && ours {
            fs.remove_file(&entry.path).map_err(|error| DiskError::io(&entry.path, &error))?;
        }
    }
    if fs.read_dir(folder).map_err(named)?.is_empty() {
        fs.remove_dir(folder).map_err(named)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemFs, OutputLock};
    use bytes::Bytes;

    fn put(fs: &MemFs, path: &str) {
        let path = Path::new(path);
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        fs.create_new(path).unwrap().write_at(&[Bytes::from_static(b"12345")], 0).unwrap();
    }

    #[test]
    fn only_leftovers_go_and_never_under_a_run() {
        let fs = MemFs::new();
        let all = [
            "/o/.dunlin/00.parts",
            "/o/.dunlin/00.resume",
            "/o/.dunlin/00.state",
            "/o/.dunlin/mine.txt",
            "/o/.dunlin/run",
            "/o/a/.x.dunlin-part",
            "/o/a/x",
            "/o/b/.dunlin/lock",
            "/o/c/.dunlin/run",
        ];
        all.iter().for_each(|path| put(&fs, path));
        let root = Path::new("/o");
        let found = find_leftovers(&fs, root).unwrap();
        let shown: Vec<_> = found.iter().map(|l| (l.path.to_str().unwrap(), l.bytes)).collect();
        let expected = [
            ("/o/.dunlin", 25),
            ("/o/a/.x.dunlin-part", 5),
            ("/o/b/.dunlin", 5),
            ("/o/c/.dunlin", 5),
        ];
        assert_eq!(shown, expected);

        let shared: std::sync::Arc<dyn Fs> = std::sync::Arc::new(fs.clone());
        let lock = OutputLock::acquire(&shared, root).unwrap();
        let part = find_leftovers(&fs, Path::new("/o/a")).unwrap();
        let refused = remove_leftovers(&fs, &part).unwrap_err().to_string();
        assert!(refused.contains("/o: in use by process"), "{refused}");
        drop(lock);

        remove_leftovers(&fs, &found).unwrap();
        let left: Vec<_> = all.iter().filter(|path| fs.metadata(Path::new(path)).is_ok()).collect();
        assert_eq!(left, [&"/o/.dunlin/mine.txt", &"/o/a/x"]);
        assert!(fs.metadata(Path::new("/o/c/.dunlin")).is_err());
        let file = Leftover { path: "/o/a/x".into(), bytes: 5, is_state: false };
        assert!(remove_leftovers(&fs, &[file]).is_err());
        assert!(find_leftovers(&fs, Path::new("/none")).is_err());
    }
}
