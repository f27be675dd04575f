//! Why bytes are no torrent. Whoever made the torrent is to blame.

use crate::geometry::GeometryError;
use crate::path::{MAX_DEPTH, PathError};
use dunlin_bencode::{DecodeError, Flaw};
use thiserror::Error;

use super::MAX_PIECE_LENGTH;

/// Why bytes are no torrent that we can read. Whoever made the torrent is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetainfoError {
    /// More bytes than are read.
    #[error("the torrent has {found} bytes, expected at most {limit}")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Something else than a torrent: nothing of it is bencode.
    #[error("this is no torrent: {0}")]
    NotATorrent(&'static str),
    /// The bytes are not bencode.
    #[error("the torrent is damaged: {0}")]
    Bencode(#[from] DecodeError),
    /// Another kind of value than a dictionary.
    #[error("the torrent is a {0}, expected a dictionary: is it a .torrent file?")]
    NotDict(&'static str),
    /// A key is absent, or its value is of no use.
    #[error("key `{key}` of the torrent is absent or wrong, expected {expected}")]
    Key {
        /// The key.
        key: &'static str,
        /// What it must hold.
        expected: &'static str,
    },
    /// A key of an entry of the list of files is absent, or its value is of no use.
    #[error("key `{key}` of file {index} of the torrent is absent or wrong, expected {expected}")]
    FileKey {
        /// The entry, counted from 0.
        index: usize,
        /// The key.
        key: &'static str,
        /// What it must hold.
        expected: &'static str,
    },
    /// A path that is too deep.
    #[error("the path of file {index} has {found} components, expected at most {MAX_DEPTH}")]
    TooDeep {
        /// The entry, counted from 0.
        index: usize,
        /// How many components its path has.
        found: usize,
    },
    /// Paths that repeat long folders so often that together they would fill the memory.
    #[error("the paths of the files have more than {limit} bytes together: nobody names files so")]
    PathsTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A symbolic link to something that is not in the torrent (BEP 47).
    #[error(
        "the link `{path}` points out of the torrent, to `{target}`: it could name any file of \
         whoever gets it; do not trust who made the torrent"
    )]
    LinkLeaves {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// A later version than any that is known.
    #[error("the torrent has version {0}: a newer program is needed")]
    NewerVersion(i64),
    /// Only some of the keys of version 2.
    #[error("the torrent has only one of `meta version` and `file tree`, expected both or none")]
    HalfV2,
    /// The info dictionary of a torrent of version 2 is not canonical.
    #[error("the info dictionary of a torrent of version 2 must be canonical: {0}")]
    NotCanonical(Flaw),
    /// Both or none of `length` and `files`.
    #[error("the torrent must have exactly one of `length` and `files`, found {0}")]
    LengthOrFiles(&'static str),
    /// A piece length outside of the range.
    #[error("the piece length is {0}, expected 1 to {MAX_PIECE_LENGTH}")]
    PieceLength(i64),
    /// A piece length that version 2 does not have.
    #[error("the piece length is {0}, expected a power of two, 16384 or more (BEP 52)")]
    PieceLengthV2(u32),
    /// Hashes that do not fit the lengths.
    #[error("`pieces` has {found} bytes, expected {expected}: 20 for each piece")]
    Pieces {
        /// Bytes that the lengths need.
        expected: u64,
        /// Bytes found.
        found: usize,
    },
    /// A file tree that contradicts itself, or BEP 52.
    #[error("the file tree is wrong at `{path}`: {fault}")]
    FileTree {
        /// Where.
        path: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// A piece layer that does not belong to the torrent.
    #[error("the piece layer of root {root} is wrong: {fault}")]
    Layer {
        /// The root in hex, or the key that is none.
        root: String,
        /// What is wrong.
        fault: String,
    },
    /// A hybrid torrent that describes other data for version 1 than for version 2.
    #[error("the two versions in the hybrid torrent disagree: {0}")]
    HalvesDisagree(String),
    /// A torrent of nothing.
    #[error("the torrent holds no bytes at all: there is nothing to move")]
    Nothing,
    /// The lengths make no torrent.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// The paths cannot be made safe.
    #[error(transparent)]
    Path(#[from] PathError),
}
