//! Whether a file is still what it was when it was looked at.

use crate::fs::{Fs, Look};
use std::path::Path;

/// Whether a file is what it was when it was looked at, by all that tells of its content.
pub(crate) fn is_unchanged(fs: &dyn Fs, path: &Path, seen: &Look) -> bool {
    fs.look(path)
        .is_ok_and(|now| (now.kind, now.meta, now.changed) == (seen.kind, seen.meta, seen.changed))
}

/// What has become of a file since it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing.
    Same,
    /// It is the same file with the same length and time of writing, but something of it was
    /// changed: a name, rights, or content by somebody who has set its time back.
    Touched,
    /// It is another one, or was written to.
    Other,
}

impl Since {
    /// Looks again, and remembers that of a file that was touched.
    pub(crate) fn of(fs: &dyn Fs, path: &Path, seen: &mut Look) -> Since {
        let Ok(now) = fs.look(path) else { return Since::Other };
        if (now.kind, now.meta) != (seen.kind, seen.meta) {
            return Since::Other;
        }
        let touched = std::mem::replace(seen, now).changed != now.changed;
        if touched { Since::Touched } else { Since::Same }
    }
}
