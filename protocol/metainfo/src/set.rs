//! A set: files of a cluster with equal holders and wanters, moved as one torrent. Files of bytes
//! are padded as in BEP 47, so that the set is a genuine torrent (BEP 3) and no piece is shared.

use bytes::Bytes;
use dunlin_base::{FileIndex, InfoHash};
use dunlin_bencode::Writer;
use sha1::{Digest, Sha1};
use thiserror::Error;

use crate::content::{Content, ContentFile};
use crate::geometry::{BLOCK_LENGTH, Geometry, GeometryError};
use crate::path::{NameError, check_name};
use crate::piece_hashes::{HashKind, PieceHashes};
use crate::token::{TokenError, check_token, token_info_hash};

/// The block between the ranks of a cluster, in bytes, where pieces are long enough: large, so that
/// threads are woken seldom (256 KiB cost a tenth more time), and small enough that a slow source
/// gives a sign of life every few seconds.
pub const CLUSTER_BLOCK_LENGTH: u32 = 512 * 1024;

/// The block lengths that ranks may agree on, in bytes.
pub const CLUSTER_BLOCK_LENGTHS: std::ops::RangeInclusive<u32> = 128 * 1024..=1024 * 1024;

/// The largest piece length that may be chosen, in bytes. A piece is held in memory while it
/// arrives.
pub const MAX_SET_PIECE_LENGTH: u32 = 64 * 1024 * 1024;

/// The largest piece length that is chosen without being asked, in bytes.
const MAX_DEFAULT_PIECE_LENGTH: u32 = 4 * 1024 * 1024;

/// With fewer pieces than this, peers have too little to swap while the file is on its way.
const MIN_DEFAULT_PIECES: u64 = 512;

/// The name of every set in its info dictionary. Peers find files by their own names.
const SET_NAME: &str = "set";

/// Why files make no set. Whoever registered them, or wrote the plan, is to blame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetError {
    /// The lengths make no torrent.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
    /// A name that must not be created.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two files of one name.
    #[error("`{0}` is listed twice: names in a set are unique")]
    Duplicate(String),
    /// A file whose name is a folder of another.
    #[error("`{file}` is a file and a folder of `{inner}` at once")]
    FileIsFolder {
        /// The file.
        file: String,
        /// A file that would have to be in it.
        inner: String,
    },
    /// The number of hashes does not fit the lengths.
    #[error("{found} piece hashes, expected {expected} for the lengths of the files")]
    HashCount {
        /// Pieces that the lengths need.
        expected: u32,
        /// Hashes found.
        found: usize,
    },
    /// Hashes of another kind than announced.
    #[error("piece hashes of kind {found:?}, expected {expected:?}")]
    Kind {
        /// The kind of the set.
        expected: HashKind,
        /// The kind of the hashes.
        found: HashKind,
    },
    /// A token set that is not one file with pieces of length 1.
    #[error("{files} token files with piece length {piece_length}, expected 1 with piece length 1")]
    TokenShape {
        /// Files found.
        files: usize,
        /// The piece length found.
        piece_length: u32,
    },
    /// A token that is none.
    #[error("token {index} of `{name}`: {fault}")]
    Token {
        /// The file.
        name: String,
        /// The token, counted from 0.
        index: usize,
        /// What is wrong with it.
        fault: TokenError,
    },
    /// A piece length that may not be chosen.
    #[error("a piece size of {0} bytes: choose a power of two from 16KiB to 64MiB")]
    PieceLength(u64),
    /// A block length that ranks may not agree on.
    #[error("a block size of {0} bytes: choose a power of two from 128KiB to 1MiB")]
    BlockLength(u64),
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFile {
    /// Its relative path, with `/`; [`check_name`] holds.
    pub name: String,
    /// Its length in bytes; in tokens for a token file.
    pub length: u64,
}

/// A set of files: one torrent of the cluster. Made by [`SetInfo::new`] alone, which checks it; the
/// fields are there to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetInfo {
    /// How pieces are verified.
    pub kind: HashKind,
    /// The length of a piece in bytes; 1 for tokens.
    pub piece_length: u32,
    /// The files, in order.
    pub files: Vec<SetFile>,
    /// The hashes of all files one after another, in the order of the files.
    pub hashes: PieceHashes,
    /// The first piece of every file.
    starts: Vec<u32>,
    /// The files in the order of their names.
    by_name: Vec<u32>,
}

