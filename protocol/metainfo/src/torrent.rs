//! BEP 3, "metainfo files", with the file attributes of BEP 47: .torrent files of version 1. Hybrid
//! files (BEP 52) are read as version 1.

use bytes::Bytes;
use dunlin_base::InfoHash;
use dunlin_bencode::{DecodeError, Flaw, Writer};
use thiserror::Error;

use crate::geometry::{Entry, Geometry, GeometryError};
use crate::path::{MAX_DEPTH, PathError, PathRules};
use crate::set::PieceHashes;

mod read;

/// The largest .torrent file in bytes that is read; common programs stop there too.
pub const MAX_TORRENT_SIZE: usize = 10_000_000;

/// The largest info dictionary in bytes that is read when it comes from peers (BEP 9, practice).
pub const MAX_INFO_SIZE: usize = 30 * 1024 * 1024;

/// The largest piece length in bytes: 32 767 blocks of 16 KiB, the practice of common programs.
pub const MAX_PIECE_LENGTH: u32 = 536_854_528;

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
    /// Version 2 alone (BEP 52).
    #[error("the torrent is version 2 only (BEP 52): use a version 1 or hybrid torrent")]
    OnlyV2,
    /// A later version than any that is known.
    #[error("the torrent has version {0}: a newer program is needed")]
    NewerVersion(i64),
    /// Only some of the keys of version 2.
    #[error("the torrent has only one of `meta version` and `file tree`, expected both or none")]
    HalfV2,
    /// The info dictionary of a hybrid torrent is not canonical.
    #[error("the info dictionary of a hybrid torrent must be canonical: {0}")]
    NotCanonical(Flaw),
    /// Both or none of `length` and `files`.
    #[error("the torrent must have exactly one of `length` and `files`, found {0}")]
    LengthOrFiles(&'static str),
    /// A piece length outside of the range.
    #[error("the piece length is {0}, expected 1 to {MAX_PIECE_LENGTH}")]
    PieceLength(i64),
    /// Hashes that do not fit the lengths.
    #[error("`pieces` has {found} bytes, expected {expected}: 20 for each piece")]
    Pieces {
        /// Bytes that the lengths need.
        expected: u64,
        /// Bytes found.
        found: usize,
    },
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
    /// Where a symbolic link points: the components of the path of a file or folder of the torrent.
    /// `None` for a link to anything else, which is then an ordinary empty file.
    pub target: Option<Vec<String>>,
}

/// A torrent of version 1, as its .torrent file describes it. Made by [`Torrent::parse`]; the
/// fields are there to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torrent {
    info: Bytes,
    /// SHA-1 of the info dictionary as it stands in the file (BEP 3).
    pub info_hash: InfoHash,
    /// The name of the file, or of the folder for several files, made safe.
    pub name: String,
    /// Whether the torrent is one file without a folder.
    pub single_file: bool,
    /// The files and the padding, in the order of the pieces.
    pub files: Vec<TorrentFile>,
    /// The length of a piece in bytes, 1 to [`MAX_PIECE_LENGTH`].
    pub piece_length: u32,
    /// SHA-1 of every piece.
    pub pieces: PieceHashes,
    /// Peers come from the torrent's own trackers alone (BEP 27).
    pub private: bool,
    /// The file describes the same data for version 2 too (BEP 52).
    pub hybrid: bool,
    /// A tag that private sites use to change the info-hash.
    pub source: Option<String>,
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

    /// The pieces, blocks and files. Files have the indexes of [`Torrent::files`]; padding is an
    /// empty file there. `block_length` is in bytes, at least 1.
    #[must_use]
    pub fn geometry(&self, block_length: u32) -> Geometry {
        let entries = entries(&self.files);
        Geometry::padded(self.piece_length, block_length.max(1), &entries)
            .unwrap_or_else(|_| Geometry::nothing())
    }

    /// The path of file `index` from where the torrent is stored, with `/`; the folder of a torrent
    /// of several files comes first.
    #[must_use]
    pub fn stored_path(&self, index: usize) -> Option<String> {
        let path = self.files.get(index)?.path.join("/");
        Some(if self.single_file { path } else { format!("{}/{path}", self.name) })
    }

    /// A .torrent file with what is known here. The info dictionary stands in it byte for byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.dict();
        if let Some(first) = self.trackers.first().and_then(|tier| tier.first()) {
            writer.key("announce").bytes(first);
            if self.trackers.iter().map(Vec::len).sum::<usize>() > 1 {
                writer.key("announce-list").list();
                self.trackers.iter().for_each(|tier| write_list(&mut writer, tier));
                writer.end();
            }
        }
        write_strings(&mut writer, "collections", &self.collections);
        write_text(&mut writer, "comment", self.comment.as_ref());
        write_text(&mut writer, "created by", self.created_by.as_ref());
        if let Some(date) = self.creation_date {
            writer.key("creation date").integer(date);
        }
        write_strings(&mut writer, "httpseeds", &self.http_seeds);
        writer.key("info").raw(&self.info);
        if !self.nodes.is_empty() {
            writer.key("nodes").list();
            for (host, port) in &self.nodes {
                writer.list().bytes(host).integer(*port).end();
            }
            writer.end();
        }
        let similar: Vec<[u8; 20]> = self.similar.iter().map(|hash| hash.0).collect();
        write_strings(&mut writer, "similar", &similar);
        write_strings(&mut writer, "url-list", &self.web_seeds);
        writer.end();
        writer.finish().unwrap_or_default()
    }
}

fn entries(files: &[TorrentFile]) -> Vec<Entry> {
    files.iter().map(|file| Entry { length: file.length, pad: file.attributes.pad }).collect()
}

fn write_text(writer: &mut Writer, key: &str, text: Option<&String>) {
    if let Some(text) = text {
        writer.key(key).bytes(text);
    }
}

fn write_strings(writer: &mut Writer, key: &str, strings: &[impl AsRef<[u8]>]) {
    if !strings.is_empty() {
        writer.key(key);
        write_list(writer, strings);
    }
}

fn write_list(writer: &mut Writer, strings: &[impl AsRef<[u8]>]) {
    writer.list();
    for string in strings {
        writer.bytes(string);
    }
    writer.end();
}

#[cfg(test)]
mod tests;
