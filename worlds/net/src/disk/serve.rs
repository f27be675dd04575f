//! The thread `serve`: reads for others, a good part of a piece at a time, so that the blocks that
//! are asked for next are here already. It keeps nothing: what is hot the loop keeps.

use super::{DiskDone, Reporter};
use bytes::Bytes;
use dunlin_base::PieceKey;
use dunlin_disk::{DiskError, Storage};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

/// Something to read.
pub(crate) enum ReadJob {
    /// A part of a piece.
    Part { storage: Arc<Storage>, key: PieceKey, range: Range<u32> },
    /// The hashes of the blocks of a piece (BEP 52).
    Hash { storage: Arc<Storage>, key: PieceKey },
}

/// What was read.
#[derive(Debug)]
pub(crate) struct ReadDone {
    pub(crate) key: PieceKey,
    /// Where the part begins in the piece.
    pub(crate) begin: u32,
    pub(crate) result: Result<Bytes, DiskError>,
}

/// Runs until nobody can ask any more.
pub(crate) fn run(jobs: &Receiver<ReadJob>, report: &Reporter) {
    while let Ok(job) = jobs.recv() {
        report(match job {
            ReadJob::Part { storage, key, range } => {
                let begin = range.start;
                let result = storage.read_piece(key.torrent, key.piece, range);
                DiskDone::Read(ReadDone { key, begin, result })
            }
            ReadJob::Hash { storage, key } => {
                // None at all says that they could not be read.
                let hashes = storage.hash_blocks(key.torrent, key.piece).unwrap_or_default();
                DiskDone::BlockHashes { key, hashes }
            }
        });
    }
}
