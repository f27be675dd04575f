//! The bytes of a cache file: a mark, the entries one after another, and the SHA-1 of all that. All
//! numbers are little-endian.
//!
//! ```text
//!   "dunlin hashes 1\n"
//!   u16 path length, path │ u64 device, inode, size │ i64 modified, changed │ u32 piece length
//!   u8 has SHA-256, [32 bytes] │ 20 bytes a piece, as many as size and piece length make
//!   …
//!   20 bytes of SHA-1
//! ```

use crate::fs::{Look, Meta};
use dunlin_metainfo::MAX_PIECES;
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

const MARK: &[u8] = b"dunlin hashes 1\n";

/// What every version of the mark begins with; a number and a line feed follow.
const NAME: &[u8] = b"dunlin hashes ";

/// Bytes of the checksum at the end.
const SUM: usize = 20;

/// What a file must still be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheKey {
    device: u64,
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    modified: i64,
    changed: i64,
    pub(crate) piece_length: u32,
}

/// What is kept of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheEntry {
    pub(crate) key: CacheKey,
    pub(crate) hashes: Arc<[[u8; 20]]>,
    pub(crate) sha256: Option<[u8; 32]>,
}

/// Why a cache file is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CacheError {
    #[error("its checksum is wrong: torn, or not ours")]
    Checksum,
    #[error("it is no list of hashes, or one of another version")]
    Mark,
    #[error("version {0} of its format, which this program does not know; it is left as it is")]
    Newer(u64),
    #[error("an entry is cut off or impossible at byte {0}")]
    Entry(usize),
}

impl CacheKey {
    /// The key of a file that looks like this; `None` where a number is beyond all reason.
    pub(crate) fn of(look: &Look, piece_length: u32) -> Option<CacheKey> {
        Some(CacheKey {
            device: look.meta.device,
            inode: look.meta.inode,
            size: look.meta.len,
            modified: i64::try_from(look.meta.modified).ok()?,
            changed: i64::try_from(look.changed).ok()?,
            piece_length: Some(piece_length).filter(|length| *length > 0)?,
        })
    }

    /// Whether it is the key of a file of this content, by all that is known of that.
    pub(crate) fn has_content(&self, meta: &Meta) -> bool {
        (self.device, self.inode, self.size) == (meta.device, meta.inode, meta.len)
            && i128::from(self.modified) == meta.modified
    }

    /// How many pieces the file has.
    fn pieces(&self) -> Option<usize> {
        let pieces = self.size.div_ceil(u64::from(self.piece_length));
        u32::try_from(pieces).ok().filter(|pieces| *pieces <= MAX_PIECES).map(|n| n as usize)
    }
}

impl CacheEntry {
    /// An entry whose hashes are as many as its pieces.
    pub(crate) fn new(
        key: CacheKey,
        hashes: Arc<[[u8; 20]]>,
        sha256: Option<[u8; 32]>,
    ) -> Option<CacheEntry> {
        (key.pieces() == Some(hashes.len())).then_some(CacheEntry { key, hashes, sha256 })
    }
}

/// The bytes of a cache file of at most about `most` bytes: what does not fit is left out.
pub(crate) fn encode<'a>(
    entries: impl Iterator<Item = (&'a [u8], &'a CacheEntry)>,
    most: u64,
) -> Vec<u8> {
    let mut bytes = encode_body(entries, most.saturating_sub(SUM as u64));
    let sum = Sha1::digest(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

pub(crate) fn encode_body<'a>(
    entries: impl Iterator<Item = (&'a [u8], &'a CacheEntry)>,
    most: u64,
) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    for (path, entry) in entries {
        let Ok(length) = u16::try_from(path.len()) else { continue };
        let size = 2 + path.len() + 77 + entry.hashes.len() * 20;
        if (bytes.len() + size) as u64 > most {
            continue;
        }
        let CacheKey { device, inode, size, modified, changed, piece_length } = entry.key;
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(path);
        [device, inode, size].iter().for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
        [modified, changed].iter().for_each(|n| bytes.extend_from_slice(&n.to_le_bytes()));
        bytes.extend_from_slice(&piece_length.to_le_bytes());
        bytes.push(u8::from(entry.sha256.is_some()));
        bytes.extend_from_slice(entry.sha256.as_ref().map_or(&[][..], |hash| hash));
        bytes.extend_from_slice(entry.hashes.as_flattened());
    }
    bytes
}

/// Reads the bytes of a cache file.
pub(crate) fn decode(bytes: &[u8]) -> Result<BTreeMap<Vec<u8>, CacheEntry>, CacheError> {
    let at = bytes.len().checked_sub(SUM).ok_or(CacheError::Checksum)?;
    let (body, sum) = bytes.split_at(at);
    if Sha1::digest(body).as_slice() != sum {
        return Err(CacheError::Checksum);
    }
    decode_body(body)
}

pub(crate) fn decode_body(body: &[u8]) -> Result<BTreeMap<Vec<u8>, CacheEntry>, CacheError> {
    let mut rest = body.strip_prefix(MARK).ok_or_else(|| other_mark(body))?;
    let mut entries = BTreeMap::new();
    while !rest.is_empty() {
        let at = body.len() - rest.len();
        let (path, entry) = read_entry(&mut rest).ok_or(CacheError::Entry(at))?;
        entries.insert(path, entry);
    }
    Ok(entries)
}

/// What a file is that does not begin with today's mark.
fn other_mark(body: &[u8]) -> CacheError {
    let version = body.strip_prefix(NAME).and_then(|rest| {
        let digits = rest.iter().position(|byte| *byte == b'\n').and_then(|at| rest.get(..at))?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    });
    version.map_or(CacheError::Mark, CacheError::Newer)
}

fn read_entry(rest: &mut &[u8]) -> Option<(Vec<u8>, CacheEntry)> {
    let length = u16::from_le_bytes(take(rest)?);
    let path = take_slice(rest, usize::from(length))?.to_vec();
    let key = CacheKey {
        device: u64::from_le_bytes(take(rest)?),
        inode: u64::from_le_bytes(take(rest)?),
        size: u64::from_le_bytes(take(rest)?),
        modified: i64::from_le_bytes(take(rest)?),
        changed: i64::from_le_bytes(take(rest)?),
        piece_length: Some(u32::from_le_bytes(take(rest)?)).filter(|length| *length > 0)?,
    };
    let sha256 = match take::<1>(rest)? {
        [0] => None,
        [1] => Some(take(rest)?),
        _ => return None,
    };
    let hashes = take_slice(rest, key.pieces()?.checked_mul(20)?)?;
    let hashes = hashes.as_chunks::<20>().0.into();
    Some((path, CacheEntry { key, hashes, sha256 }))
}

fn take_slice<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}
