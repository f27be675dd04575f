//! BEP 3, "info dictionary", and BEP 47, "padding files": which bytes of which file are in which
//! piece and block. Files are spans of one stream; the stream is cut into pieces; bytes of the
//! stream that belong to no file are zeros that pad.

use dunlin_base::{BlockRef, FileIndex, PieceIndex};
use std::ops::Range;
use std::sync::Arc;
use thiserror::Error;

/// The block of the internet, in bytes: what every program requests and serves (BEP 3, practice).
pub const BLOCK_LENGTH: u32 = 16_384;

/// The most pieces of a torrent. A bitfield of them has 256 KiB; common programs stop there too.
pub const MAX_PIECES: u32 = 2_097_152;

/// Why lengths make no torrent. Whoever wrote the metainfo, or chose the piece length, is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GeometryError {
    /// A piece of no bytes.
    #[error("the piece length is 0, expected at least 1")]
    PieceLength,
    /// A block of no bytes.
    #[error("the block length is 0, expected at least 1")]
    BlockLength,
    /// More pieces than allowed.
    #[error("{pieces} pieces are more than {MAX_PIECES}: choose a larger piece length")]
    TooManyPieces {
        /// How many pieces the lengths need.
        pieces: u64,
    },
    /// The lengths add up to more than 2^64 bytes.
    #[error("the lengths of the files add up to more than 2^64 bytes")]
    Overflow,
    /// More files than an index can name.
    #[error("{files} files are more than 4294967295")]
    TooManyFiles {
        /// How many files there are.
        files: usize,
    },
}

/// A part of a file: the part of a block, or a whole block, that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The file.
    pub file: FileIndex,
    /// Where the part begins in the file, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; never 0.
    pub len: u32,
}

/// An entry of a torrent's list of files, for [`Geometry::padded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its length in bytes.
    pub length: u64,
    /// Whether it is padding (BEP 47): zeros that are hashed but are no file.
    pub pad: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    start: u64,
    length: u64,
}

impl Span {
    fn end(self) -> u64 {
        self.start + self.length
    }
}

/// The pieces, blocks and files of a torrent. Cheap to clone. For a token file all lengths count
/// tokens instead of bytes.
///
/// Functions that take a [`PieceIndex`] or [`FileIndex`] expect one of this geometry; past the end
/// lengths are 0 and ranges are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    piece_length: u32,
    block_length: u32,
    pieces: u32,
    hashed: u64,
    total: u64,
    /// Whether the stream holds bytes of no file.
    gaps: bool,
    spans: Arc<[Span]>,
    /// The files that are not empty; their spans rise strictly, so that they can be searched.
    filled: Arc<[u32]>,
}

impl Geometry {
    /// The classic layout (BEP 3): files follow one another without a gap and share pieces; only
    /// the last piece is short. Lengths in bytes; no bytes at all are allowed.
    ///
    /// # Errors
    /// If a unit is 0 or there are too many pieces.
    pub fn contiguous(
        piece_length: u32,
        block_length: u32,
        lengths: &[u64],
    ) -> Result<Geometry, GeometryError> {
        let entries = lengths.iter().map(|length| Entry { length: *length, pad: false });
        Geometry::build(piece_length, block_length, entries)
    }

    /// The layout of BEP 47: every file that is not empty begins a piece, and the last piece of
    /// every file is padded with zeros to its full length, for the hash alone. Pad bytes are never
    /// requested, sent or stored.
    ///
    /// # Errors
    /// If a unit is 0 or there are too many pieces.
    pub fn aligned(
        piece_length: u32,
        block_length: u32,
        lengths: &[u64],
    ) -> Result<Geometry, GeometryError> {
        let unit = u64::from(piece_length.max(1));
        let entries = lengths.iter().flat_map(|length| {
            let tail = length % unit;
            let pad = if tail == 0 { 0 } else { unit - tail };
            [(*length, false), (pad, true)].map(|(length, pad)| Entry { length, pad })
        });
        let mut geometry = Geometry::build(piece_length, block_length, entries)?;
        geometry.spans = geometry.spans.iter().step_by(2).copied().collect();
        geometry.filled = geometry.filled.iter().map(|entry| entry / 2).collect();
        Ok(geometry)
    }

    /// The layout of a torrent that lists its padding among its files (BEP 47). Every entry keeps
    /// its index; a padding entry is an empty file here. Pad bytes at the end of a piece are not
    /// part of its data; those in the middle of one, and pieces of nothing else, are.
    ///
    /// # Errors
    /// If a unit is 0 or there are too many pieces.
    pub fn padded(
        piece_length: u32,
        block_length: u32,
        entries: &[Entry],
    ) -> Result<Geometry, GeometryError> {
        Geometry::build(piece_length, block_length, entries.iter().copied())
    }

