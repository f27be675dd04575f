//! State folders: ours in a root, and those of all users.

use crate::fs::{FileKind, Fs, Look};
use crate::names::{STATE_DIR, is_state_name};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files of claims, and locks, that are read of one state folder that is a stranger's.
pub(crate) const MAX_FOREIGN_CLAIMS: usize = 256;

/// The state folder of this user in `root`: [`STATE_DIR`], or `.dunlin-UID` where that is of
/// another user or cannot be written, so that users who share a folder do not lock one another out.
/// Who has one of his own keeps it. Nothing is made.
#[must_use]
pub fn state_folder(fs: &dyn Fs, root: &Path) -> PathBuf {
    let (shared, own) = (root.join(STATE_DIR), root.join(format!("{STATE_DIR}-{}", fs.user())));
    if fs.look(&own).is_ok_and(|look| look.uid == fs.user()) {
        return own;
    }
    let ours = match fs.look(&shared) {
        // What else of ours stands there is an error for whoever uses it.
        Ok(look) => {
            // It may go away at any moment, with the last lock in it: that is no reason.
            let closed = look.kind == FileKind::Directory && fs.is_closed(&shared);
            fs.trusts(look.uid, root) && !closed
        }
        Err(_) => true,
    };
    if ours { shared } else { own }
}

/// Lets other users see a state folder of ours, or a file in it that tells what we do here,
/// whatever our umask says: who cannot read it does not know of us. Where the file system has no
/// modes, that is as it is.
pub(crate) fn show(fs: &dyn Fs, path: &Path) {
    let Ok(held) = fs.hold(path) else { return };
    let Ok(look) = held.look() else { return };
    let bits = match look.kind {
        FileKind::Directory => 0o055,
        FileKind::File if look.links == 1 => 0o044,
        _ => return,
    };
    if look.uid == fs.user() && look.mode & bits != bits {
        let _ = held.set_mode(look.mode | bits);
    }
}

/// The state folders of all users in a folder. Links are not followed.
pub(crate) fn state_folders(fs: &dyn Fs, folder: &Path) -> Vec<PathBuf> {
    let mut named = |name: &OsStr| {
        is_state_name(name)
            && fs.look(&folder.join(name)).is_ok_and(|look| is_of_its(name, look, fs, folder))
    };
    match fs.read_some(folder, usize::MAX, &mut named) {
        Ok(entries) => entries.into_iter().map(|entry| entry.path).collect(),
        // One that may be entered and not read.
        Err(_) => states_above(fs, folder, folder),
    }
}

/// Whether a state folder is of the user whom its name tells: everybody else has no use for it, and
/// could make any number.
fn is_of_its(name: &OsStr, look: Look, fs: &dyn Fs, folder: &Path) -> bool {
    let user = name.as_bytes().strip_prefix(STATE_DIR.as_bytes()).unwrap_or_default();
    let theirs = user.is_empty() || user == format!("-{}", look.uid).as_bytes();
    look.kind == FileKind::Directory && (theirs || fs.trusts(look.uid, folder))
}

/// The state folders in a folder whose names are not listed, of all users whom `root` trusts.
pub(crate) fn states_above(fs: &dyn Fs, folder: &Path, root: &Path) -> Vec<PathBuf> {
    let owner = fs.look(root).map_or(0, |look| look.uid);
    let users = BTreeSet::from([fs.user(), 0, owner]);
    let own = users.into_iter().map(|user| format!("{STATE_DIR}-{user}"));
    let is_there =
        |path: &PathBuf| fs.look(path).is_ok_and(|look| look.kind == FileKind::Directory);
    let names = std::iter::once(STATE_DIR.to_owned()).chain(own);
    names.map(|name| folder.join(name)).filter(is_there).collect()
}
