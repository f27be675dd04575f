//! What goes wrong on a disk, said so that a person can act on it. Nothing here blames a peer.

use dunlin_base::FileIndex;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file failed for a reason of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskError {
    /// The file or folder.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: DiskErrorKind,
}

/// What happened to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskErrorKind {
    /// No space, or a quota is used up. Waiting can help.
    Full,
    /// The file system has no room for another name. Waiting can help.
    NoInodes,
    /// It is not there.
    Missing,
    /// A file that we only read is not what it was: another length, other bytes, or written since.
    Changed,
    /// Whoever waited for it asked to stop in the middle.
    Interrupted,
    /// Permissions, or a file system that is mounted read-only.
    Denied,
    /// The file system has no room for a name that long.
    NameTooLong,
    /// Something else stands where our file belongs.
    Exists,
    /// A complete file of other content stands where ours goes, and it was not said that it may be
    /// replaced.
    OtherContent {
        /// How many other files of the torrent are in the same case.
        more: u32,
    },
    /// A file or a link stands where a folder must be.
    NoFolder,
    /// Another torrent, of this process or another, writes something else to this path; or a run
    /// that has a folder on the way to it for itself.
    Claimed {
        /// Which torrent, and which process.
        by: String,
    },
    /// The same torrent is written into the same folder by another process, or was given to this
    /// one by another of its names.
    Twice {
        /// Which torrent, and which process.
        by: String,
    },
    /// A file of our own that a later version of the program has written in a form that this one
    /// does not know.
    Newer(u64),
    /// Of a torrent whose files are only read nothing is right: what is wrong with each.
    NothingRight(Vec<FileFault>),
    /// What the caller asked for makes no sense for this file; a defect of the program.
    Misuse(&'static str),
    /// Anything else, in the words of the operating system.
    Io(String),
}

/// What is wrong with a file of a torrent that is only read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// The file.
    pub file: FileIndex,
    /// Where it should be.
    pub path: PathBuf,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// It is not there.
    Missing,
    /// It has this length in bytes, which is not that of the torrent.
    Length(u64),
    /// Something else than a file stands there, or than a folder on the way to it: links are not
    /// followed.
    NoFile,
    /// It cannot be read, for this reason.
    Unreadable(DiskErrorKind),
    /// So many of its pieces are wrong. A piece that it shares with a file that is missing does not
    /// count.
    Wrong {
        /// Wrong pieces.
        pieces: u32,
        /// All of its pieces.
        of: u32,
    },
}

