//! What moves to whom: counted by set, so that ranks that have nothing cost nothing.

use super::conflicts::ResolvedFile;
use super::{DestContent, Held, Move};
use dunlin_base::{Bitfield, PieceIndex, Rank};
use dunlin_control::OwnedFile;
use dunlin_metainfo::{HashKind, PieceHashes, check_piece_length, zero_hash};
use std::collections::BTreeMap;

/// The hashes of pieces that are all zeros, by piece length: each is worked out once.
#[derive(Default)]
pub(super) struct Zeros(BTreeMap<u32, Option<[u8; 20]>>);

impl Zeros {
    /// The pieces of a file that are all zeros: nobody fetches them. With a piece length that
    /// nobody may choose there are none: their hashes are not worth the work.
    pub(super) fn of(&mut self, piece_length: u32, hashes: &PieceHashes) -> Vec<u32> {
        let PieceHashes::Sha1(hashes) = hashes else { return Vec::new() };
        let zero = self
            .0
            .entry(piece_length)
            .or_insert_with(|| check_piece_length(piece_length.into()).ok().map(zero_hash));
        let Some(zero) = zero else { return Vec::new() };
        let found = (0..).zip(hashes.iter()).filter(|(_, hash)| *hash == zero);
        found.map(|(piece, _)| piece).collect()
    }
}

/// What a set comes to.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) files: u64,
    /// Payload bytes of all files.
    pub(super) bytes: u64,
    /// Those of pieces that are all zeros.
    pub(super) zeros: u64,
    /// What ranks have of it; who is not here has nothing.
    pub(super) shares: BTreeMap<Rank, RankShare>,
}

/// What a rank has of a set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RankShare {
    /// Files that stand whole where they are wanted.
    pub(super) files: u64,
    /// Bytes that need not come, beyond zeros.
    pub(super) here: u64,
    /// Bytes that the rank can copy from where it owns them.
    pub(super) local: u64,
}

impl Tally {
    /// Adds a file. With `repairs` the right pieces of other content count.
    pub(super) fn add(&mut self, file: &ResolvedFile<'_>, repairs: bool, zeros: &mut Zeros) {
        let content = file.content;
        let zeros = zeros.of(content.piece_length, &content.hashes);
        let zero_bytes = zeros.iter().map(|piece| piece_bytes(content, *piece)).sum::<u64>();
        let zero_bytes = zero_bytes.min(content.bytes);
        self.files += 1;
        self.bytes = self.bytes.saturating_add(content.bytes);
        self.zeros = self.zeros.saturating_add(zero_bytes);
        for held in &file.held {
            let base = base_of(file, held.rank).filter(|_| repairs);
            let here = match (held.at_dest, base) {
                (Some(DestContent::Whole | DestContent::Part(None)), _) => content.bytes,
                (Some(DestContent::Part(Some(pieces))), _) => bytes_here(content, pieces, &zeros),
                (None, Some(base)) => right_bytes(content, base, zero_bytes),
                (None, None) => zero_bytes,
            };
            let local = if held.pieces.is_none() { content.bytes - here } else { 0 };
            let whole = matches!(held.at_dest, Some(DestContent::Whole));
            self.add_share(held.rank, whole, here - zero_bytes.min(here), local);
        }
        let alone = file.bases.iter().filter(|(rank, _)| repairs && file.held(*rank).is_none());
        for (rank, base) in alone {
            let here = right_bytes(content, base, zero_bytes);
            self.add_share(*rank, false, here - zero_bytes, 0);
        }
    }

    fn add_share(&mut self, rank: Rank, whole: bool, here: u64, local: u64) {
        let share = self.shares.entry(rank).or_default();
        share.files += u64::from(whole);
        share.here = share.here.saturating_add(here);
        share.local = share.local.saturating_add(local);
    }

    /// What a rank has of the set.
    pub(super) fn share_of(&self, rank: Rank) -> RankShare {
        self.shares.get(&rank).copied().unwrap_or_default()
    }

    /// What a rank with that much of the set fetches.
    pub(super) fn moved(&self, share: RankShare) -> Move {
        let here = self.zeros.saturating_add(share.here).min(self.bytes);
        let linked = share.local.min(self.bytes - here);
        Move {
            files: self.files - share.files,
            bytes: self.bytes - here - linked,
            bytes_here: here,
            linked,
        }
    }

    /// What a rank does that links the set: from its own folder (then nothing is to be done), or
    /// from another.
    pub(super) fn linked(&self, share: RankShare, same_folder: bool) -> Move {
        if same_folder {
            return Move { bytes_here: self.bytes, ..Move::default() };
        }
        let Move { files, bytes, bytes_here, linked } = self.moved(share);
        Move { files, bytes: 0, bytes_here, linked: linked.saturating_add(bytes) }
    }
}

fn base_of<'a>(file: &ResolvedFile<'a>, rank: Rank) -> Option<&'a OwnedFile> {
    let at = file.bases.binary_search_by_key(&rank, |(rank, _)| *rank).ok()?;
    file.bases.get(at).map(|(_, base)| *base)
}

/// The payload of a piece: the last one of a file may be short.
fn piece_bytes(content: &OwnedFile, piece: u32) -> u64 {
    let unit = u64::from(content.piece_length);
    content.length.saturating_sub(unit * u64::from(piece)).min(unit)
}

/// Bytes of the payload that need not come to who has these pieces: exact for bytes, in proportion
/// for tokens.
fn bytes_here(content: &OwnedFile, pieces: &Bitfield, zeros: &[u32]) -> u64 {
    let count = u64::from(pieces.count());
    if content.hashes.kind() == HashKind::Token {
        let share = u128::from(content.bytes) * u128::from(count) / u128::from(pieces.len().max(1));
        return u64::try_from(share).unwrap_or(content.bytes);
    }
    let unit = u64::from(content.piece_length);
    let last_lacks = (u64::from(pieces.len()) * unit).saturating_sub(content.length);
    let last = PieceIndex(pieces.len().saturating_sub(1));
    let lacks = if pieces.has(last) { last_lacks } else { 0 };
    let others = zeros.iter().filter(|piece| !pieces.has(PieceIndex(**piece)));
    let zeros: u64 = others.map(|piece| piece_bytes(content, *piece)).sum();
    (count * unit).saturating_sub(lacks).saturating_add(zeros).min(content.bytes)
}

/// Bytes of the payload that need not come where `base` is repaired: pieces that are right in it,
/// and zeros. What is cut into other pieces cannot be compared here.
fn right_bytes(content: &OwnedFile, base: &OwnedFile, zero_bytes: u64) -> u64 {
    let (PieceHashes::Sha1(wanted), PieceHashes::Sha1(found)) = (&content.hashes, &base.hashes)
    else {
        return zero_bytes;
    };
    if content.piece_length != base.piece_length {
        return zero_bytes;
    }
    let right = (0..).zip(wanted.iter().zip(found.iter())).filter(|(_, (one, other))| one == other);
    let right: u64 = right.map(|(piece, _)| piece_bytes(content, piece)).sum();
    right.max(zero_bytes).min(content.bytes)
}

/// Whether a rank can serve something of the file.
pub(super) fn has_any(held: &Held<'_>) -> bool {
    held.pieces.is_none_or(|pieces| pieces.count() > 0)
}
