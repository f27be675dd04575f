//! What whoever stores a torrent of bytes has to know of it, wherever it came from: a .torrent
//! file, or a set of a cluster. It says nothing of trackers, and nothing of what is wanted.

use crate::geometry::Geometry;
use crate::path::resolve_path;
use crate::piece_hashes::PieceHashes;
use dunlin_base::{FileIndex, InfoHash, PieceIndex};

/// Other names of a file, from where the torrent is stored, with `/`: its data may stand under them
/// where it was not fetched by us. No two files share one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aliases {
    /// As the torrent has it, where that is no [`stored path`](crate::Torrent::stored_path) and a
    /// file system can hold it.
    pub raw: Option<Vec<u8>>,
    /// As other programs make it.
    pub portable: Option<Vec<u8>>,
    /// The text of a link under its raw name, where that is another.
    pub link: Option<Vec<u8>>,
}

/// A file of a torrent as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContentFile {
    /// Its relative path, with `/`, safe to create. Empty for padding: whoever stores files creates
    /// nothing for it.
    pub name: String,
    /// Its length in bytes; 0 for padding and links.
    pub length: u64,
    /// Its owner may run it (BEP 47, `x`).
    pub executable: bool,
    /// The text of a symbolic link that stands there instead of a file (BEP 47, `l`), which leads
    /// to something of the same torrent.
    pub link: Option<Vec<u8>>,
    /// Other names under which its data may stand already.
    pub aliases: Option<Box<Aliases>>,
}

impl ContentFile {
    /// The relative paths under which data of the file may stand, in the order in which they are to
    /// be tried: as the torrent has it, as it is stored, as other programs make it.
    pub fn places(&self) -> impl Iterator<Item = &[u8]> {
        let aliases = self.aliases.as_deref();
        let raw = aliases.and_then(|aliases| aliases.raw.as_deref());
        let portable = aliases.and_then(|aliases| aliases.portable.as_deref());
        raw.into_iter().chain([self.name.as_bytes()]).chain(portable)
    }

    /// Whether a link of this text, which stands under one of [`ContentFile::places`], is the one
    /// that the torrent has there.
    #[must_use]
    pub fn is_link(&self, place: &[u8], text: &[u8]) -> bool {
        let leads = |name: &[u8], text: &[u8]| {
            let mut path: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
            path.pop();
            let end = resolve_path(&path, text)?;
            Some(end.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        let Some(found) = leads(place, text) else { return false };
        let raw = self.aliases.as_deref().and_then(|aliases| {
            let name = aliases.raw.as_deref().unwrap_or(self.name.as_bytes());
            leads(name, aliases.link.as_deref()?)
        });
        let safe = self.link.as_deref().and_then(|link| leads(self.name.as_bytes(), link));
        [raw, safe].into_iter().flatten().any(|end| end == found)
    }
}

/// Files, pieces and hashes of one torrent of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Names the torrent in resume files. Of a hybrid torrent the one of version 1; of one of
    /// version 2 the truncated one.
    pub info_hash: InfoHash,
    /// The files, with the indexes of the geometry.
    pub files: Vec<ContentFile>,
    /// The pieces, blocks and files.
    pub geometry: Geometry,
    /// One hash a piece.
    pub hashes: PieceHashes,
}

/// What a piece must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedPiece {
    /// The SHA-1 of its bytes, with so many zero bytes behind them (BEP 3, BEP 47).
    Sha1 {
        /// The hash.
        hash: [u8; 20],
        /// Zero bytes that are hashed behind the data.
        zeros: u32,
    },
    /// The root over the SHA-256 of its blocks of 16 KiB, filled up with leaves of zeros (BEP 52).
    Merkle {
        /// The root.
        root: [u8; 32],
        /// How many leaves the tree has: a power of two.
        leaves: u32,
    },
}

impl Content {
    /// What `piece` must be; `None` past the end, or for tokens.
    #[must_use]
    pub fn expected(&self, piece: PieceIndex) -> Option<ExpectedPiece> {
        match &self.hashes {
            PieceHashes::Sha1(hashes) => Some(ExpectedPiece::Sha1 {
                hash: *hashes.get(piece.index())?,
                zeros: self
                    .geometry
                    .hashed_len(piece)
                    .saturating_sub(self.geometry.data_len(piece)),
            }),
            PieceHashes::Merkle(roots) => Some(ExpectedPiece::Merkle {
                root: *roots.get(piece.index())?,
                leaves: self.leaves(piece),
            }),
            PieceHashes::Tokens(_) => None,
        }
    }

    /// Leaves of the tree over `piece`: those of a whole piece, or, where the file is not longer
    /// than one, those that its blocks need (BEP 52).
    fn leaves(&self, piece: PieceIndex) -> u32 {
        let file = FileIndex(self.geometry.piece_files(piece).start);
        let one = self.geometry.file_length(file) <= u64::from(self.geometry.piece_length());
        let bytes = if one { self.geometry.data_len(piece) } else { self.geometry.piece_length() };
        bytes.div_ceil(crate::BLOCK_LENGTH).max(1).next_power_of_two()
    }
}
