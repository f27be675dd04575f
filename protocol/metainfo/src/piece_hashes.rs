//! The hashes by which pieces are verified.

use bytes::Bytes;
use dunlin_base::hex;
use std::ops::Range;
use std::sync::Arc;

/// How a piece is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashKind {
    /// SHA-1 over the piece's bytes (BEP 3).
    Sha1,
    /// The root of a tree of SHA-256 over the piece's blocks (BEP 52). No set of a cluster has it.
    Merkle,
    /// The piece must equal its token.
    Token,
}

/// The hashes of pieces, in order. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceHashes {
    /// SHA-1 of every piece.
    Sha1(Arc<[[u8; 20]]>),
    /// The root of every piece's tree: the piece layers of all files, one after another, or the
    /// root of the file itself where it is not longer than a piece (BEP 52).
    Merkle(Arc<[[u8; 32]]>),
    /// The token that every piece is.
    Tokens(Arc<[Bytes]>),
}

impl PieceHashes {
    /// How many pieces there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            PieceHashes::Sha1(hashes) => hashes.len(),
            PieceHashes::Merkle(roots) => roots.len(),
            PieceHashes::Tokens(tokens) => tokens.len(),
        }
    }

    /// Whether there are no pieces.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How the pieces are verified.
    #[must_use]
    pub fn kind(&self) -> HashKind {
        match self {
            PieceHashes::Sha1(_) => HashKind::Sha1,
            PieceHashes::Merkle(_) => HashKind::Merkle,
            PieceHashes::Tokens(_) => HashKind::Token,
        }
    }

    /// A copy of the hashes in `range`; what is past the end is left out.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> PieceHashes {
        let end = range.end.min(self.len());
        let range = range.start.min(end)..end;
        match self {
            PieceHashes::Sha1(hashes) => {
                PieceHashes::Sha1(hashes.get(range).unwrap_or_default().into())
            }
            PieceHashes::Merkle(roots) => {
                PieceHashes::Merkle(roots.get(range).unwrap_or_default().into())
            }
            PieceHashes::Tokens(tokens) => {
                PieceHashes::Tokens(tokens.get(range).unwrap_or_default().into())
            }
        }
    }

    /// The first piece in which the two differ: the first that only one has, if one is the
    /// beginning of the other; 0 if they are of different kinds; `None` if they are equal.
    #[must_use]
    pub fn first_difference(&self, other: &PieceHashes) -> Option<usize> {
        let common = match (self, other) {
            (PieceHashes::Sha1(ours), PieceHashes::Sha1(theirs)) => {
                ours.iter().zip(theirs.iter()).position(|(a, b)| a != b)
            }
            (PieceHashes::Merkle(ours), PieceHashes::Merkle(theirs)) => {
                ours.iter().zip(theirs.iter()).position(|(a, b)| a != b)
            }
            (PieceHashes::Tokens(ours), PieceHashes::Tokens(theirs)) => {
                ours.iter().zip(theirs.iter()).position(|(a, b)| a != b)
            }
            _ => Some(0),
        };
        common.or((self.len() != other.len()).then(|| self.len().min(other.len())))
    }

    /// The hash of piece `index` for people: hex, or the token itself; `-` past the end.
    #[must_use]
    pub fn display(&self, index: usize) -> String {
        let text = match self {
            PieceHashes::Sha1(hashes) => hashes.get(index).map(|hash| hex(hash)),
            PieceHashes::Merkle(roots) => roots.get(index).map(|root| hex(root)),
            PieceHashes::Tokens(tokens) => {
                tokens.get(index).map(|token| String::from_utf8_lossy(token).into_owned())
            }
        };
        text.unwrap_or_else(|| "-".to_owned())
    }
}
