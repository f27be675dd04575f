//! Pieces on their way to disk: verified, written, spilled, streamed and synced, in all worlds by
//! this one worker. Jobs come in order, reports go out; it decides nothing, and payload passes from
//! job to file here and nowhere else.
//!
//! ```text
//!   Verify ──▶ pool ──────────────▶ Hashed         Spill, StreamBlock ──▶ part file
//!   Write ───▶ part file ─────────▶ Written        Load ──▶ part file ──▶ Loaded
//!   Finish ──▶ (due) ── sync ─────▶ Synced
//! ```
//!
//! A piece too large for the budget is *streamed*: its blocks are written as they come, and hashed
//! in order. A block that comes too early is read back when its turn comes, so nothing waits in
//! memory.
//!
//! [`PieceWorker`] runs jobs for one [`PieceStore`]; [`work`] is the loop of a thread that does so,
//! and whatever else its world asks for ([`Chores`]).

mod chores;
mod schedule;
mod store;
mod worker;

pub use chores::{Chores, work};
pub use store::{Expected, PieceStore};
pub use worker::{PieceWorker, verify};

use crate::budget::Charge;
use crate::error::DiskError;
use crate::reports::SyncReport;
use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, PieceKey, TorrentId};
use std::sync::Arc;

/// Something to do with a piece, or with a file whose pieces are all here.
#[derive(Debug)]
pub enum Job {
    /// Compare a piece with what it must be.
    Verify {
        /// Which piece.
        key: PieceKey,
        /// Its bytes, in order.
        parts: Vec<Bytes>,
    },
    /// Write a verified piece.
    Write {
        /// Which piece.
        key: PieceKey,
        /// Its bytes, in order.
        parts: Vec<Bytes>,
    },
    /// Digest the blocks of a piece.
    Digest {
        /// Which piece.
        key: PieceKey,
        /// Its blocks, in order.
        blocks: Vec<Bytes>,
        /// The key of the digests.
        digest_key: u64,
    },
    /// Move blocks of an incomplete piece to its part file.
    Spill {
        /// Which piece.
        key: PieceKey,
        /// The blocks.
        blocks: Vec<(BlockRef, Bytes)>,
        /// Their memory, given back when they are written.
        charge: Option<Charge>,
    },
    /// Read spilled blocks back.
    Load {
        /// Which piece.
        key: PieceKey,
        /// Which blocks.
        blocks: Vec<BlockRef>,
    },
    /// Write and hash a block of a streamed piece.
    StreamBlock {
        /// The torrent.
        torrent: TorrentId,
        /// The block.
        block: BlockRef,
        /// Its bytes.
        data: Bytes,
        /// Their memory, given back when they are written.
        charge: Option<Charge>,
    },
    /// Compare a streamed piece with what it must be.
    StreamVerify(PieceKey),
    /// A streamed piece is verified: it may be claimed.
    StreamWrite(PieceKey),
    /// Digest the blocks of a streamed piece.
    StreamDigest {
        /// Which piece.
        key: PieceKey,
        /// Its blocks, in order.
        blocks: Vec<BlockRef>,
        /// The key of the digests.
        digest_key: u64,
    },
    /// Forget what is known of a streamed piece.
    StreamForget(PieceKey),
    /// Give a whole file its final name with the next sync.
    Finish {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Nothing else comes before it has its name: it waits for no other file.
        last: bool,
    },
}

impl Job {
    /// The torrent that it is for.
    #[must_use]
    pub fn torrent(&self) -> TorrentId {
        match self {
            Job::Verify { key, .. }
            | Job::Write { key, .. }
            | Job::Digest { key, .. }
            | Job::Spill { key, .. }
            | Job::Load { key, .. }
            | Job::StreamVerify(key)
            | Job::StreamWrite(key)
            | Job::StreamDigest { key, .. }
            | Job::StreamForget(key) => key.torrent,
            Job::StreamBlock { torrent, .. } | Job::Finish { torrent, .. } => *torrent,
        }
    }
}

/// What came of a job, or of a sync.
#[derive(Debug)]
pub enum Report {
    /// A piece was hashed.
    Hashed {
        /// Which piece.
        key: PieceKey,
        /// Whether it is what it must be.
        matches: bool,
    },
    /// The digests of a piece's blocks.
    Digested {
        /// Which piece.
        key: PieceKey,
        /// One a block.
        digests: Vec<u64>,
    },
    /// A piece is written.
    Written(PieceKey),
    /// Spilled blocks are in memory again.
    Loaded {
        /// Which piece.
        key: PieceKey,
        /// The blocks.
        blocks: Vec<(BlockRef, Bytes)>,
    },
    /// A piece could not be read or written.
    Failed {
        /// Which piece.
        key: PieceKey,
        /// Why.
        error: DiskError,
    },
    /// A file cannot be finished.
    FinishFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Why.
        error: DiskError,
    },
    /// A sync has ended.
    Synced(SyncReport),
}

/// Where reports go: from the worker's thread, and from those of the hashing pool.
pub type Reporter = Arc<dyn Fn(Report) + Send + Sync>;
