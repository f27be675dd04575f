//! Looking at a tree. Folders are read one at a time, so that memory is bounded by what is found.

use super::metadata::kept_attributes;
use super::{Tree, TreeFile, Unkept};
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{FileKind, Fs, Look};
use crate::names::{final_name, is_part_name, is_state_name, name_of};
use dunlin_metainfo::{EntryKind, EntryMeta, MAX_ATTRIBUTES, MAX_TARGET, TreeEntry, check_name};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Everything at `path`, named from `prefix` on: the thing itself is called `prefix`, and what is
/// in it `prefix/…`. With an empty prefix the folder's content is meant, and a link to it is
/// followed. Part files and state folders are left out. Several names of one file are one file, the
/// first of them in order, and links.
///
/// # Errors
/// If `path` itself cannot be looked at, or is no folder where the prefix is empty; `Interrupted`
/// soon after `stop` is set.
pub fn scan_tree(
    fs: &dyn Fs,
    path: &Path,
    prefix: &str,
    stop: &AtomicBool,
) -> Result<Tree, DiskError> {
    let mut walk = Walk::new(fs, stop, true);
    walk.all(path, prefix)?;
    Ok(walk.finish())
}

/// The same for a destination: every name of a regular file is a file by itself, though entries
/// tell which names are of one file, and extended attributes are not looked at.
///
/// # Errors
/// As [`scan_tree`].
pub fn list_files(
    fs: &dyn Fs,
    path: &Path,
    prefix: &str,
    stop: &AtomicBool,
) -> Result<Tree, DiskError> {
    let mut walk = Walk::new(fs, stop, false);
    walk.all(path, prefix)?;
    Ok(walk.finish())
}

struct Walk<'a> {
    fs: &'a dyn Fs,
    stop: &'a AtomicBool,
    /// Whether further names are no files, and attributes count.
    whole: bool,
    root: bool,
    tree: Tree,
    /// The names of files that have several, by device and inode.
    linked: BTreeMap<(u64, u64), Vec<String>>,
    folders: Vec<(PathBuf, String)>,
}