impl SetInfo {
    /// A set whose parts fit together.
    ///
    /// # Errors
    /// If the number or kind of the hashes does not fit, a name is unsafe or comes twice, a token
    /// is none, or there are too many pieces.
    pub fn new(
        kind: HashKind,
        piece_length: u32,
        files: Vec<SetFile>,
        hashes: PieceHashes,
    ) -> Result<SetInfo, SetError> {
        if hashes.kind() != kind || kind == HashKind::Merkle {
            return Err(SetError::Kind { expected: kind, found: hashes.kind() });
        }
        let by_name = index_names(kind, &files)?;
        if let PieceHashes::Tokens(tokens) = &hashes {
            check_tokens(piece_length, &files, tokens)?;
        }
        let lengths: Vec<u64> = files.iter().map(|file| file.length).collect();
        let geometry = Geometry::aligned(piece_length, 1, &lengths)?;
        let expected = geometry.pieces();
        if hashes.len() != expected as usize {
            return Err(SetError::HashCount { expected, found: hashes.len() });
        }
        let mut next = 0;
        let starts = (0..geometry.files())
            .map(|file| {
                let pieces = geometry.file_pieces(FileIndex(file));
                let start = next;
                next += pieces.end - pieces.start;
                start
            })
            .collect();
        Ok(SetInfo { kind, piece_length, files, hashes, starts, by_name })
    }

    /// The set's pieces, blocks and files. `block_length` is in bytes, at least 1; a token set has
    /// blocks of one token whatever it says.
    #[must_use]
    pub fn geometry(&self, block_length: u32) -> Geometry {
        let lengths: Vec<u64> = self.files.iter().map(|file| file.length).collect();
        let block_length = match self.kind {
            HashKind::Sha1 | HashKind::Merkle => block_length.max(1),
            HashKind::Token => 1,
        };
        Geometry::aligned(self.piece_length, block_length, &lengths)
            .unwrap_or_else(|_| Geometry::nothing())
    }

    /// What whoever stores the set has to know. `block_length` as for [`SetInfo::geometry`].
    #[must_use]
    pub fn content(&self, block_length: u32) -> Content {
        let file = |file: &SetFile| ContentFile {
            name: file.name.clone(),
            length: file.length,
            ..ContentFile::default()
        };
        Content {
            info_hash: self.info_hash(),
            files: self.files.iter().map(file).collect(),
            geometry: self.geometry(block_length),
            hashes: self.hashes.clone(),
        }
    }

    /// The name of the set on the wire. Of bytes: SHA-1 of [`SetInfo::info_dict`]. Of tokens: see
    /// [`token_info_hash`]. Computed anew at each call.
    #[must_use]
    pub fn info_hash(&self) -> InfoHash {
        match (&self.hashes, self.info_dict()) {
            (PieceHashes::Tokens(tokens), _) => {
                let name = self.files.first().map_or("", |file| file.name.as_str());
                token_info_hash(name, tokens)
            }
            (_, dict) => InfoHash(Sha1::digest(dict.unwrap_or_default()).into()),
        }
    }

    /// The canonical info dictionary (BEP 3, BEP 47): several files, each followed by its padding.
    /// `None` for tokens.
    #[must_use]
    pub fn info_dict(&self) -> Option<Vec<u8>> {
        let PieceHashes::Sha1(hashes) = &self.hashes else { return None };
        let unit = u64::from(self.piece_length.max(1));
        let mut writer = Writer::new();
        writer.dict().key("files").list();
        for file in &self.files {
            writer.dict().key("length").integer(file.length).key("path").list();
            for component in file.name.split('/') {
                writer.bytes(component);
            }
            writer.end().end();
            let tail = file.length % unit;
            if tail > 0 {
                let pad = unit - tail;
                writer.dict().key("attr").bytes("p").key("length").integer(pad);
                writer.key("path").list().bytes(".pad").bytes(pad.to_string()).end().end();
            }
        }
        writer.end().key("name").bytes(SET_NAME);
        writer.key("piece length").integer(self.piece_length);
        writer.key("pieces").bytes(hashes.as_flattened()).end();
        writer.finish().ok()
    }

    /// The hashes of file `f`, in order; none for an empty file or past the end.
    #[must_use]
    pub fn file_hashes(&self, f: FileIndex) -> PieceHashes {
        let all = self.hashes.len();
        let start = self.starts.get(f.index()).map_or(all, |start| *start as usize);
        let end = self.starts.get(f.index() + 1).map_or(all, |start| *start as usize);
        self.hashes.slice(start..end)
    }