    /// A token file: one file, and every token is a piece of length 1 with one block.
    ///
    /// # Errors
    /// If there are too many tokens.
    pub fn tokens(count: u32) -> Result<Geometry, GeometryError> {
        Geometry::contiguous(1, 1, &[u64::from(count)])
    }

    /// No pieces and no files: what stands for a geometry that was checked before and cannot fail.
    pub(crate) fn nothing() -> Geometry {
        Geometry {
            piece_length: 1,
            block_length: 1,
            pieces: 0,
            hashed: 0,
            total: 0,
            gaps: false,
            spans: Arc::default(),
            filled: Arc::default(),
        }
    }

    fn build(
        piece_length: u32,
        block_length: u32,
        entries: impl Iterator<Item = Entry>,
    ) -> Result<Geometry, GeometryError> {
        if piece_length == 0 {
            return Err(GeometryError::PieceLength);
        }
        if block_length == 0 {
            return Err(GeometryError::BlockLength);
        }
        let (mut cursor, mut total) = (0_u64, 0_u64);
        let mut spans = Vec::new();
        for entry in entries {
            let length = if entry.pad { 0 } else { entry.length };
            spans.push(Span { start: cursor, length });
            cursor = cursor.checked_add(entry.length).ok_or(GeometryError::Overflow)?;
            total += length;
        }
        let pieces = cursor.div_ceil(u64::from(piece_length));
        let pieces = u32::try_from(pieces)
            .ok()
            .filter(|pieces| *pieces <= MAX_PIECES)
            .ok_or(GeometryError::TooManyPieces { pieces })?;
        let files = u32::try_from(spans.len())
            .map_err(|_| GeometryError::TooManyFiles { files: spans.len() })?;
        let filled = (0..files).zip(&spans).filter(|(_, span)| span.length > 0);
        Ok(Geometry {
            piece_length,
            block_length,
            pieces,
            hashed: cursor,
            total,
            gaps: cursor != total,
            filled: filled.map(|(file, _)| file).collect(),
            spans: spans.into(),
        })
    }

    /// How many pieces there are.
    #[must_use]
    pub fn pieces(&self) -> u32 {
        self.pieces
    }

    /// The length of every piece but perhaps the last, in bytes.
    #[must_use]
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// The length of every block but the last of a piece, in bytes.
    #[must_use]
    pub fn block_length(&self) -> u32 {
        self.block_length
    }

    /// The piece with the number `raw`, as it came from the wire, if there is one.
    #[must_use]
    pub fn piece(&self, raw: u32) -> Option<PieceIndex> {
        (raw < self.pieces).then_some(PieceIndex(raw))
    }

    /// How many bytes go into the hash of piece `p`, pad zeros included.
    #[must_use]
    pub fn hashed_len(&self, p: PieceIndex) -> u32 {
        let left = self.hashed.saturating_sub(self.start_of(p));
        left.min(u64::from(self.piece_length)) as u32
    }

    /// How many bytes of piece `p` are stored and sent: the pad zeros at its end are left out.
    #[must_use]
    pub fn data_len(&self, p: PieceIndex) -> u32 {
        let hashed = self.hashed_len(p);
        if !self.gaps {
            return hashed;
        }
        let start = self.start_of(p);
        let end = start + u64::from(hashed);
        let after = self.filled.partition_point(|file| self.span(*file).start < end);
        let last = after.checked_sub(1).and_then(|index| self.filled.get(index));
        match last.map(|file| self.span(*file).end().min(end)) {
            Some(data_end) if data_end > start => (data_end - start) as u32,
            _ => hashed,
        }
    }

    /// How many blocks piece `p` has: its data in blocks of the block length, the last one short.
    #[must_use]
    pub fn blocks(&self, p: PieceIndex) -> u32 {
        self.data_len(p).div_ceil(self.block_length)
    }

    /// Block `index` of piece `p`.
    ///
    /// # Panics
    /// If the piece has no such block.
    #[must_use]
    pub fn block(&self, p: PieceIndex, index: u32) -> BlockRef {
        let data = self.data_len(p);
        assert!(index < data.div_ceil(self.block_length), "{p:?} has no block {index}");
        let begin = index * self.block_length;
        BlockRef { piece: p, begin, len: (data - begin).min(self.block_length) }
    }