impl DiskError {
    /// An error of `kind` at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, kind: DiskErrorKind) -> DiskError {
        DiskError { path: path.into(), kind }
    }

    /// A call that makes no sense for `path`: a defect of the caller.
    pub(crate) fn misuse(path: impl Into<PathBuf>, what: &'static str) -> DiskError {
        DiskError::new(path, DiskErrorKind::Misuse(what))
    }

    /// Other content stands at `path`, and where `more` other files of the torrent go.
    pub(crate) fn other_content(path: &Path, more: usize) -> DiskError {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        DiskError::new(path, DiskErrorKind::OtherContent { more })
    }

    /// Translates what the operating system said about `path`.
    #[must_use]
    pub fn io(path: &Path, error: &io::Error) -> DiskError {
        use io::ErrorKind as K;
        let kind = match error.kind() {
            K::StorageFull if error.get_ref().is_some() => DiskErrorKind::NoInodes,
            K::StorageFull | K::QuotaExceeded => DiskErrorKind::Full,
            K::NotFound => DiskErrorKind::Missing,
            K::UnexpectedEof | K::StaleNetworkFileHandle => DiskErrorKind::Changed,
            K::Interrupted => DiskErrorKind::Interrupted,
            K::PermissionDenied if error.get_ref().is_some() => {
                DiskErrorKind::Io(error.to_string())
            }
            K::PermissionDenied | K::ReadOnlyFilesystem => DiskErrorKind::Denied,
            K::InvalidFilename => DiskErrorKind::NameTooLong,
            K::AlreadyExists | K::IsADirectory | K::NotADirectory => DiskErrorKind::Exists,
            _ => DiskErrorKind::Io(error.to_string()),
        };
        DiskError::new(path, kind)
    }

    /// Whether the disk is full, so that waiting for space can help.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.kind, DiskErrorKind::Full | DiskErrorKind::NoInodes)
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.kind {
            DiskErrorKind::Full => {
                write!(f, "{path}: the disk is full or the quota is used up; make room and go on")
            }
            DiskErrorKind::NoInodes => write!(
                f,
                "{path}: the file system has no inodes left for more files; remove some there, or \
                 choose another disk, and go on"
            ),
            DiskErrorKind::Missing => {
                write!(f, "{path}: not there; it was moved or removed, put it back and start again")
            }
            DiskErrorKind::Changed => write!(
                f,
                "{path}: changed while it was in use; leave it alone during a run and start again"
            ),
            DiskErrorKind::Interrupted => {
                write!(f, "{path}: stopped in the middle of it; start again to go on")
            }
            DiskErrorKind::Denied => {
                write!(f, "{path}: permission denied; check owner, mode and mount options")
            }
            DiskErrorKind::NameTooLong => write!(
                f,
                "{path}: the file system refuses this name; choose a shorter one or another disk"
            ),
            DiskErrorKind::Exists => write!(
                f,
                "{path}: something else stands there and is not replaced; move it away first"
            ),
            DiskErrorKind::OtherContent { more } => {
                write!(f, "{path}: a file of other content stands there")?;
                if *more > 0 {
                    write!(f, " (and where {more} other files of the torrent go)")?;
                }
                write!(f, "; move it away, or give --force to replace it")
            }
            DiskErrorKind::NoFolder => write!(
                f,
                "{path}: not a folder, but one must stand there; it is neither followed nor \
                 replaced, move it away first"
            ),
            DiskErrorKind::Claimed { by } => write!(
                f,
                "{path}: {by} writes other content there; choose another folder, or \
                 leave this file out"
            ),
            DiskErrorKind::Twice { by } => write!(
                f,
                "{path}: {by} writes the same torrent there; wait until it ends, or choose \
                 another folder"
            ),
            DiskErrorKind::Newer(version) => write!(
                f,
                "{path}: version {version} of its format, which this program does not know; it is \
                 left as it is, use the newer program, or move it away and all is hashed again"
            ),
            DiskErrorKind::NothingRight(_) => write!(
                f,
                "{path}: nothing of the torrent is right here; name the folder that holds it"
            ),
            DiskErrorKind::Misuse(what) => {
                write!(f, "{path}: {what}; this is a defect of the program, please report it")
            }
            DiskErrorKind::Io(text) => {
                write!(f, "{path}: {text}; check the disk, then start again to resume")
            }
        }
    }
}

impl std::error::Error for DiskError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_a_full_sentence_that_names_the_file() {
        let cases = [
            (io::ErrorKind::StorageFull, DiskErrorKind::Full),
            (io::ErrorKind::NotFound, DiskErrorKind::Missing),
            (io::ErrorKind::UnexpectedEof, DiskErrorKind::Changed),
            (io::ErrorKind::Interrupted, DiskErrorKind::Interrupted),
            (io::ErrorKind::ReadOnlyFilesystem, DiskErrorKind::Denied),
            (io::ErrorKind::InvalidFilename, DiskErrorKind::NameTooLong),
            (io::ErrorKind::AlreadyExists, DiskErrorKind::Exists),
            (io::ErrorKind::Other, DiskErrorKind::Io("other error".into())),
        ];
        for (from, kind) in cases {
            let error = DiskError::io(Path::new("/a/b"), &io::Error::from(from));
            assert_eq!(error.kind, kind);
            assert!(error.to_string().starts_with("/a/b: "), "{error}");
            assert!(error.to_string().contains("; "), "says what to do: {error}");
        }
        let none = DiskError::io(Path::new("/a/b"), &crate::fs::Unfit::NoInodes.into());
        assert!(none.is_full() && none.to_string().contains("no inodes left"), "{none}");
    }
}
