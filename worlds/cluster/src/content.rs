//! What a rank has on disk and where its wanted files go: real files, or token files in memory.

mod copies;
mod files;
mod finish;
mod keep;
mod link;
mod register;
mod tokens;

use crate::config::PeerContent;
use bytes::Bytes;
use dunlin_base::{Bitfield, BlockRef, FileIndex, PieceIndex, Rank, TorrentId};
use dunlin_control::{FailedFile, Register};
use dunlin_disk::pieces::{Expected, PieceStore};
use dunlin_disk::{Budget, DiskError, DiskErrorKind, Fs, SyncReport};
use dunlin_engine::io::LocalError;
use dunlin_hash::HashPool;
use dunlin_metainfo::{Geometry, SetInfo, TreeEntry, cluster_block_length};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What all ranks of the process share beside the fabric.
#[derive(Debug)]
pub struct SharedResources {
    /// Where files are.
    pub fs: Arc<dyn Fs>,
    /// Where pieces are hashed.
    pub pool: Arc<HashPool>,
    /// The memory of the process.
    pub budget: Arc<Budget>,
    /// The piece size that was asked for, in bytes.
    pub piece_size: Option<u32>,
    /// The longest block between ranks, in bytes.
    pub block_length: u32,
    /// Files that one rank keeps open at most.
    pub open_files: usize,
    /// Whether another content at a destination may be replaced.
    pub force: bool,
    /// Set when the run ends, so that nobody needs the results of checking any more.
    pub stop: Arc<AtomicBool>,
}

impl SharedResources {
    /// Whether long work should end early.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// The files of one rank. The download and the upload thread use it side by side.
pub struct Content {
    shares: bool,
    kind: Kind,
    shared: Arc<SharedResources>,
}

enum Kind {
    Tokens(tokens::TokenContent),
    Files(Box<files::FileContent>),
}

/// Why the check of a rank's files came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// The run was stopped; nothing is wrong with the files.
    Stopped,
    /// A file cannot be read, or something stands in the way.
    Failed(LocalError),
}

impl From<LocalError> for CheckError {
    fn from(error: LocalError) -> CheckError {
        CheckError::Failed(error)
    }
}

impl From<DiskError> for CheckError {
    fn from(error: DiskError) -> CheckError {
        match error.kind {
            DiskErrorKind::Interrupted => CheckError::Stopped,
            _ => CheckError::Failed(local(error)),
        }
    }
}

/// The geometry that every rank of a cluster gives a set, with blocks of at most so many bytes.
#[must_use]
pub fn geometry_of(info: &SetInfo, block_length: u32) -> Geometry {
    info.geometry(cluster_block_length(info.piece_length, block_length))
}

impl Content {
    /// The content of `rank`. Touches nothing on disk.
    #[must_use]
    pub fn new(
        rank: Rank,
        content: PeerContent,
        shares: bool,
        shared: Arc<SharedResources>,
    ) -> Content {
        let kind = match content {
            PeerContent::Tokens { owned, wanted, out } => {
                Kind::Tokens(tokens::TokenContent::new(rank, owned, wanted, out))
            }
            PeerContent::Files { root, dest, found, found_dest, have, wants, placement } => {
                let lists =
                    files::FileLists { root, dest, found, found_dest, have, wants, placement };
                Kind::Files(Box::new(files::FileContent::new(lists, &shared)))
            }
        };
        Content { shares, kind, shared }
    }

    /// The memory that payload is charged for.
    #[must_use]
    pub fn budget(&self) -> &Arc<Budget> {
        &self.shared.budget
    }

    /// Where pieces are hashed.
    #[must_use]
    pub fn pool(&self) -> &Arc<HashPool> {
        &self.shared.pool
    }

    /// Checks every file, hashes whole ones, and returns what the rank has and wants. `progress` is
    /// called with bytes done and bytes in all.
    ///
    /// # Errors
    /// If a file cannot be read or something stands in the way; `Stopped` soon after the run was
    /// stopped.
    pub fn check(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Register, CheckError> {
        let mut register = match &self.kind {
            Kind::Tokens(tokens) => tokens.register(&*self.shared.fs),
            Kind::Files(files) => files.register(&self.shared, progress)?,
        };
        register.shares = self.shares;
        Ok(register)
    }

    /// Opens a torrent's storage: which pieces are here, and how many of them were found in
    /// unfinished files. Wanted names in `replace` may replace what stands in their place.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn open(
        &self,
        torrent: TorrentId,
        info: &Arc<SetInfo>,
        wants: bool,
        replace: &BTreeSet<String>,
    ) -> Result<(Bitfield, u32), LocalError> {
        match &self.kind {
            Kind::Tokens(tokens) => {
                Ok((tokens.open(torrent, info, wants, self.shared.block_length), 0))
            }
            Kind::Files(files) => {
                files.open(&self.shared, torrent, info, wants, replace).map_err(local)
            }
        }
    }

    /// The files of an open torrent that something stands in the way of.
    #[must_use]
    pub fn blocked(&self, torrent: TorrentId) -> Vec<(FileIndex, LocalError)> {
        let Kind::Files(files) = &self.kind else { return Vec::new() };
        let blocked = files.storage.blocked(torrent).into_iter();
        blocked.map(|(file, error)| (file, local(error))).collect()
    }