impl<'a> Walk<'a> {
    fn new(fs: &'a dyn Fs, stop: &'a AtomicBool, whole: bool) -> Walk<'a> {
        Walk {
            fs,
            stop,
            whole,
            root: fs.is_root(),
            tree: Tree::default(),
            linked: BTreeMap::new(),
            folders: Vec::new(),
        }
    }

    fn all(&mut self, path: &Path, prefix: &str) -> Result<(), DiskError> {
        let named = |error: std::io::Error| DiskError::io(path, &error);
        if prefix.is_empty() {
            if !self.fs.metadata(path).map_err(named)?.is_dir {
                return Err(DiskError::new(path, DiskErrorKind::NoFolder));
            }
            self.folder(path, "").map_err(named)?;
        } else {
            let look = self.fs.look(path).map_err(named)?;
            self.one(path.to_owned(), prefix.to_owned(), &look);
        }
        while let Some((folder, name)) = self.folders.pop() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(DiskError::new(folder, DiskErrorKind::Interrupted));
            }
            if let Err(error) = self.folder(&folder, &name) {
                self.unreadable(name, &DiskError::io(&folder, &error));
            }
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path, name: &str) -> std::io::Result<()> {
        for entry in self.fs.read_dir(folder)? {
            let last = entry.path.file_name().unwrap_or_default();
            let below = |last: &OsStr| match name {
                "" => name_of(last),
                name => format!("{name}/{}", name_of(last)),
            };
            if entry.is_file && is_part_name(last) {
                self.part(below(&final_name(last)), &entry.path.with_file_name(final_name(last)));
                continue;
            }
            let inner = below(last);
            if entry.is_dir && is_state_name(last) {
                let reason = "it is left out: the state of a run of dunlin".to_owned();
                self.tree.notes.extend(self.whole.then_some(Unkept { name: inner, reason }));
                continue;
            }
            match self.fs.look(&entry.path) {
                Ok(look) => self.one(entry.path, inner, &look),
                // Removed while we were looking: it was never there.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.unreadable(inner, &DiskError::io(&entry.path, &error)),
            }
        }
        Ok(())
    }

    fn one(&mut self, path: PathBuf, name: String, look: &Look) {
        if let Err(error) = check_name(&name) {
            return self.refuse(name, format!("{error}; rename it"));
        }
        let kind = match look.kind {
            FileKind::File => EntryKind::File,
            FileKind::Directory => EntryKind::Directory,
            FileKind::Symlink => match self.target(&path) {
                Ok(target) => EntryKind::Symlink { target },
                Err(why) => return self.refuse(name, why),
            },
            FileKind::Other => {
                let reason = "a device, a socket or a pipe; only files, folders and links travel";
                self.tree.notes.push(Unkept { name, reason: reason.to_owned() });
                return;
            }
        };
        let meta = self.meta(&path, &name, look);
        match kind {
            EntryKind::Directory => self.folders.push((path, name.clone())),
            EntryKind::File => {
                if look.links > 1 {
                    let key = (look.meta.device, look.meta.inode);
                    self.linked.entry(key).or_default().push(name.clone());
                }
                let length = look.meta.len;
                self.tree.files.push(TreeFile { name: name.clone(), path, length });
            }
            EntryKind::Symlink { .. } | EntryKind::HardLink { .. } => {}
        }
        self.tree.entries.push(TreeEntry { name, kind, meta });
    }

    /// A part file: what it will be one day is not here, unless it replaces what is.
    fn part(&mut self, name: String, last: &Path) {
        if !self.whole {
            return;
        }
        let unkept = |reason: &str| Unkept { name: name.clone(), reason: reason.to_owned() };
        match self.fs.look(last) {
            Ok(_) => self.tree.notes.push(unkept(
                "an unfinished file that is to replace it is left out",
            )),
            Err(_) => self.tree.unfinished.push(unkept(
                "it is unfinished where it should be read; let the run that fetches it end, or remove \
                 what is left of it with `dunlin clean`",
            )),
        }
    }

    fn target(&self, path: &Path) -> Result<String, String> {
        let target = self.fs.read_link(path).map_err(|e| DiskError::io(path, &e).to_string())?;
        let length = target.as_os_str().len();
        if !(1..=MAX_TARGET).contains(&length) {
            return Err(format!("the target of the link has {length} bytes; make it shorter"));
        }
        Ok(name_of(target.as_os_str()))
    }

    fn meta(&mut self, path: &Path, name: &str, look: &Look) -> EntryMeta {
        let link = look.kind == FileKind::Symlink;
        let mut meta = EntryMeta {
            mode: if link { 0 } else { look.mode },
            modified: i64::try_from(look.meta.modified).unwrap_or_default(),
            uid: look.uid,
            gid: look.gid,
            attributes: Vec::new(),
        };
        if !self.whole {
            return meta;
        }
        let mut note = |reason: &str| {
            self.tree.notes.push(Unkept { name: name.to_owned(), reason: reason.to_owned() });
        };
        let found = self.fs.hold(path).and_then(|held| kept_attributes(&*held, self.root));
        match found {
            Ok(found) => {
                if !found.dropped.is_empty() {
                    let what = found.dropped();
                    note(&format!("{what} left out: trees do not keep such attributes"));
                }
                let sizes = found.kept.iter().map(|(name, value)| name.len() + value.len());
                if sizes.sum::<usize>() > MAX_ATTRIBUTES {
                    note("its extended attributes are too large and are left out");
                } else {
                    meta.attributes = found.kept;
                }
                if found.acl {
                    note("its access control list is left out; its mode is kept");
                }
            }
            Err(error) => note(&format!("its extended attributes are left out: {error}")),
        }
        meta
    }

    fn refuse(&mut self, name: String, reason: String) {
        self.tree.unreadable.push(Unkept { name, reason });
    }

    fn unreadable(&mut self, name: String, error: &DiskError) {
        self.refuse(name, error.to_string());
    }

    /// Puts everything in order, and tells files from further names of them.
    fn finish(mut self) -> Tree {
        self.tree.entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut further: BTreeMap<String, String> = BTreeMap::new();
        for mut names in self.linked.into_values() {
            names.sort_unstable();
            let mut names = names.into_iter();
            let Some(first) = names.next() else { continue };
            further.extend(names.map(|name| (name, first.clone())));
        }
        if !further.is_empty() {
            for entry in &mut self.tree.entries {
                if let Some(first) = further.get(&entry.name) {
                    entry.kind = EntryKind::HardLink { to: first.clone() };
                }
            }
            if self.whole {
                self.tree.files.retain(|file| !further.contains_key(&file.name));
            }
        }
        self.tree.files.sort_unstable();
        self.tree.unfinished.sort_unstable();
        self.tree.unreadable.sort_unstable();
        self.tree.notes.sort_unstable();
        self.tree
    }
}
