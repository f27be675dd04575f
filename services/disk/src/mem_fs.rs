//! A file system in memory for tests: it can fail, fill up, and lose power.
//!
//! After a power loss only what was synced is sure to stand. Of everything else (writes, changes of
//! length, creations, renames, removals) any subset may have reached the disk, in any order, and
//! each write may be torn between sectors. [`MemFs::crash`] draws one such outcome by a seed. It is
//! harsher than real file systems, on purpose.

mod change;
mod faults;
mod file;
mod metadata;

use crate::fs::{DirEntry, Fs, FsFile, Held, Look, Meta, Unfit};
use change::{Change, NameChange};
use file::MemFile;
use metadata::NodeMetadata;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Holes are told from data in pages of this many bytes, as file systems do.
const PAGE: usize = 4096;

/// The number of the user who is not root.
const COMMON: u32 = 1000;

/// A disk in memory. Clones share it. Absolute and relative paths both work; `/` is always there.
#[derive(Clone, Debug, Default)]
pub struct MemFs {
    disk: Arc<Mutex<Disk>>,
}

/// What somebody else does at a moment that a test chooses.
struct Deed(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a deed")
    }
}

#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    name_changes: Vec<NameChange>,
    files: BTreeMap<u64, Content>,
    next_inode: u64,
    syncs: u64,
    freeze_at: Option<u64>,
    /// Changes that may still be made before everything fails.
    changes_left: Option<u64>,
    frozen: bool,
    space: Option<u64>,
    broken: BTreeSet<PathBuf>,
    broken_syncs: BTreeSet<PathBuf>,
    /// Counts changes of content: the time of this disk.
    clock: i128,
    overwrites: BTreeMap<u64, (u64, Vec<u8>)>,
    /// What happens before a path is opened the next time.
    deeds: BTreeMap<PathBuf, Deed>,
    open: BTreeMap<u64, u64>,
    most_open: u64,
    next_handle: u64,
    bytes_read: u64,
    /// Whether files can share their bytes.
    shares: bool,
    /// Whether the process is not root.
    common: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Dir(u64),
    File(u64),
    Symlink(u64),
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
    modified: i128,
    metadata: NodeMetadata,
    lock: Lock,
}

/// Who holds the lock of a file: open files, by number.
#[derive(Clone, Debug, Default)]
struct Lock {
    holders: BTreeSet<u64>,
    exclusive: bool,
}

impl Lock {
    /// As on Linux: who asks gives up what it held, and may then get nothing.
    fn take(&mut self, handle: u64, exclusive: bool) -> bool {
        self.holders.remove(&handle);
        let free = self.holders.is_empty() || !(exclusive || self.exclusive);
        if free {
            self.holders.insert(handle);
            self.exclusive = exclusive;
        }
        free
    }
}

