//! The download side of a rank: checking files, and the work on pieces, which is that of
//! [`dunlin_disk::pieces`]. The jobs are the same in both drivers: the threaded one runs them on
//! the thread `r<R>-download`, virtual time at once.

mod thread;

use crate::content::{CheckError, Content};
use dunlin_base::{Bitfield, FileIndex, TorrentId};
use dunlin_control::{FailedFile, Register};
use dunlin_disk::SyncReport;
use dunlin_disk::pieces::{self, PieceWorker};
use dunlin_engine::io::LocalError;
use dunlin_metainfo::{SetInfo, TreeEntry};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
pub(crate) use thread::{SendDone, download_loop};

/// Something for the download side to do.
#[derive(Debug)]
pub enum DownloadJob {
    /// Look at every file, hash what is whole.
    Check,
    /// Open a torrent's storage.
    Open {
        /// The torrent.
        torrent: TorrentId,
        /// Its metainfo.
        info: Arc<SetInfo>,
        /// Whether files are to be written.
        wants: bool,
        /// Names that may replace what stands in their place.
        replace: Arc<BTreeSet<String>>,
    },
    /// Something to do with a piece, or with a file whose pieces are all here.
    Pieces(pieces::Job),
    /// What the wanted trees are beside the bytes of files: make their folders, and keep the rest
    /// for the end.
    Tree {
        /// The entries, by name.
        entries: Arc<[TreeEntry]>,
    },
    /// Link or copy a file that another rank of this host has.
    Link {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Its name.
        name: String,
        /// Where the other rank has it.
        from: PathBuf,
    },
    /// All files are finished: make links, and give everything its looks.
    FinishTree {
        /// Whether nothing has failed, so that what nobody has may be removed, if that is asked
        /// for.
        clean: bool,
    },
    /// The last sync. Nothing follows.
    Close,
}

/// What the download side has done.
#[derive(Debug)]
pub enum DownloadDone {
    /// Checking goes on.
    Checking {
        /// Bytes hashed so far.
        done: u64,
        /// Bytes to hash.
        total: u64,
    },
    /// Checking is over.
    Checked(Result<Box<Register>, CheckError>),
    /// A torrent's storage is open, or not.
    Opened {
        /// The torrent.
        torrent: TorrentId,
        /// The pieces that are here, and how many of them were in unfinished files.
        result: Result<(Bitfield, u32), LocalError>,
        /// The files that cannot be written, with the reasons.
        blocked: Vec<(FileIndex, LocalError)>,
    },
    /// What came of a piece job, or of a sync.
    Pieces(pieces::Report),
    /// A file of a neighbour was linked or copied: so many bytes that did not travel.
    Linked {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Bytes, or why not.
        result: Result<u64, LocalError>,
    },
    /// The trees are as they should be, but for these.
    TreeFinished {
        /// What could not be made or kept.
        failed: Vec<FailedFile>,
        /// Bytes of own files that came to their places without being copied.
        linked: u64,
    },
    /// The last sync went through.
    Closed(SyncReport),
}

/// Runs download jobs for one rank.
pub struct Downloader {
    content: Arc<Content>,
    pieces: PieceWorker<Content>,
}

impl Downloader {
    /// The download side of the rank with this content.
    #[must_use]
    pub fn new(content: Arc<Content>) -> Downloader {
        // A run ends with its last name: a finished file waits for no other.
        let pieces = PieceWorker::new(Arc::clone(&content), Duration::ZERO);
        Downloader { content, pieces }
    }

    /// The files of the rank.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Whether finished files wait for their names.
    #[must_use]
    pub fn finishing(&self) -> bool {
        self.pieces.is_finishing()
    }

    /// Whether pieces were written since the last sync.
    #[must_use]
    pub fn unsynced(&self) -> bool {
        self.pieces.is_unsynced()
    }

    /// Syncs now.
    pub fn sync(&mut self) -> DownloadDone {
        DownloadDone::Pieces(pieces::Report::Synced(self.pieces.sync()))
    }

    /// Runs one job. `progress` is called with the bytes checked and the bytes to check.
    pub fn run(
        &mut self,
        job: DownloadJob,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Option<DownloadDone> {
        Some(match job {
            DownloadJob::Pieces(job) => DownloadDone::Pieces(self.pieces.run(job)?),
            DownloadJob::Check => DownloadDone::Checked(self.content.check(progress).map(Box::new)),
            DownloadJob::Open { torrent, info, wants, replace } => {
                let result = self.content.open(torrent, &info, wants, &replace);
                DownloadDone::Opened { torrent, result, blocked: self.content.blocked(torrent) }
            }
            DownloadJob::Tree { entries } => {
                self.content.set_tree(entries);
                return None;
            }
            DownloadJob::Link { torrent, file, name, from } => {
                let result = self.content.link(&name, &from);
                DownloadDone::Linked { torrent, file, result }
            }
            DownloadJob::FinishTree { clean } => {
                if clean {
                    self.content.allow_delete();
                }
                let failed = self.content.finish_tree();
                DownloadDone::TreeFinished { failed, linked: self.content.bytes_linked() }
            }
            DownloadJob::Close => DownloadDone::Closed(self.content.close()),
        })
    }
}
