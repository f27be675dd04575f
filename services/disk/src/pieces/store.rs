//! Where pieces are kept.

use crate::error::DiskError;
use crate::reports::SyncReport;
use crate::storage::Storage;
use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, PieceIndex, TorrentId};
use dunlin_metainfo::ExpectedPiece;
use std::time::Instant;

/// What a piece must be.
#[derive(Clone, Debug)]
pub enum Expected {
    /// It has this hash.
    Hash(ExpectedPiece),
    /// It is just this: a token of the course stands in its metainfo itself, and has no hash.
    Bytes(Bytes),
}

/// Where pieces are kept: the files of a [`Storage`], or, for the tokens of the course, memory.
pub trait PieceStore: Send + Sync {
    /// What a piece must be; `None` if the torrent is not open, or has no such piece.
    fn expected(&self, torrent: TorrentId, piece: PieceIndex) -> Option<Expected>;

    /// Reads a block.
    ///
    /// # Errors
    /// If it is not here or cannot be read.
    fn read_block(&self, torrent: TorrentId, block: BlockRef) -> Result<Bytes, DiskError>;

    /// Writes a verified piece.
    ///
    /// # Errors
    /// If it cannot be written; nothing is claimed then, and the call may be repeated.
    fn write_piece(
        &self,
        torrent: TorrentId,
        piece: PieceIndex,
        parts: &[Bytes],
    ) -> Result<(), DiskError>;

    /// Writes a block of a piece that is not verified yet.
    ///
    /// # Errors
    /// If it cannot be written.
    fn write_block(
        &self,
        torrent: TorrentId,
        block: BlockRef,
        bytes: &Bytes,
    ) -> Result<(), DiskError>;

    /// All blocks of a piece are written and right.
    fn verified(&self, torrent: TorrentId, piece: PieceIndex);

    /// Every piece of a file is here: it gets its final name with the next sync.
    ///
    /// # Errors
    /// If that cannot be prepared. After an error the call may be repeated.
    fn finish_file(&self, torrent: TorrentId, file: FileIndex) -> Result<(), DiskError>;

    /// When unsynced data should be synced; `None` if there is none.
    fn due(&self) -> Option<Instant>;

    /// Makes all that is written durable, and gives finished files their names.
    fn sync(&self) -> SyncReport;
}

impl PieceStore for Storage {
    fn expected(&self, torrent: TorrentId, piece: PieceIndex) -> Option<Expected> {
        self.torrent(torrent).ok()?.content.expected(piece).map(Expected::Hash)
    }

    fn read_block(&self, torrent: TorrentId, block: BlockRef) -> Result<Bytes, DiskError> {
        self.read_block(torrent, block)
    }

    fn write_piece(
        &self,
        torrent: TorrentId,
        piece: PieceIndex,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        self.write_piece(torrent, piece, parts)
    }

    fn write_block(
        &self,
        torrent: TorrentId,
        block: BlockRef,
        bytes: &Bytes,
    ) -> Result<(), DiskError> {
        self.write_block(torrent, block, bytes)
    }

    fn verified(&self, torrent: TorrentId, piece: PieceIndex) {
        self.verified(torrent, piece);
    }

    fn finish_file(&self, torrent: TorrentId, file: FileIndex) -> Result<(), DiskError> {
        self.finish_file(torrent, file)
    }

    fn due(&self) -> Option<Instant> {
        self.due()
    }

    fn sync(&self) -> SyncReport {
        self.sync()
    }
}
