//! What a rank knows of the copies of its files: what it hashed, what it linked, and the hash lists
//! that it keeps for the next run.

use dunlin_base::TorrentId;
use dunlin_disk::{HashCache, Look, Meta, MetadataPreserver, Seen, SourceFile};
use dunlin_metainfo::{PieceHashes, SetInfo};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

/// The copies of a name that this rank has.
#[derive(Default)]
pub(super) struct KnownCopies {
    /// One that it offers.
    pub(super) own: Option<HashedFile>,
    /// One that stands where a wanted file of the name goes; it may be the same.
    pub(super) at_dest: Option<HashedFile>,
}

/// A file that was hashed.
#[derive(Clone)]
pub(super) struct HashedFile {
    pub(super) path: PathBuf,
    pub(super) piece_length: u32,
    pub(super) hashes: PieceHashes,
    /// Of the whole file, if it was asked for.
    pub(super) sha256: Option<[u8; 32]>,
    /// What the file was when it was hashed.
    pub(super) seen: Seen,
}

/// What a rank was asked to place at its destination, and what has become of it.
#[derive(Default)]
pub(super) struct DestinationState {
    /// The trees that are wanted.
    pub(super) preserver: Option<Arc<MetadataPreserver>>,
    /// The torrents that were opened, and whether they are wanted.
    pub(super) sets: BTreeMap<TorrentId, (Arc<SetInfo>, bool)>,
    /// What was linked, by name.
    pub(super) linked: BTreeMap<String, LinkedFile>,
    /// What is kept for the next run at the end of this one.
    pub(super) later: Vec<KeptAtEnd>,
    /// Folders in which links were made, to be synced.
    pub(super) unsynced: BTreeSet<PathBuf>,
}

/// The hash lists of earlier runs, if there are any.
#[derive(Default)]
pub(super) struct HashCaches {
    pub(super) root: Option<HashCache>,
    pub(super) dest: Option<HashCache>,
}

impl HashCaches {
    pub(super) fn of(&self, at_dest: bool) -> Option<&HashCache> {
        self.dest.as_ref().filter(|_| at_dest).or(self.root.as_ref())
    }

    pub(super) fn save(&self) {
        for cache in [&self.root, &self.dest].into_iter().flatten() {
            if let Err(error) = cache.save() {
                tracing::warn!("hash lists are not kept for the next run: {error}");
            }
        }
    }
}

impl HashedFile {
    pub(super) fn source(&self) -> SourceFile {
        SourceFile { path: self.path.clone(), seen: Some(self.seen) }
    }
}

/// A file that was linked or copied from a neighbour's.
#[derive(Clone, Debug)]
pub(super) struct LinkedFile {
    /// The neighbour's file.
    pub(super) from: PathBuf,
    /// What that was.
    pub(super) source: Meta,
    /// What came of it here, before its metadata was set.
    pub(super) made: Meta,
}

/// A file whose hashes are kept at the end of the run, if it is then unchanged.
pub(super) struct KeptAtEnd {
    pub(super) path: PathBuf,
    pub(super) seen: Look,
    pub(super) hashes: KeptHashes,
}

pub(super) enum KeptHashes {
    /// This rank hashed the file.
    Ours(HashedFile),
    /// The neighbour has them: it kept them before it reported that it is complete.
    Neighbours(LinkedFile),
}
