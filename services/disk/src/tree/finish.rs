//! Making at a destination what a tree is beside the bytes of its files.
//!
//! ```text
//!   make_folders ─▶ (files come and get their names) ─▶ finish: links, then metadata, deepest first
//! ```
//!
//! A link or a file that stands where a folder must be is neither followed nor removed: what would
//! go below it is refused, by name.

use super::Unkept;
use super::metadata::apply_metadata;
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{FileKind, Fs, Look};
use crate::mutex::lock;
use crate::names::{folder_of, name_of, part_path, path_of};
use dunlin_metainfo::{EntryKind, TreeEntry};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A tree that is made and kept in a folder. All methods may be called from several threads.
#[derive(Debug)]
pub struct MetadataPreserver {
    fs: Arc<dyn Fs>,
    root: PathBuf,
    entries: Arc<[TreeEntry]>,
    /// Folders below the root that were looked at, and whether they are folders.
    ways: Mutex<BTreeMap<String, Result<(), DiskError>>>,
    /// Folders in which folders were made, to be synced.
    grown: Mutex<BTreeSet<PathBuf>>,
}

impl MetadataPreserver {
    /// The tree of `entries` in the folder `root`. Touches nothing. An entry that breaks the rules
    /// of entries is none.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, root: PathBuf, mut entries: Arc<[TreeEntry]>) -> MetadataPreserver {
        let sound = |entry: &TreeEntry| entry.check().is_ok();
        if !entries.is_sorted_by(|a, b| a.name < b.name) || !entries.iter().all(sound) {
            let mut sorted: Vec<_> = entries.iter().filter(|entry| sound(entry)).cloned().collect();
            sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            sorted.dedup_by(|a, b| a.name == b.name);
            entries = sorted.into();
        }
        let fs = fs.inside(&root);
        MetadataPreserver { fs, root, entries, ways: Mutex::default(), grown: Mutex::default() }
    }

    /// What the tree has under a name. Binary search.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<&TreeEntry> {
        let at = self.entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        self.entries.get(at)
    }

    /// The whole tree, by name.
    #[must_use]
    pub fn entries(&self) -> &Arc<[TreeEntry]> {
        &self.entries
    }

    /// Makes the folders that are not there. They get their modes with
    /// [`MetadataPreserver::finish`]. Returns those that cannot be made.
    #[must_use]
    pub fn make_folders(&self) -> Vec<Unkept> {
        let folders = self.entries.iter().filter(|entry| entry.kind == EntryKind::Directory);
        let made = folders.filter_map(|entry| Some((entry, self.folder(&entry.name).err()?)));
        let failed = made.map(|(entry, error)| unkept(&entry.name, &error)).collect();
        self.settle();
        failed
    }

    /// Makes the names of new folders durable. A folder that cannot be synced is found by whoever
    /// syncs a file in it.
    fn settle(&self) {
        let grown = std::mem::take(&mut *lock(&self.grown));
        let grown: Vec<_> = grown.into_iter().collect();
        for (_, error) in self.fs.sync_many(&grown) {
            tracing::debug!(%error, "a folder cannot be synced");
        }
    }

    /// Makes sure that a file of this name can be made: everything above it is a folder, made where
    /// it is missing, and may be written if that is for us to say.
    ///
    /// # Errors
    /// `NoFolder` if something else stands there; what the operating system says.
    pub fn clear_way(&self, name: &str) -> Result<(), DiskError> {
        let Some((above, _)) = name.rsplit_once('/') else { return Ok(()) };
        self.folder(above)?;
        self.settle();
        self.unlock(&path_of(&self.root, above));
        Ok(())
    }

    /// Gives a file that is about to get its name what is kept of it. What fails here is told by
    /// [`MetadataPreserver::finish`].
    pub fn apply_metadata(&self, name: &str, path: &Path) {
        if let Some(entry) = self.file(name)
            && let Ok(look) = self.fs.look(path)
        {
            apply_metadata(&*self.fs, path, &look, &entry.meta);
        }
    }

    /// The entry of a file: what it will look like in the end.
    pub(crate) fn file(&self, name: &str) -> Option<&TreeEntry> {
        self.entry(name).filter(|entry| entry.kind == EntryKind::File)
    }

    /// Makes links, and gives everything that stands its owner, attributes, mode and time, where
    /// they differ. Returns what could not be made or kept; a file that is not there is no part of
    /// that.
    #[must_use]
    pub fn finish(&self) -> Vec<Unkept> {
        let mut failed = Vec::new();
        for entry in &*self.entries {
            let made = match &entry.kind {
                EntryKind::File => continue,
                EntryKind::Directory => self.folder(&entry.name),
                EntryKind::Symlink { target } => {
                    self.symlink(&entry.name, &path_of(Path::new(""), target))
                }
                EntryKind::HardLink { to } => self.hard_link(&entry.name, to),
            };
            failed.extend(made.err().map(|error| unkept(&entry.name, &error)));
        }
        self.settle();
        // The deepest first: what is made in a folder changes its time, and its mode may forbid it.
        for entry in self.entries.iter().rev() {
            for reason in self.set_metadata(entry) {
                failed.push(Unkept { name: entry.name.clone(), reason });
            }
        }
        failed.sort_unstable();
        failed
    }

    fn set_metadata(&self, entry: &TreeEntry) -> Vec<String> {
        let kind = match entry.kind {
            EntryKind::File => FileKind::File,
            EntryKind::Directory => FileKind::Directory,
            EntryKind::Symlink { .. } => FileKind::Symlink,
            // Its metadata is that of the file.
            EntryKind::HardLink { .. } => return Vec::new(),
        };
        if self.way_to(&entry.name).is_err() {
            return Vec::new();
        }
        let path = path_of(&self.root, &entry.name);
        match self.look(&path) {
            Ok(look) if look.kind == kind => apply_metadata(&*self.fs, &path, &look, &entry.meta),
            // It could not be made, and that was said.
            _ => Vec::new(),
        }
    }

    fn symlink(&self, name: &str, target: &Path) -> Result<(), DiskError> {
        let path = self.ready(name)?;
        let named = |error: io::Error| DiskError::io(&path, &error);
        let old = match self.look(&path) {
            Ok(look) if look.kind == FileKind::Symlink => {
                if self.fs.read_link(&path).map_err(named)? == target {
                    return Ok(());
                }
                true
            }
            Ok(_) => return Err(DiskError::new(path, DiskErrorKind::Exists)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(named(error)),
        };
        self.put(&path, old, |part| self.fs.symlink(target, part))
    }

    fn hard_link(&self, name: &str, to: &str) -> Result<(), DiskError> {
        self.way_to(to)?;
        let from = path_of(&self.root, to);
        let first = self.look(&from).map_err(|error| DiskError::io(&from, &error))?;
        if first.kind != FileKind::File {
            return Err(DiskError::new(from, DiskErrorKind::Exists));
        }
        let path = self.ready(name)?;
        let old = match self.look(&path) {
            Ok(look) if look.kind == FileKind::File => {
                let same = |look: &Look| (look.meta.device, look.meta.inode);
                if same(&look) == same(&first) {
                    return Ok(());
                }
                true
            }
            Ok(_) => return Err(DiskError::new(path, DiskErrorKind::Exists)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(DiskError::io(&path, &error)),
        };
        match old {
            true => self.put(&path, old, |part| self.fs.hard_link(&from, part)),
            // In one step, which touches the file once.
            false => self.fs.hard_link(&from, &path).map_err(|error| DiskError::io(&path, &error)),
        }
    }

    /// Makes something under a part name and gives it its name in one step.
    fn put(
        &self,
        path: &Path,
        replace: bool,
        make: impl Fn(&Path) -> io::Result<()>,
    ) -> Result<(), DiskError> {
        let part = part_path(path);
        let made = match make(&part) {
            // Left by a run that was killed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs.remove_file(&part).and_then(|()| make(&part))
            }
            made => made,
        };
        let rename = || match replace {
            true => self.fs.rename(&part, path),
            false => self.fs.rename_new(&part, path),
        };
        let done = made.and_then(|()| rename());
        if done.is_err() {
            let _ = self.fs.remove_file(&part);
        }
        done.map_err(|error| DiskError::io(path, &error))
    }

    /// The path of a name whose folder stands and may be written.
    fn ready(&self, name: &str) -> Result<PathBuf, DiskError> {
        self.clear_way(name)?;
        Ok(path_of(&self.root, name))
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        match self.fs.look(path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unlock(folder_of(path));
                self.fs.look(path)
            }
            looked => looked,
        }
    }

    /// Lets a folder of the tree be written by its owner, who is us; it gets its mode back in the
    /// end.
    fn unlock(&self, folder: &Path) {
        let name = folder.strip_prefix(&self.root).ok().map(|below| name_of(below.as_os_str()));
        let ours = name.and_then(|name| self.entry(&name)).is_some();
        if !ours || self.fs.is_root() {
            return;
        }
        if let Ok(look) = self.fs.look(folder)
            && look.kind == FileKind::Directory
            && look.mode & 0o700 != 0o700
        {
            // Whether that helped shows when it is used.
            let _ = self.fs.set_mode(folder, look.mode | 0o700);
        }
    }

    fn way_to(&self, name: &str) -> Result<(), DiskError> {
        match name.rsplit_once('/') {
            Some((above, _)) => self.folder(above),
            None => Ok(()),
        }
    }

    /// Makes sure that this is a folder, and that all above it are.
    fn folder(&self, name: &str) -> Result<(), DiskError> {
        let known = |name: &str| lock(&self.ways).get(name).cloned();
        if let Some(known) = known(name) {
            return known;
        }
        let ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        let mut done = Ok(());
        for end in ends {
            let part = &name[..end];
            if done.is_ok() {
                done = match known(part) {
                    Some(known) => known,
                    None => self.make_folder(part),
                };
            }
            lock(&self.ways).insert(part.to_owned(), done.clone());
        }
        done
    }

    fn make_folder(&self, name: &str) -> Result<(), DiskError> {
        let path = path_of(&self.root, name);
        let named = |error: io::Error| DiskError::io(&path, &error);
        match self.look(&path) {
            Ok(look) if look.kind == FileKind::Directory => return Ok(()),
            Ok(_) => return Err(DiskError::new(path, DiskErrorKind::NoFolder)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(named(error)),
        }
        let made = match name.contains('/') {
            true => self.fs.create_dir(&path),
            // The root is made by whoever locks it; this is for a run of which nothing else is
            // written.
            false => self.fs.create_dir_all(&self.root).and_then(|()| self.fs.create_dir(&path)),
        };
        let made = match made {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                self.unlock(folder_of(&path));
                self.fs.create_dir(&path)
            }
            made => made,
        };
        lock(&self.grown).insert(folder_of(&path).to_owned());
        match made {
            // Another rank of the same folder was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match self.look(&path) {
                Ok(look) if look.kind == FileKind::Directory => Ok(()),
                _ => Err(named(error)),
            },
            made => made.map_err(named),
        }
    }
}

fn unkept(name: &str, error: &DiskError) -> Unkept {
    Unkept { name: name.to_owned(), reason: error.to_string() }
}