    /// How many bytes the payload of a block has: for a token file those of the token.
    #[must_use]
    pub fn payload_len(&self, torrent: TorrentId, block: BlockRef) -> u64 {
        match &self.kind {
            Kind::Tokens(tokens) => tokens.len_of(torrent, block.piece),
            Kind::Files(_) => u64::from(block.len),
        }
    }

    /// Sets what the wanted trees are beside the bytes of files: makes their folders, and keeps the
    /// rest for [`Content::finish_tree`]. Where no plan is carried out, it does nothing.
    pub fn set_tree(&self, entries: Arc<[TreeEntry]>) {
        if let Kind::Files(files) = &self.kind {
            files.set_tree(&self.shared, entries);
        }
    }

    /// Links or copies the file at `from`, which a rank of this host has, to the wanted file
    /// `name`: how many bytes did not travel.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub fn link(&self, name: &str, from: &Path) -> Result<u64, LocalError> {
        match &self.kind {
            Kind::Tokens(_) => Err(LocalError {
                message: format!("`{name}` cannot be linked: it is no file of bytes"),
                disk_full: false,
            }),
            Kind::Files(files) => files.link(&*self.shared.fs, name, from).map_err(local),
        }
    }

    /// Lets [`Content::finish_tree`] remove files that no rank has, if the plan asks for that. Only
    /// for a rank without failures: a file that seems to have no source may have one after all.
    pub fn allow_delete(&self) {
        if let Kind::Files(files) = &self.kind {
            files.allow_delete();
        }
    }

    /// Makes links, and sets the metadata of folders and files; returns what could not be made or
    /// kept.
    pub fn finish_tree(&self) -> Vec<FailedFile> {
        match &self.kind {
            Kind::Tokens(_) => Vec::new(),
            Kind::Files(files) => files.finish_tree(&self.shared),
        }
    }

    /// Bytes that files have at their places without having been copied there: they share them with
    /// files that this rank has elsewhere.
    #[must_use]
    pub fn bytes_linked(&self) -> u64 {
        match &self.kind {
            Kind::Tokens(_) => 0,
            Kind::Files(files) => files.storage.counters().bytes_copied,
        }
    }

    /// The last sync: nothing is written any more. What is here may still be read.
    #[must_use]
    pub fn close(&self) -> SyncReport {
        match &self.kind {
            Kind::Tokens(tokens) => tokens.synced(),
            Kind::Files(files) => files.storage.close(),
        }
    }

    /// The end of the run, when neighbours link nothing any more: keeps the hashes that the next
    /// run need not compute.
    pub fn keep_at_end(&self) {
        if let Kind::Files(files) = &self.kind {
            files.keep_at_end(&self.shared);
        }
    }
}

impl PieceStore for Content {
    fn expected(&self, torrent: TorrentId, piece: PieceIndex) -> Option<Expected> {
        match &self.kind {
            Kind::Tokens(tokens) => tokens.expected(torrent, piece).map(Expected::Bytes),
            Kind::Files(files) => files.storage.expected(torrent, piece),
        }
    }

    fn read_block(&self, torrent: TorrentId, block: BlockRef) -> Result<Bytes, DiskError> {
        match &self.kind {
            Kind::Tokens(tokens) => tokens.read(torrent, block.piece),
            Kind::Files(files) => files.storage.read_block(torrent, block),
        }
    }

    fn write_piece(
        &self,
        torrent: TorrentId,
        piece: PieceIndex,
        parts: &[Bytes],
    ) -> Result<(), DiskError> {
        match &self.kind {
            Kind::Tokens(tokens) => {
                tokens.write(torrent, piece, parts);
                Ok(())
            }
            Kind::Files(files) => files.storage.write_piece(torrent, piece, parts),
        }
    }

    fn write_block(
        &self,
        torrent: TorrentId,
        block: BlockRef,
        bytes: &Bytes,
    ) -> Result<(), DiskError> {
        match &self.kind {
            Kind::Tokens(tokens) => {
                tokens.write(torrent, block.piece, std::slice::from_ref(bytes));
                Ok(())
            }
            Kind::Files(files) => files.storage.write_block(torrent, block, bytes),
        }
    }

    fn verified(&self, torrent: TorrentId, piece: PieceIndex) {
        if let Kind::Files(files) = &self.kind {
            files.storage.verified(torrent, piece);
        }
    }

    fn finish_file(&self, torrent: TorrentId, file: FileIndex) -> Result<(), DiskError> {
        match &self.kind {
            Kind::Tokens(tokens) => {
                tokens.finish(&*self.shared.fs, torrent, file);
                Ok(())
            }
            Kind::Files(files) => files.storage.finish_file(torrent, file),
        }
    }

    fn due(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Tokens(_) => None,
            Kind::Files(files) => files.storage.due(),
        }
    }

    fn sync(&self) -> SyncReport {
        match &self.kind {
            Kind::Tokens(tokens) => tokens.synced(),
            Kind::Files(files) => files.storage.sync(),
        }
    }
}

/// A disk error, as the engine gets it.
#[must_use]
pub(crate) fn local(error: DiskError) -> LocalError {
    LocalError { message: error.to_string(), disk_full: error.is_full() }
}

/// Free space where `path` is or will be, with the number of its device.
fn space(fs: &dyn Fs, path: &Path) -> Option<dunlin_control::Space> {
    let free = fs.free_space(path).ok()?;
    let device = path.ancestors().find_map(|folder| {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs.metadata(here).ok()
    })?;
    Some(dunlin_control::Space { device: device.device, free })
}