    /// The file of that name. Binary search.
    #[must_use]
    pub fn file_named(&self, name: &str) -> Option<FileIndex> {
        let name_of = |file: &u32| self.files.get(*file as usize).map(|file| file.name.as_str());
        let found = self.by_name.binary_search_by(|file| name_of(file).cmp(&Some(name))).ok()?;
        self.by_name.get(found).copied().map(FileIndex)
    }
}

/// Checks every name, and returns the files in the order of their names.
fn index_names(kind: HashKind, files: &[SetFile]) -> Result<Vec<u32>, SetError> {
    for file in files {
        match check_name(&file.name) {
            // A name of the course format may be longer than a file system takes: only whoever
            // writes that file fails, with that reason.
            Err(NameError::LongComponent { .. }) if kind == HashKind::Token => {}
            checked => checked?,
        }
    }
    let count = u32::try_from(files.len())
        .map_err(|_| GeometryError::TooManyFiles { files: files.len() })?;
    let mut sorted: Vec<(&str, u32)> =
        files.iter().map(|file| file.name.as_str()).zip(0..count).collect();
    sorted.sort_unstable();
    for (before, after) in sorted.iter().zip(sorted.iter().skip(1)) {
        if before.0 == after.0 {
            return Err(SetError::Duplicate(after.0.to_owned()));
        }
    }
    for (name, _) in &sorted {
        for (slash, _) in name.match_indices('/') {
            let folder = &name[..slash];
            if sorted.binary_search_by(|(other, _)| (*other).cmp(folder)).is_ok() {
                let (file, inner) = (folder.to_owned(), (*name).to_owned());
                return Err(SetError::FileIsFolder { file, inner });
            }
        }
    }
    Ok(sorted.into_iter().map(|(_, file)| file).collect())
}

fn check_tokens(piece_length: u32, files: &[SetFile], tokens: &[Bytes]) -> Result<(), SetError> {
    let [file] = files else {
        return Err(SetError::TokenShape { files: files.len(), piece_length });
    };
    if piece_length != 1 {
        return Err(SetError::TokenShape { files: 1, piece_length });
    }
    for (index, token) in tokens.iter().enumerate() {
        check_token(token).map_err(|fault| SetError::Token {
            name: file.name.clone(),
            index,
            fault,
        })?;
    }
    Ok(())
}

/// The piece length of a cluster's file of `length` bytes: `chosen`, or else the largest power of
/// two from 16 KiB to 4 MiB that gives at least 512 pieces, and 16 KiB if none does. It depends on
/// nothing else, so that all owners compute the same hashes.
#[must_use]
pub fn piece_length_for(length: u64, chosen: Option<u32>) -> u32 {
    if let Some(chosen) = chosen {
        return chosen;
    }
    let mut piece_length = MAX_DEFAULT_PIECE_LENGTH;
    while piece_length > BLOCK_LENGTH
        && length.div_ceil(u64::from(piece_length)) < MIN_DEFAULT_PIECES
    {
        piece_length /= 2;
    }
    piece_length
}

/// Checks a piece length that somebody chose: a power of two from 16 KiB to 64 MiB.
///
/// # Errors
/// If it is none.
pub fn check_piece_length(bytes: u64) -> Result<u32, SetError> {
    u32::try_from(bytes)
        .ok()
        .filter(|length| length.is_power_of_two())
        .filter(|length| (BLOCK_LENGTH..=MAX_SET_PIECE_LENGTH).contains(length))
        .ok_or(SetError::PieceLength(bytes))
}

/// The block length between the ranks of a cluster that have agreed on at most `most` bytes: the
/// piece length, or `most` if that is less.
#[must_use]
pub fn cluster_block_length(piece_length: u32, most: u32) -> u32 {
    piece_length.min(most)
}

/// Checks the block length that a person asked for between ranks.
///
/// # Errors
/// If it is no power of two from 128 KiB to 1 MiB.
pub fn check_cluster_block_length(bytes: u64) -> Result<u32, SetError> {
    u32::try_from(bytes)
        .ok()
        .filter(|length| length.is_power_of_two())
        .filter(|length| CLUSTER_BLOCK_LENGTHS.contains(length))
        .ok_or(SetError::BlockLength(bytes))
}

#[cfg(test)]
mod tests;