    /// The index of `block` within its piece, if it is exactly one of our blocks.
    #[must_use]
    pub fn block_index(&self, block: BlockRef) -> Option<u32> {
        let data = self.data_len(self.piece(block.piece.0)?);
        let left = data.checked_sub(block.begin).filter(|left| *left > 0)?;
        let ours = block.begin.is_multiple_of(self.block_length)
            && block.len == left.min(self.block_length);
        ours.then(|| block.begin / self.block_length)
    }

    /// How much of a piece may be asked for, in bytes: its data, and, where padding follows, the
    /// rest of the block of 16 KiB in which it ends. Programs that pad every file ask for that
    /// block whole (BEP 47: padding is served as zeros).
    #[must_use]
    pub fn served_len(&self, p: PieceIndex) -> u32 {
        let data = self.data_len(p);
        data.max(self.hashed_len(p).min(data.next_multiple_of(BLOCK_LENGTH)))
    }

    /// Whether a peer's request as it came from the wire may be answered: it is within what is
    /// served of a piece, not empty, and at most the larger of our block length and 16 KiB (BEP 3,
    /// practice).
    #[must_use]
    pub fn check_request(&self, block: BlockRef) -> bool {
        let BlockRef { piece, begin, len } = block;
        let longest = self.block_length.max(BLOCK_LENGTH);
        let fits = || begin.checked_add(len).is_some_and(|end| end <= self.served_len(piece));
        self.piece(piece.0).is_some() && len > 0 && len <= longest && fits()
    }

    /// The parts of files that `block` is made of, in order. Bytes of the block that no part covers
    /// are pad zeros. Finds the first by binary search.
    pub fn extents(&self, block: BlockRef) -> impl Iterator<Item = Extent> + '_ {
        let from = self.start_of(block.piece) + u64::from(block.begin);
        let to = from + u64::from(block.len);
        self.filled_from(from).map_while(move |file| {
            let span = self.span(file);
            let start = span.start.max(from);
            let len = span.end().min(to).checked_sub(start).filter(|len| *len > 0)?;
            let offset = start - span.start;
            Some(Extent { file: FileIndex(file), offset, len: len as u32 })
        })
    }

    /// How many files there are, empty ones included.
    #[must_use]
    pub fn files(&self) -> u32 {
        self.spans.len() as u32
    }

    /// The length of file `f` in bytes.
    #[must_use]
    pub fn file_length(&self, f: FileIndex) -> u64 {
        self.span(f.0).length
    }

    /// Where file `f` begins in the stream that is cut into pieces, in bytes; padding counts.
    #[must_use]
    pub fn file_start(&self, f: FileIndex) -> u64 {
        self.span(f.0).start
    }

    /// The numbers of the pieces that hold bytes of file `f`; none if it is empty.
    #[must_use]
    pub fn file_pieces(&self, f: FileIndex) -> Range<u32> {
        let span = self.span(f.0);
        if span.length == 0 {
            return 0..0;
        }
        let unit = u64::from(self.piece_length);
        (span.start / unit) as u32..span.end().div_ceil(unit) as u32
    }

    /// The numbers of the files with bytes in piece `p`. The first and the last have some; files in
    /// between may be empty.
    #[must_use]
    pub fn piece_files(&self, p: PieceIndex) -> Range<u32> {
        let from = self.start_of(p);
        let to = from + u64::from(self.hashed_len(p));
        let after = self.filled.partition_point(|file| self.span(*file).start < to);
        let last = after.checked_sub(1).and_then(|index| self.filled.get(index)).copied();
        match (self.filled_from(from).next(), last) {
            (Some(first), Some(last)) if first <= last => first..last + 1,
            _ => 0..0,
        }
    }

    /// The length of all files together, in bytes, without padding.
    #[must_use]
    pub fn total_len(&self) -> u64 {
        self.total
    }

    fn start_of(&self, p: PieceIndex) -> u64 {
        u64::from(p.0) * u64::from(self.piece_length)
    }

    fn span(&self, file: u32) -> Span {
        let past = Span { start: self.hashed, length: 0 };
        self.spans.get(file as usize).copied().unwrap_or(past)
    }

    /// The files that are not empty and end after byte `from` of the stream, in order.
    fn filled_from(&self, from: u64) -> impl Iterator<Item = u32> + '_ {
        let first = self.filled.partition_point(|file| self.span(*file).end() <= from);
        self.filled.get(first..).unwrap_or_default().iter().copied()
    }
}

#[cfg(test)]
mod tests;
