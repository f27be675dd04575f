//! Links, modes, times and attributes of a disk in memory. They survive a power loss: what of them
//! would is no promise of anybody.

use super::change::{Change, NameChange};
use super::{Content, Disk, Node};
use crate::fs::{FileKind, Look, Meta};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Links that are followed one after another.
const MAX_LINKS: usize = 8;

/// What is known of a file, folder or link beside its content.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeMetadata {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) changed: i128,
    pub(super) attributes: BTreeMap<String, Vec<u8>>,
    /// Of a symlink.
    pub(super) target: PathBuf,
    /// Whether it ever had two names.
    pub(super) linked: bool,
}

impl Node {
    pub(super) fn inode(self) -> u64 {
        match self {
            Node::Dir(inode) | Node::File(inode) | Node::Symlink(inode) => inode,
        }
    }
}

impl Disk {
    /// Where a path leads in the end. Links above its last component are not followed.
    pub(super) fn follow(&self, path: &Path) -> PathBuf {
        let mut at = path.to_owned();
        for _ in 0..MAX_LINKS {
            let Some(Node::Symlink(inode)) = self.names.get(&at) else { break };
            let Some(content) = self.files.get(inode) else { break };
            at = at.parent().unwrap_or(Path::new("")).join(&content.metadata.target);
        }
        at
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A file or a link by this very name.
    pub(super) fn leaf(&self, path: &Path) -> io::Result<Node> {
        match self.node(path)? {
            Node::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
            node => Ok(node),
        }
    }

    /// Adds a name for something new; returns its number.
    pub(super) fn add(
        &mut self,
        path: &Path,
        node: fn(u64) -> Node,
        mut metadata: NodeMetadata,
    ) -> u64 {
        self.next_inode += 1;
        self.clock += 1;
        let (inode, modified) = (self.next_inode, self.clock);
        metadata.changed = modified;
        self.files.insert(inode, Content { modified, metadata, ..Content::default() });
        self.change_names(NameChange::Add(path.to_owned(), node(inode)));
        inode
    }

    /// The same, where nothing may stand.
    pub(super) fn add_new(
        &mut self,
        path: &Path,
        node: fn(u64) -> Node,
        metadata: NodeMetadata,
    ) -> io::Result<()> {
        self.check_new(path)?;
        self.add(path, node, metadata);
        Ok(())
    }

    fn check_new(&self, path: &Path) -> io::Result<()> {
        self.check(path)?;
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match path.parent() {
            Some(folder) if self.folder_exists(folder) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn hard_link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.check_new(to)?;
        let node = self.leaf(from)?;
        self.clock += 1;
        let now = self.clock;
        if let Some(content) = self.files.get_mut(&node.inode()) {
            (content.metadata.linked, content.metadata.changed) = (true, now);
        }
        self.change_names(NameChange::Add(to.to_owned(), node));
        Ok(())
    }

    pub(super) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.check(path)?;
        match self.node(path)? {
            Node::Symlink(inode) => {
                Ok(self.files.get(&inode).map(|c| c.metadata.target.clone()).unwrap_or_default())
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    pub(super) fn metadata_of(&self, path: &Path) -> io::Result<NodeMetadata> {
        self.check(path)?;
        let inode = self.node(path)?.inode();
        Ok(self.files.get(&inode).map(|content| content.metadata.clone()).unwrap_or_default())
    }

    /// Changes the metadata of what stands under this very name, and its time of writing.
    pub(super) fn set(
        &mut self,
        path: &Path,
        change: impl FnOnce(&mut i128, &mut NodeMetadata),
    ) -> io::Result<()> {
        self.check(path)?;
        let inode = self.node(path)?.inode();
        self.clock += 1;
        self.changed();
        let now = self.clock;
        if let Some(content) = self.files.get_mut(&inode) {
            change(&mut content.modified, &mut content.metadata);
            content.metadata.changed = now;
        }
        Ok(())
    }

    pub(super) fn look_at(&self, path: &Path) -> io::Result<Look> {
        self.check(path)?;
        let above = path.parent().and_then(|above| self.metadata_of(above).ok());
        if self.common && above.is_some_and(|above| above.mode & 0o100 == 0) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        match self.node(path) {
            Ok(node) => self.look(node),
            Err(_) if self.folder_exists(path) => {
                let (len, device, inode, modified) = (0, 1, 0, 0);
                let meta = Meta { len, is_file: false, is_dir: true, device, inode, modified };
                let (kind, mode) = (FileKind::Directory, 0o755);
                Ok(Look { kind, meta, changed: 0, links: 1, mode, uid: 0, gid: 0 })
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn look(&self, node: Node) -> io::Result<Look> {
        let inode = node.inode();
        let content = self.files.get(&inode).ok_or(io::ErrorKind::NotFound)?;
        let kind = match node {
            Node::Dir(_) => FileKind::Directory,
            Node::Symlink(_) => FileKind::Symlink,
            Node::File(_) => FileKind::File,
        };
        let links = match content.metadata.linked {
            true => self.names.values().filter(|node| node.inode() == inode).count() as u64,
            false => 1,
        };
        let meta = Meta {
            is_file: kind == FileKind::File,
            is_dir: kind == FileKind::Directory,
            ..self.meta(inode)
        };
        let metadata = &content.metadata;
        let (changed, mode, uid, gid) =
            (metadata.changed, metadata.mode, metadata.uid, metadata.gid);
        Ok(Look { kind, meta, changed, links, mode, uid, gid })
    }

    pub(super) fn share(&mut self, from: u64, to: u64) -> io::Result<()> {
        self.check(Path::new(""))?;
        if !self.shares {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let bytes = self.files.get(&from).map(|content| content.now.clone()).unwrap_or_default();
        self.change(to, Change::SetLen(0));
        self.change(to, Change::Write(0, bytes));
        Ok(())
    }
}
