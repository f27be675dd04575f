//! BEP 3, "metainfo files", with the file attributes of BEP 47, and BEP 52: .torrent files of
//! version 1, of version 2, and hybrid ones, which are both.

use bytes::Bytes;
use dunlin_base::InfoHash;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::content::Aliases;
use crate::geometry::{Entry, Geometry};
use crate::info_hashes::InfoHashes;
use crate::merkle::Node;
use crate::path::PathRules;
use crate::piece_hashes::PieceHashes;

mod error;
mod files;
mod layers;
mod links;
mod raw_file;
mod read;
mod write;

pub use error::MetainfoError;
pub use layers::MissingLayer;
pub(crate) use links::dangling;

/// The largest .torrent file in bytes that is read; common programs stop there too.
pub const MAX_TORRENT_SIZE: usize = 10_000_000;

/// The largest info dictionary in bytes that is read when it comes from peers (BEP 9, practice).
pub const MAX_INFO_SIZE: usize = 30 * 1024 * 1024;

/// The largest piece length in bytes: 32 767 blocks of 16 KiB, the practice of common programs.
pub const MAX_PIECE_LENGTH: u32 = 536_854_528;

/// The schemes of tracker addresses that mean something to BitTorrent programs.
pub(crate) const TRACKER_SCHEMES: &[&str] = &["http", "https", "udp", "ws", "wss"];

/// The attributes of a file (BEP 47, "attr").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `p`: zeros that are hashed and never stored.
    pub pad: bool,
    /// `x`: a program.
    pub executable: bool,
    /// `h`: hidden.
    pub hidden: bool,
    /// `l`: a symbolic link.
    pub symlink: bool,
}

/// An entry of a torrent's list of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentFile {
    /// The components of its path below the torrent's folder, made safe and without duplicates. Of
    /// a torrent with a single file: its name alone. Padding keeps a path that is never created.
    pub path: Vec<String>,
    /// Its length in bytes; 0 for a symbolic link.
    pub length: u64,
    /// Its attributes.
    pub attributes: Attributes,
    /// Where a symbolic link points: the components of the path of a file or folder of the torrent,
    /// perhaps through other links of it. `None` for a link to anything else, which is then an
    /// ordinary empty file.
    pub target: Option<Vec<String>>,
    /// The root of the tree over its blocks, if the torrent is of version 2 and the file is not
    /// empty (BEP 52).
    pub root: Option<Node>,
    /// Other names under which its data may stand, if there are any.
    pub aliases: Option<Box<Aliases>>,
}

/// A torrent, as its .torrent file describes it. Made by [`Torrent::parse`]; the fields are there
/// to be read.
///
/// A hybrid torrent has the files, pieces and padding of its version 1 here, and in addition what
/// only version 2 has: the roots of its files, and their layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    info: Bytes,
    /// Piece layers by the root of their file; only those of files of more than one piece.
    layers: BTreeMap<Node, Arc<[Node]>>,
    /// SHA-1 (BEP 3) and SHA-256 (BEP 52) of the info dictionary as it stands in the file, for the
    /// versions that it describes.
    pub hashes: InfoHashes,
    /// The name of the file, or of the folder for several files, made safe.
    pub name: String,
    /// Whether the torrent is one file without a folder.
    pub single_file: bool,
    /// The files and the padding, in the order of the pieces.
    pub files: Vec<TorrentFile>,
    /// The length of a piece in bytes, 1 to [`MAX_PIECE_LENGTH`].
    pub piece_length: u32,
    /// SHA-1 of every piece; for version 2 alone the root of every piece, or nothing as long as
    /// layers are missing.
    pub pieces: PieceHashes,
    /// Peers come from the torrent's own trackers alone (BEP 27).
    pub private: bool,
    /// A tag that private sites use to change the info-hash.
    pub source: Option<String>,
    /// What was changed to make its names safe, for people: a sentence each.
    pub warnings: Vec<String>,
    /// Tracker addresses in tiers, both in the order of the file (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Servers that hold the files (BEP 19).
    pub web_seeds: Vec<String>,
    /// Servers that hold pieces (BEP 17).
    pub http_seeds: Vec<String>,
    /// Contacts for the DHT: host and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// Free text.
    pub comment: Option<String>,
    /// The program that made the file.
    pub created_by: Option<String>,
    /// When the file was made, in seconds since 1970.
    pub creation_date: Option<i64>,
    /// Torrents that may share files (BEP 38).
    pub similar: Vec<InfoHash>,
    /// Groups whose torrents may share files (BEP 38).
    pub collections: Vec<String>,
}

impl Torrent {
    /// Reads a .torrent file, with names for common systems of the Unix family.
    ///
    /// # Errors
    /// If it is no torrent, is of version 2 only, or passes a limit.
    pub fn parse(bytes: &[u8]) -> Result<Torrent, MetainfoError> {
        Torrent::parse_with(bytes, PathRules::default())
    }

    /// Reads a .torrent file, with names for the file system that `rules` describe.
    ///
    /// # Errors
    /// As [`Torrent::parse`].
    pub fn parse_with(bytes: &[u8], rules: PathRules) -> Result<Torrent, MetainfoError> {
        read::torrent(bytes, rules)
    }

    /// Reads an info dictionary alone, as peers send it (BEP 9). That its hash is the wanted one is
    /// for the caller to check.
    ///
    /// # Errors
    /// As [`Torrent::parse`].
    pub fn parse_info(bytes: &[u8], rules: PathRules) -> Result<Torrent, MetainfoError> {
        read::info_alone(bytes, rules)
    }

    /// The info dictionary as it stands in the file: what is hashed, and sent to peers (BEP 9).
    #[must_use]
    pub fn info(&self) -> &Bytes {
        &self.info
    }

    /// Whether the same data is described for version 1 and for version 2 (BEP 52).
    #[must_use]
    pub fn is_hybrid(&self) -> bool {
        self.hashes.v1.is_some() && self.hashes.v2.is_some()
    }

    /// The pieces, blocks and files. Files have the indexes of [`Torrent::files`]; padding is an
    /// empty file there. `block_length` is in bytes, at least 1.
    #[must_use]
    pub fn geometry(&self, block_length: u32) -> Geometry {
        let block_length = block_length.max(1);
        let geometry = if self.hashes.v1.is_some() {
            Geometry::padded(self.piece_length, block_length, &entries(&self.files))
        } else {
            let lengths: Vec<u64> = self.files.iter().map(|file| file.length).collect();
            Geometry::aligned(self.piece_length, block_length, &lengths)
        };
        geometry.unwrap_or_else(|_| Geometry::nothing())
    }

    /// The path of file `index` from where the torrent is stored, with `/`; the folder of a torrent
    /// of several files comes first.
    #[must_use]
    pub fn stored_path(&self, index: usize) -> Option<String> {
        let path = self.files.get(index)?.path.join("/");
        Some(if self.single_file { path } else { format!("{}/{path}", self.name) })
    }
}

fn entries(files: &[TorrentFile]) -> Vec<Entry> {
    files.iter().map(|file| Entry { length: file.length, pad: file.attributes.pad }).collect()
}

#[cfg(test)]
mod tests;
