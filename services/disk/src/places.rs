//! Where the files of a torrent are, and where they go.

use crate::error::DiskError;
use crate::fs::Seen;
use dunlin_metainfo::{Content, PieceHashes};
use std::path::PathBuf;
use std::sync::Arc;

/// Where a file of a torrent is, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilePlace {
    /// It is complete here, and only read.
    Source(SourceFile),
    /// It is owned at one place and wanted at another: written, not downloaded. Other content that
    /// stands there when the torrent is opened is replaced in the end: ask before you open.
    Copy {
        /// Where it is; only read.
        source: SourceFile,
        /// Where it goes.
        dest: PathBuf,
    },
    /// It is to be downloaded.
    Wanted {
        /// Where it goes.
        dest: PathBuf,
        /// Whether other content that stands there may be replaced in the end.
        replace: bool,
    },
    /// It is not wanted (a torrent of the internet). What comes of it with pieces of other files
    /// goes to the store of its torrent, unless a part file or the whole file is there.
    Skipped {
        /// Where it would go.
        dest: PathBuf,
    },
    /// Another content stands where it goes: what is right of that is kept, the rest is to be
    /// downloaded.
    Repair(Box<Repair>),
    /// It cannot be written, for this reason: whoever writes or finishes it is told so.
    Blocked {
        /// Where it would go.
        dest: PathBuf,
        /// Where it is owned; that is read as ever.
        source: Option<SourceFile>,
        /// What is wrong.
        error: DiskError,
    },
    /// It is none of our business.
    Absent,
}

/// A file that is made of another content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// Where it goes, and where the other content stands.
    pub dest: PathBuf,
    /// What the other content was when `known` was taken. If it is not that any more, it is hashed
    /// again.
    pub base: SourceFile,
    /// The hashes of its pieces, if somebody has taken them.
    pub known: Option<KnownHashes>,
    /// Change it where it stands, instead of a copy beside it that replaces it in the end. Who
    /// reads it meanwhile sees a mixture, and so does who looks after a crash. Only for a file of
    /// one name.
    pub in_place: bool,
}

/// The hashes of a file's pieces, each padded to a whole one (BEP 47).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHashes {
    /// Bytes of a piece.
    pub piece_length: u32,
    /// The hashes, in order.
    pub hashes: PieceHashes,
}

/// A complete file that is only read, and must stay what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it was when its hashes were taken; `None` for what it is when it is opened. A file that
    /// is not this any more is not read.
    pub seen: Option<Seen>,
}

impl From<PathBuf> for SourceFile {
    /// A source whose hashes are known from elsewhere.
    fn from(path: PathBuf) -> SourceFile {
        SourceFile { path, seen: None }
    }
}

/// A torrent of the internet, and where its files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentPlan {
    /// Its files, pieces and hashes.
    pub content: Arc<Content>,
    /// What the names of its files are below.
    pub folder: PathBuf,
    /// Whether each file is wanted, by index; padding and links are not.
    pub wanted: Vec<bool>,
    /// What may be done with files that stand there already.
    pub existing: Existing,
    /// The root of each file's tree of hashes (BEP 52), by index, where the torrent has one; empty
    /// if it has none. Two torrents with one root mean the same content.
    pub roots: Vec<Option<[u8; 32]>>,
}

/// What may be done with a complete file that stands where one of the torrent's goes. What is right
/// is taken in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Other content is a refusal, and nothing is touched.
    Refuse,
    /// What is right of other content is kept; in the end it is replaced.
    Replace,
    /// Nothing is ever written: what is there is read.
    Read,
}
