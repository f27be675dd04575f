//! Trees of files as a cluster keeps them: what a folder holds beside the bytes of its files, and
//! how that is made at a destination. Links inside a tree are kept as links and never followed;
//! nothing is removed here, and no content of a file is read or written.

mod finish;
mod metadata;
mod walk;

pub use finish::MetadataPreserver;
pub use walk::{list_files, scan_tree};

use dunlin_metainfo::TreeEntry;
use std::path::PathBuf;

/// What was found at a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Folders, links and files with what is kept of each, by name.
    pub entries: Vec<TreeEntry>,
    /// The regular files, by name. A further name of one of them is no file here but an entry.
    pub files: Vec<TreeFile>,
    /// What should be given and cannot be, with the reasons.
    pub unreadable: Vec<Unkept>,
    /// Files that an earlier run left unfinished here: of who should give them, they are missing.
    pub unfinished: Vec<Unkept>,
    /// What is left out because trees do not hold such things, with the reasons.
    pub notes: Vec<Unkept>,
}

/// A regular file of a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeFile {
    /// Its name in the tree, with `/`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub length: u64,
}

/// Something of a tree that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unkept {
    /// Its name in the tree.
    pub name: String,
    /// Why, for people.
    pub reason: String,
}

#[cfg(test)]
mod tests;
