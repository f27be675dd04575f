//! What whoever stores a torrent of bytes has to know of it, wherever it came from: a .torrent file, or a
//! set of a cluster. It says nothing of trackers, and nothing of what is wanted.

use crate::geometry::Geometry;
use crate::set::PieceHashes;
use dunlin_base::{FileIndex, InfoHash, PieceIndex};

/// A file of a torrent as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentFile {
    /// Its relative path, with `/`, safe to create. Empty for padding and links: whoever stores files
    /// creates nothing for them.
    pub name: String,
    /// Its length in bytes; 0 for padding and links.
    pub length: u64,
}

/// Files, pieces and hashes of one torrent of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Names the torrent in resume files. Of a hybrid torrent the one of version 1; of one of version 2
    /// the truncated one.
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

    /// Leaves of the tree over `piece`: those of a whole piece, or, where the file is not longer than
    /// one, those that its blocks need (BEP 52).
    fn leaves(&self, piece: PieceIndex) -> u32 {
        let file = FileIndex(self.geometry.piece_files(piece).start);
        let one = self.geometry.file_length(file) <= u64::from(self.geometry.piece_length());
        let bytes = if one { self.geometry.data_len(piece) } else { self.geometry.piece_length() };
        bytes.div_ceil(crate::BLOCK_LENGTH).max(1).next_power_of_two()
    }
}
