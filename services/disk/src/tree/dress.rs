//! What is kept of one file, folder or link: owner, attributes, mode and time. Only what differs is
//! set, so that a second run leaves no trace.

use crate::fs::{FileKind, Fs, Look};
use dunlin_metainfo::EntryMeta;
use std::io;
use std::path::Path;

/// The attribute that holds a program's capabilities; only root may set it.
const CAPABILITY: &str = "security.capability";

/// Permissions that say more than who may read, write and run: set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// The extended attributes of a file that trees keep.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// Name and value, in order.
    pub(super) kept: Vec<(String, Vec<u8>)>,
    /// Whether it has an access control list, which trees do not keep.
    pub(super) acl: bool,
}

/// Reads the attributes that trees keep.
pub(super) fn kept_attributes(fs: &dyn Fs, path: &Path, root: bool) -> io::Result<Attributes> {
    let mut found = Attributes::default();
    for name in fs.attribute_names(path)? {
        found.acl |= name.starts_with("system.posix_acl_") || name == "system.nfs4_acl";
        if is_kept(&name, root) {
            let value = fs.attribute(path, &name)?;
            found.kept.push((name, value));
        }
    }
    Ok(found)
}

fn is_kept(name: &str, root: bool) -> bool {
    name.starts_with("user.") || root && name == CAPABILITY
}

/// Makes what stands at `path`, which is known to be `look`, look like `meta`. Returns what could
/// not be done, for people. Owners are set as root only.
pub(super) fn dress(fs: &dyn Fs, path: &Path, look: &Look, meta: &EntryMeta) -> Vec<String> {
    let mut dresser = Dresser { fs, path, look: *look, root: fs.is_root(), unkept: Vec::new() };
    let link = look.kind == FileKind::Symlink;
    dresser.owner(meta);
    if !link {
        dresser.attributes(meta);
        dresser.mode(meta);
    }
    if dresser.look.meta.modified != i128::from(meta.modified) {
        let set = fs.set_modified(path, meta.modified);
        dresser.note("its time", set);
    }
    dresser.unkept
}

struct Dresser<'a> {
    fs: &'a dyn Fs,
    path: &'a Path,
    /// What stands there now.
    look: Look,
    root: bool,
    unkept: Vec<String>,
}

impl Dresser<'_> {
    fn note(&mut self, what: &str, done: io::Result<()>) -> bool {
        if let Err(error) = &done {
            self.unkept.push(format!("{what} cannot be kept: {error}"));
        }
        done.is_ok()
    }

    fn owner(&mut self, meta: &EntryMeta) {
        let same = (self.look.uid, self.look.gid) == (meta.uid, meta.gid);
        if same || !self.root {
            return;
        }
        let set = self.fs.set_owner(self.path, meta.uid, meta.gid);
        let what = format!("its owner {}:{}", meta.uid, meta.gid);
        if self.note(&what, set) {
            (self.look.uid, self.look.gid) = (meta.uid, meta.gid);
            // Giving a file away takes its set-id bits.
            if let Ok(now) = self.fs.look(self.path) {
                self.look.mode = now.mode;
            }
        }
    }

    fn attributes(&mut self, meta: &EntryMeta) {
        let now = match kept_attributes(self.fs, self.path, self.root) {
            Ok(now) => now.kept,
            Err(_) if meta.attributes.is_empty() => return,
            Err(error) => {
                self.note("its extended attributes", Err(error));
                return;
            }
        };
        let wanted = || meta.attributes.iter().filter(|(name, _)| is_kept(name, self.root));
        if wanted().eq(now.iter()) {
            return;
        }
        // Attributes are set by whoever may write the file.
        if !self.root && self.look.mode & 0o200 == 0 {
            let mode = self.look.mode | 0o200;
            if self.fs.set_mode(self.path, mode).is_ok() {
                self.look.mode = mode;
            }
        }
        let mut failed = None;
        for (name, value) in wanted().filter(|wanted| !now.contains(wanted)) {
            failed = self.fs.set_attribute(self.path, name, value).err().or(failed);
        }
        for (name, _) in now.iter().filter(|(name, _)| !wanted().any(|(other, _)| other == name)) {
            failed = self.fs.remove_attribute(self.path, name).err().or(failed);
        }
        if let Some(error) = failed {
            self.note("its extended attributes", Err(error));
        }
    }

    fn mode(&mut self, meta: &EntryMeta) {
        let mut mode = meta.mode & 0o7777;
        // Set-id bits mean the owner: without it they would give away somebody else's rights.
        if mode & SET_ID != 0 && (self.look.uid, self.look.gid) != (meta.uid, meta.gid) {
            mode &= !SET_ID;
            self.unkept.push("its set-id bits are not kept without its owner".to_owned());
        }
        if self.look.mode == mode {
            return;
        }
        let set = self.fs.set_mode(self.path, mode);
        if self.note("its mode", set) {
            self.look.mode = mode;
        }
    }
}
