//! What is kept of one file, folder or link: owner, attributes, mode and time. Only what differs is
//! set, so that a second run leaves no trace.

use crate::fs::{FileKind, Fs, Held, Look, Unfit};
use dunlin_metainfo::EntryMeta;
use std::io;
use std::path::Path;

/// The attribute that holds a program's capabilities; only root may set it.
const CAPABILITY: &str = "security.capability";

/// The attribute that a system's policy gives every file by its place; a copy gets its own.
const LABEL: &str = "security.selinux";

/// The beginning of the names of attributes that only root sees and sets.
const TRUSTED: &str = "trusted.";

/// Permissions that say more than who may read, write and run: set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;

/// The extended attributes of a file that trees keep.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// Name and value, in order.
    pub(super) kept: Vec<(String, Vec<u8>)>,
    /// Whether it has an access control list, which trees do not keep.
    pub(super) acl: bool,
    /// The names of others that trees do not keep.
    pub(super) dropped: Vec<String>,
}

impl Attributes {
    /// What is dropped, as the beginning of a sentence.
    pub(super) fn dropped(&self) -> String {
        let verb = if self.dropped.len() == 1 { "is" } else { "are" };
        format!("{} {verb}", self.dropped.join(", "))
    }
}

/// Reads the attributes that trees keep.
pub(super) fn kept_attributes(held: &dyn Held, root: bool) -> io::Result<Attributes> {
    let mut found = Attributes::default();
    for name in held.attribute_names()? {
        found.acl |= name.starts_with("system.posix_acl_") || name == "system.nfs4_acl";
        if is_kept(&name, root) {
            let value = held.attribute(&name)?;
            found.kept.push((name, value));
        } else if !name.starts_with("system.") && name != LABEL {
            found.dropped.push(name);
        }
    }
    Ok(found)
}

fn is_kept(name: &str, root: bool) -> bool {
    name.starts_with("user.") || root && (name == CAPABILITY || name.starts_with(TRUSTED))
}

/// Makes what stands at `path`, which is known to be `look`, look like `meta`. Returns what could
/// not be done, for people. Owners are set as root only.
pub(super) fn apply_metadata(
    fs: &dyn Fs,
    path: &Path,
    look: &Look,
    meta: &EntryMeta,
) -> Vec<String> {
    let held = match hold(fs, path, look) {
        Ok(held) => held,
        Err(error) => return vec![format!("its looks cannot be kept: {error}")],
    };
    let held = &*held;
    let mut dresser = Dresser { held, look: *look, root: fs.is_root(), unkept: Vec::new() };
    let link = look.kind == FileKind::Symlink;
    dresser.owner(meta);
    dresser.attributes(meta);
    if !link {
        dresser.mode(meta);
    }
    if dresser.look.meta.modified != i128::from(meta.modified) {
        let set = held.set_modified(meta.modified);
        dresser.note("its time", set);
    }
    dresser.unkept
}

/// Holds what was looked at, and nothing else that was put in its place.
fn hold(fs: &dyn Fs, path: &Path, look: &Look) -> io::Result<Box<dyn Held>> {
    let held = fs.hold(path)?;
    let now = held.look()?;
    let same = (now.kind, now.meta.device, now.meta.inode)
        == (look.kind, look.meta.device, look.meta.inode);
    if same { Ok(held) } else { Err(Unfit::Replaced.into()) }
}

struct Dresser<'a> {
    held: &'a dyn Held,
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
        let set = self.held.set_owner(meta.uid, meta.gid);
        let what = format!("its owner {}:{}", meta.uid, meta.gid);
        if self.note(&what, set) {
            (self.look.uid, self.look.gid) = (meta.uid, meta.gid);
            // Giving a file away takes its set-id bits.
            if let Ok(now) = self.held.look() {
                self.look.mode = now.mode;
            }
        }
    }

    fn attributes(&mut self, meta: &EntryMeta) {
        let now = match kept_attributes(self.held, self.root) {
            Ok(now) => now.kept,
            Err(_) if meta.attributes.is_empty() => return,
            Err(error) => {
                self.note("its extended attributes", Err(error));
                return;
            }
        };
        let wanted = || meta.attributes.iter().filter(|(name, _)| is_kept(name, self.root));
        for (name, _) in meta.attributes.iter().filter(|(name, _)| !is_kept(name, self.root)) {
            self.unkept.push(format!("its attribute {name} cannot be kept: only root may set it"));
        }
        if wanted().eq(now.iter()) {
            return;
        }
        // Attributes are set by whoever may write the file.
        if !self.root && self.look.mode & 0o200 == 0 && self.look.kind != FileKind::Symlink {
            let mode = self.look.mode | 0o200;
            if self.held.set_mode(mode).is_ok() {
                self.look.mode = mode;
            }
        }
        let mut failed = None;
        for (name, value) in wanted().filter(|wanted| !now.contains(wanted)) {
            failed = self.held.set_attribute(name, value).err().or(failed);
        }
        for (name, _) in now.iter().filter(|(name, _)| !wanted().any(|(other, _)| other == name)) {
            failed = self.held.remove_attribute(name).err().or(failed);
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
        let set = self.held.set_mode(mode);
        if self.note("its mode", set) {
            self.look.mode = mode;
        }
    }
}
