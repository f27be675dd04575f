//! What lies below a peer's folder: regular files only, by relative name.

use super::{LoadError, WANTS};
use dunlin_disk::is_state_name;
use std::ffi::OsStr;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

/// The most files below one root: more than any data set that is not packed, and still under a
/// gigabyte of names.
const MAX_FILES: usize = 4_000_000;

/// The most warnings that are kept; the rest is counted.
const MAX_WARNINGS: usize = 100;

/// The end of the name of an unfinished file, `.NAME.dunlin-part`. Never data.
const PART: &str = ".dunlin-part";

/// The files below a root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    /// The regular files, sorted by name.
    pub(crate) files: Vec<ScannedFile>,
    /// What was skipped and why, a sentence each, at most 101.
    pub(crate) warnings: Vec<String>,
}

/// A regular file below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScannedFile {
    /// Its name: the path relative to the root, with `/`.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its length in bytes when it was looked at.
    pub(crate) length: u64,
}

/// Lists the regular files below `root`, sorted by name. Symlinks are not followed; devices,
/// sockets and names that not every machine can have are skipped with a warning. The top-level
/// file `wants`, part files and the state folder are never data. A root that is not there has no
/// files.
///
/// # Errors
/// If the root is no folder, a folder cannot be read, or there are more than 4 million files.
pub(crate) fn scan_root(root: &Path) -> Result<Scan, LoadError> {
    let mut scanner = Scanner { root, files: Vec::new(), skipped: Vec::new(), more: 0 };
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let failed = || LoadError::io(&folder, "listing it");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(wrong) if wrong.kind() == io::ErrorKind::NotFound && prefix.is_empty() => break,
            Err(wrong) => return Err(failed()(wrong)),
        };
        for entry in entries {
            let entry = entry.map_err(failed())?;
            if let Some(name) = scanner.add(&entry, &prefix)? {
                folders.push((entry.path(), name + "/"));
            }
        }
    }
    Ok(scanner.finish())
}

struct Scanner<'a> {
    root: &'a Path,
    files: Vec<ScannedFile>,
    skipped: Vec<String>,
    more: usize,
}

impl Scanner<'_> {
    /// Takes one entry; returns its name if it is a folder to look into.
    fn add(&mut self, entry: &DirEntry, prefix: &str) -> Result<Option<String>, LoadError> {
        let path = entry.path();
        let kind = entry.file_type().map_err(LoadError::io(&path, "looking at it"))?;
        let Some(last) = entry.file_name().to_str().map(str::to_owned) else {
            self.skip(&path, "its name is no UTF-8");
            return Ok(None);
        };
        let is_part = last.starts_with('.') && last.ends_with(PART) && !kind.is_dir();
        let is_wants = prefix.is_empty() && last == WANTS && !kind.is_dir();
        if is_part || is_wants || (kind.is_dir() && is_state_name(OsStr::new(&last))) {
            return Ok(None);
        }
        let name = format!("{prefix}{last}");
        if kind.is_symlink() {
            self.skip(&path, "it is a symlink, and symlinks are not followed");
        } else if !kind.is_dir() && !kind.is_file() {
            self.skip(&path, "it is a device, a socket or a pipe");
        } else if name.contains('\\') {
            self.skip(&path, "its name has a backslash");
        } else if let Err(wrong) = dunlin_metainfo::check_name(&name) {
            self.skip(&path, &wrong.to_string());
        } else if kind.is_dir() {
            return Ok(Some(name));
        } else {
            if self.files.len() >= MAX_FILES {
                let path = self.root.to_owned();
                return Err(LoadError::TooManyFiles { path, limit: MAX_FILES });
            }
            let metadata = entry.metadata().map_err(LoadError::io(&path, "looking at it"))?;
            self.files.push(ScannedFile { name, path, length: metadata.len() });
        }
        Ok(None)
    }

    fn skip(&mut self, path: &Path, why: &str) {
        if self.skipped.len() < MAX_WARNINGS {
            self.skipped.push(format!("{:?} is skipped: {why}", path.display().to_string()));
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self) -> Scan {
        self.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.skipped.sort_unstable();
        if self.more > 0 {
            let more = self.more;
            self.skipped.push(format!("{more} more are skipped below {}", self.root.display()));
        }
        Scan { files: self.files, warnings: self.skipped }
    }
}