impl Disk {
    fn check(&self, path: &Path) -> io::Result<()> {
        if self.frozen {
            return Err(io::Error::other("the power is out"));
        }
        if self.broken.contains(path) {
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    fn folder_exists(&self, path: &Path) -> bool {
        path == Path::new("")
            || path == Path::new("/")
            || self.names.get(path).is_some_and(Node::is_dir)
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(&self.follow(path)) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
            // A link to a link that leads nowhere.
            Some(Node::Symlink(_)) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Counts a change that was made, and freezes if it was the last.
    fn changed(&mut self) {
        self.changes_left = self.changes_left.map(|left| left.saturating_sub(1));
        self.frozen |= self.changes_left == Some(0);
    }

    fn change_names(&mut self, change: NameChange) {
        self.changed();
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }

    fn change(&mut self, inode: u64, change: Change) {
        self.changed();
        if let Some(content) = self.files.get_mut(&inode) {
            self.clock += 1;
            content.modified = self.clock;
            content.metadata.changed = self.clock;
            change.apply(&mut content.now);
            content.changes.push(change);
        }
    }

    /// Writes what fits.
    fn write(&mut self, inode: u64, offset: u64, mut bytes: Vec<u8>) -> io::Result<()> {
        let wanted = bytes.len() as u64;
        if let Some(space) = self.space {
            bytes.truncate(usize::try_from(space).unwrap_or(usize::MAX));
            self.space = Some(space.saturating_sub(wanted));
        }
        let fits = bytes.len() as u64 == wanted;
        self.change(inode, Change::Write(offset, bytes));
        if fits { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }

    fn meta(&self, inode: u64) -> Meta {
        let found = self.files.get(&inode);
        let (len, modified) = found.map_or((0, 0), |file| (file.now.len() as u64, file.modified));
        Meta { len, is_file: true, is_dir: false, device: 1, inode, modified }
    }

    /// Counts a read, and overwrites the file if it is the one.
    fn before_read(&mut self, inode: u64) {
        match self.overwrites.remove(&inode) {
            Some((0, bytes)) => self.change(inode, Change::Write(0, bytes)),
            found => self.overwrites.extend(found.map(|(left, bytes)| (inode, (left - 1, bytes)))),
        }
    }

    /// Counts a sync, and freezes if it is the one.
    fn begin_sync(&mut self) -> io::Result<()> {
        if self.freeze_at.is_some_and(|at| self.syncs >= at) {
            self.frozen = true;
        }
        self.check(Path::new(""))?;
        self.syncs += 1;
        Ok(())
    }

    fn sync_file(&mut self, inode: u64) {
        if let Some(content) = self.files.get_mut(&inode) {
            content.changes.clear();
            content.durable.clone_from(&content.now);
        }
    }

    fn sync_names(&mut self, folder: &Path) {
        let (now, later): (Vec<_>, Vec<_>) =
            self.name_changes.drain(..).partition(|change| change.folder() == folder);
        now.iter().for_each(|change| change.apply(&mut self.durable_names));
        self.name_changes = later;
    }

    fn sync_path(&mut self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        if self.broken_syncs.remove(path) {
            return Err(io::Error::other("input/output error"));
        }
        if self.folder_exists(path) {
            self.sync_names(path);
        } else {
            let inode = self.inode(path)?;
            self.sync_file(inode);
        }
        Ok(())
    }
}

impl Node {
    fn is_dir(&self) -> bool {
        matches!(self, Node::Dir(_))
    }
}

impl MemFs {
    /// An empty disk.
    #[must_use]
    pub fn new() -> MemFs {
        MemFs::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many syncs were done: one a file, a folder or a batch.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// The most files that were open at one time.
    #[must_use]
    pub fn most_open(&self) -> u64 {
        self.disk().most_open
    }

    /// The disk for an opening of a path.
    fn opening(&self, path: &Path) -> MutexGuard<'_, Disk> {
        let deed = self.disk().deeds.remove(path);
        if let Some(Deed(deed)) = deed {
            deed();
        }
        self.disk()
    }

    /// Bytes that were read from files, over the life of the disk.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.disk().bytes_read
    }

    /// Whether files can share their bytes from now on, as on file systems with reflinks.
    pub fn set_shares(&self, shares: bool) {
        self.disk().shares = shares;
    }

    /// Whether the process is a common user from now on, who cannot give files away.
    pub fn set_common(&self, common: bool) {
        self.disk().common = common;
    }

    fn open(&self, disk: &mut Disk, path: &Path, inode: u64) -> Arc<dyn FsFile> {
        *disk.open.entry(inode).or_default() += 1;
        disk.most_open = disk.most_open.max(disk.open.values().sum());
        disk.next_handle += 1;
        Arc::new(MemFile {
            disk: Arc::clone(&self.disk),
            inode,
            path: path.to_owned(),
            handle: disk.next_handle,
        })
    }

    fn create(&self, path: &Path, fresh: bool) -> io::Result<Arc<dyn FsFile>> {
        let mut disk = self.opening(path);
        disk.check(path)?;
        match disk.inode(path) {
            Ok(_) if fresh => return Err(io::ErrorKind::AlreadyExists.into()),
            Ok(inode) => return Ok(self.open(&mut disk, path, inode)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if path.file_name().is_some_and(|name| name.len() > 255) {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        if !path.parent().is_some_and(|folder| disk.folder_exists(folder)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inode =
            disk.add(path, Node::File, NodeMetadata { mode: 0o644, ..NodeMetadata::default() });
        Ok(self.open(&mut disk, path, inode))
    }
}

impl Fs for MemFs {
    fn inside(&self, _root: &Path) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let mut disk = self.opening(path);
        disk.check(path)?;
        let inode = disk.inode(path)?;
        Ok(self.open(&mut disk, path, inode))
    }

    fn open_update(&self, path: &Path, inode: u64) -> io::Result<Arc<dyn FsFile>> {
        let file = self.open_read(path)?;
        match file.meta()?.inode == inode {
            true => Ok(file),
            false => Err(Unfit::Replaced.into()),
        }
    }

    fn open_write(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.create(path, false)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        self.create(path, true)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(from).and_then(|()| disk.check(to))?;
        let node = disk.leaf(from)?;
        if disk.names.get(to).is_some_and(Node::is_dir) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // Two names of one file: both stay (POSIX).
        if disk.names.get(to).is_some_and(|other| other.inode() == node.inode()) {
            return Ok(());
        }
        let change = NameChange::Rename(from.to_owned(), to.to_owned(), node);
        disk.change_names(change);
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.disk().names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(path)?;
        disk.leaf(path)?;
        disk.change_names(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(path)?;
        if !disk.names.get(path).is_some_and(Node::is_dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if disk.names.keys().any(|name| name.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        disk.change_names(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(path)?;
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for folder in above {
            if disk.folder_exists(folder) {
                continue;
            }
            if disk.names.contains_key(folder) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            disk.add(folder, Node::Dir, NodeMetadata { mode: 0o755, ..NodeMetadata::default() });
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.begin_sync()?;
        disk.sync_path(path)
    }

    fn sync_many(&self, paths: &[PathBuf]) -> Vec<(usize, io::Error)> {
        let mut disk = self.disk();
        if paths.is_empty() {
            return Vec::new();
        }
        if disk.begin_sync().is_err() {
            let out = |index| (index, io::Error::other("the power is out"));
            return (0..paths.len()).map(out).collect();
        }
        let tried = paths.iter().map(|path| disk.sync_path(path)).enumerate();
        tried.filter_map(|(index, done)| Some((index, done.err()?))).collect()
    }

    fn metadata(&self, path: &Path) -> io::Result<Meta> {
        let disk = self.disk();
        disk.check(path)?;
        let path = &disk.follow(path);
        if disk.folder_exists(path) {
            let (len, inode, modified) = (0, 0, 0);
            return Ok(Meta { len, is_file: false, is_dir: true, device: 1, inode, modified });
        }
        disk.inode(path).map(|inode| disk.meta(inode))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.disk();
        disk.check(path)?;
        if !disk.folder_exists(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = disk.names.iter().filter(|(name, _)| name.parent() == Some(path));
        let entry = |(name, node): (&PathBuf, &Node)| DirEntry {
            path: name.clone(),
            is_file: matches!(node, Node::File(_)),
            is_dir: node.is_dir(),
        };
        Ok(inside.map(entry).collect())
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk();
        disk.check(path)?;
        let inode = disk.inode(path)?;
        let len = disk.meta(inode).len;
        disk.write(inode, len, bytes.to_vec())
    }

    fn free_space(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.disk().space.unwrap_or(u64::MAX))
    }

    fn look(&self, path: &Path) -> io::Result<Look> {
        self.disk().look_at(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.disk().read_link(path)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let metadata =
            NodeMetadata { mode: 0o777, target: target.to_owned(), ..NodeMetadata::default() };
        self.disk().add_new(path, Node::Symlink, metadata)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk().hard_link(from, to)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk().add_new(
            path,
            Node::Dir,
            NodeMetadata { mode: 0o755, ..NodeMetadata::default() },
        )
    }

    fn create_private(&self, path: &Path) -> io::Result<Arc<dyn FsFile>> {
        let made = self.create(path, true)?;
        self.set_mode(path, 0o600)?;
        Ok(made)
    }

    fn hold(&self, path: &Path) -> io::Result<Box<dyn Held>> {
        self.disk().look_at(path)?;
        Ok(Box::new(MemHeld { fs: self.clone(), path: path.to_owned() }))
    }

    fn share(&self, from: &dyn FsFile, to: &dyn FsFile) -> io::Result<()> {
        let (from, to) = (from.meta()?.inode, to.meta()?.inode);
        self.disk().share(from, to)
    }

    fn user(&self) -> u32 {
        if self.disk().common { COMMON } else { 0 }
    }

    fn is_closed(&self, _folder: &Path) -> bool {
        false
    }

    fn is_barred(&self, _path: &Path) -> bool {
        false
    }
}

/// What stands under a name; it is found by that, since nobody swaps names on this disk.
#[derive(Debug)]
struct MemHeld {
    fs: MemFs,
    path: PathBuf,
}

impl Held for MemHeld {
    fn look(&self) -> io::Result<Look> {
        self.fs.look(&self.path)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.fs.disk().set(&self.path, |_, metadata| metadata.mode = mode)
    }

    fn set_modified(&self, time: i64) -> io::Result<()> {
        self.fs.disk().set(&self.path, |modified, _| *modified = i128::from(time))
    }

    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        if !self.fs.is_root() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.fs.disk().set(&self.path, |_, metadata| (metadata.uid, metadata.gid) = (uid, gid))
    }

    fn attribute_names(&self) -> io::Result<Vec<String>> {
        Ok(self.fs.disk().metadata_of(&self.path)?.attributes.keys().cloned().collect())
    }

    fn attribute(&self, name: &str) -> io::Result<Vec<u8>> {
        let found = self.fs.disk().metadata_of(&self.path)?.attributes.get(name).cloned();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set_attribute(&self, name: &str, value: &[u8]) -> io::Result<()> {
        let (name, value) = (name.to_owned(), value.to_owned());
        self.fs.disk().set(&self.path, |_, metadata| _ = metadata.attributes.insert(name, value))
    }

    fn remove_attribute(&self, name: &str) -> io::Result<()> {
        self.fs.disk().set(&self.path, |_, metadata| _ = metadata.attributes.remove(name))
    }
}

#[cfg(test)]
mod tests;
