//! What a storage reports: what it found, what a sync did, how much it moved.

use crate::error::{DiskError, FileFault};
use dunlin_base::{Bitfield, FileIndex, TorrentId};

/// How far the opening of a torrent of the internet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenStep {
    /// The paths that it writes are claimed: a torrent that claims one of them later is refused.
    Claimed,
    /// Bytes that were hashed, and bytes to be hashed in all.
    Hashed {
        /// Bytes that were hashed.
        done: u64,
        /// Bytes to be hashed in all.
        total: u64,
    },
}

/// What is there when a torrent is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The pieces that are here.
    pub have: Bitfield,
    /// How many of them were found in unfinished files.
    pub resumed: u32,
    /// Bytes that were hashed to find that out (torrents of the internet).
    pub checked: u64,
    /// What is wrong with which file of a torrent that is only read ([`crate::Existing::Read`]).
    pub faults: Vec<FileFault>,
}

/// What a sync did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Files that now stand, durably, under their final names (or were sources all along).
    pub finished: Vec<(TorrentId, FileIndex)>,
    /// Files that were asked for and could not be finished; the call may be repeated.
    pub failed: Vec<(TorrentId, FileIndex, DiskError)>,
}

impl SyncReport {
    /// Adds what another sync did.
    pub(crate) fn add(&mut self, other: SyncReport) {
        self.finished.extend(other.finished);
        self.failed.extend(other.failed);
    }
}

/// Bytes and syncs so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Payload bytes read from files.
    pub bytes_read: u64,
    /// Payload bytes written to files.
    pub bytes_written: u64,
    /// Bytes of copies of own files, whether they share them with their sources or not.
    pub bytes_copied: u64,
    /// Batches that were synced.
    pub syncs: u64,
}
