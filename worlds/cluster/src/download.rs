//! The download side of a rank: checking files, verifying, writing, finishing. The jobs are the
//! same in both drivers: the threaded one runs them on the thread `r<R>-download`, virtual time at
//! once.
//!
//! ```text
//!   state machine ── Verify ──▶ download ── pool ──▶ Hashed ──▶ state machine
//!                 ── Write ───▶ download ──────────▶ Written
//!                 ── Finish ──▶ download ─ (sync) ─▶ Synced
//! ```
//!
//! A piece too large for the budget is *streamed*: its blocks are written as they come, and hashed
//! in order. A block that comes too early is read back when its turn comes, so nothing waits in
//! memory.

mod thread;

use crate::content::{CheckError, Content, Synced};
use crate::frame::Payload;
use bytes::Bytes;
use dunlin_base::{Bitfield, BlockRef, FileIndex, PieceIndex, TorrentId};
use dunlin_control::{FailedFile, Register};
use dunlin_disk::Charge;
use dunlin_engine::io::LocalError;
use dunlin_hash::{HashJob, StreamHash, block_digest, hash_pieces};
use dunlin_metainfo::{SetInfo, TreeEntry};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
pub(crate) use thread::{Report, download_loop};

/// What a piece must be.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Its SHA-1, with so many zero bytes hashed behind its data.
    Sha1 {
        /// The hash.
        hash: [u8; 20],
        /// The padding that goes into it, in bytes.
        zeros: u32,
    },
    /// The token itself.
    Token(Bytes),
}

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
    /// Hash a piece and compare.
    Verify {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Its blocks.
        parts: Vec<Bytes>,
        /// What it must be.
        expected: Expected,
    },
    /// Write a verified piece.
    Write {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Its blocks.
        parts: Vec<Bytes>,
    },
    /// Digest the blocks of a piece.
    Digest {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Its blocks.
        parts: Vec<Bytes>,
        /// The key of the digests.
        key: u64,
    },
    /// Move blocks of an incomplete piece to its part file.
    Spill {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// The blocks.
        blocks: Vec<(BlockRef, Bytes)>,
        /// The memory, given back when they are written.
        charge: Option<Charge>,
    },
    /// Read spilled blocks back.
    Load {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Which blocks.
        blocks: Vec<BlockRef>,
    },
    /// Write and hash a block of a streamed piece.
    StreamBlock {
        /// The torrent.
        torrent: TorrentId,
        /// The block.
        block: BlockRef,
        /// Its bytes, with their charge: it is given back when they are written.
        payload: Payload,
    },
    /// Compare the hash of a streamed piece.
    StreamVerify {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// What it must be.
        expected: Expected,
    },
    /// A streamed piece is verified: it may be claimed.
    StreamWrite {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// Digest the blocks of a streamed piece.
    StreamDigest {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Its blocks.
        blocks: Vec<BlockRef>,
        /// The key of the digests.
        key: u64,
    },
    /// Forget what is known of a streamed piece.
    StreamForget {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// A file is whole: give it its final name with the next sync.
    Finish {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Nothing else comes before it has its name: it waits for no other file.
        last: bool,
    },
    /// What the wanted trees are beside the bytes of files: make their folders, and keep the rest for
    /// the end.
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
        /// Whether nothing has failed, so that what nobody has may be removed, if that is asked for.
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
    /// A piece was hashed.
    Hashed {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Whether it is what it must be.
        matches: bool,
    },
    /// The digests of a piece's blocks.
    Digested {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// One a block.
        digests: Vec<u64>,
    },
    /// A piece is written.
    Written {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// Spilled blocks are here again.
    Loaded {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// The blocks.
        blocks: Vec<(BlockRef, Bytes)>,
    },
    /// Something failed on our own side.
    Failed {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// Why.
        error: LocalError,
    },
    /// A file cannot be finished.
    FinishFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
        /// Why.
        error: LocalError,
    },
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
    /// A sync went through.
    Synced(Synced),
    /// The last sync went through.
    Closed(Synced),
}

/// Where a streamed piece stands.
#[derive(Default)]
struct Stream {
    hash: StreamHash,
    /// Bytes hashed so far.
    at: u32,
    /// Blocks written beyond `at`, by where they begin.
    early: BTreeMap<u32, BlockRef>,
}

/// Runs download jobs for one rank.
pub struct Downloader {
    content: Arc<Content>,
    streams: BTreeMap<(TorrentId, PieceIndex), Stream>,
    /// Files wait for a sync to get their names.
    finishing: bool,
    /// … and nothing else comes before they have them.
    hurry: bool,
    /// Pieces were written since the last sync.
    unsynced: bool,
}

impl Downloader {
    /// The download side of the rank with this content.
    #[must_use]
    pub fn new(content: Arc<Content>) -> Downloader {
        Downloader {
            content,
            streams: BTreeMap::new(),
            finishing: false,
            hurry: false,
            unsynced: false,
        }
    }

    /// The files of the rank.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Whether finished files wait for their names.
    #[must_use]
    pub fn finishing(&self) -> bool {
        self.finishing
    }

    /// Whether nothing else comes before finished files have their names.
    #[must_use]
    pub fn hurries(&self) -> bool {
        self.hurry
    }

    /// Whether pieces were written since the last sync.
    #[must_use]
    pub fn unsynced(&self) -> bool {
        self.unsynced
    }

    /// Syncs now.
    pub fn sync(&mut self) -> DownloadDone {
        (self.finishing, self.hurry, self.unsynced) = (false, false, false);
        DownloadDone::Synced(self.content.sync())
    }

    /// Runs one job. `progress` hears of bytes checked and bytes to check.
    pub fn run(
        &mut self,
        job: DownloadJob,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Option<DownloadDone> {
        Some(match job {
            DownloadJob::Check => DownloadDone::Checked(self.content.check(progress).map(Box::new)),
            DownloadJob::Open { torrent, info, wants, replace } => {
                let result = self.content.open(torrent, &info, wants, &replace);
                DownloadDone::Opened { torrent, result, blocked: self.content.blocked(torrent) }
            }
            DownloadJob::Verify { torrent, piece, parts, expected } => {
                DownloadDone::Hashed { torrent, piece, matches: verify(parts, &expected) }
            }
            DownloadJob::Write { torrent, piece, parts } => {
                let result = self.content.write_piece(torrent, piece, &parts);
                drop(parts);
                self.written(torrent, piece, result)
            }
            DownloadJob::Digest { torrent, piece, parts, key } => {
                let digests = parts.iter().map(|part| block_digest(key, part)).collect();
                DownloadDone::Digested { torrent, piece, digests }
            }
            DownloadJob::Spill { torrent, piece, blocks, charge } => {
                let write = |(block, bytes): &(BlockRef, Bytes)| {
                    self.content.write_block(torrent, *block, bytes)
                };
                let result = blocks.iter().try_for_each(write);
                drop((blocks, charge));
                return result.err().map(|error| DownloadDone::Failed { torrent, piece, error });
            }
            DownloadJob::Load { torrent, piece, blocks } => self.load(torrent, piece, &blocks),
            DownloadJob::StreamBlock { torrent, block, payload } => {
                let piece = block.piece;
                let result = self.stream_block(torrent, block, payload);
                return result.err().map(|error| DownloadDone::Failed { torrent, piece, error });
            }
            DownloadJob::StreamVerify { torrent, piece, expected } => {
                self.stream_verify(torrent, piece, &expected)
            }
            DownloadJob::StreamWrite { torrent, piece } => {
                self.streams.remove(&(torrent, piece));
                self.content.verified(torrent, piece);
                self.written(torrent, piece, Ok(()))
            }
            DownloadJob::StreamDigest { torrent, piece, blocks, key } => {
                let digest = |block: &BlockRef| {
                    self.content.read(torrent, *block).map(|bytes| block_digest(key, &bytes))
                };
                match blocks.iter().map(digest).collect() {
                    Ok(digests) => DownloadDone::Digested { torrent, piece, digests },
                    Err(error) => DownloadDone::Failed { torrent, piece, error },
                }
            }
            DownloadJob::StreamForget { torrent, piece } => {
                self.streams.remove(&(torrent, piece));
                return None;
            }
            DownloadJob::Finish { torrent, file, last } => {
                return match self.content.finish_file(torrent, file) {
                    Ok(()) => {
                        self.finishing = true;
                        self.hurry |= last;
                        None
                    }
                    Err(error) => Some(DownloadDone::FinishFailed { torrent, file, error }),
                };
            }
            DownloadJob::Tree { entries } => {
                self.content.take_tree(entries);
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

    fn written(
        &mut self,
        torrent: TorrentId,
        piece: PieceIndex,
        result: Result<(), LocalError>,
    ) -> DownloadDone {
        match result {
            Ok(()) => {
                self.unsynced = true;
                DownloadDone::Written { torrent, piece }
            }
            Err(error) => DownloadDone::Failed { torrent, piece, error },
        }
    }

    fn load(&self, torrent: TorrentId, piece: PieceIndex, blocks: &[BlockRef]) -> DownloadDone {
        let read = |block: &BlockRef| Ok((*block, self.content.read(torrent, *block)?));
        match blocks.iter().map(read).collect() {
            Ok(blocks) => DownloadDone::Loaded { torrent, piece, blocks },
            Err(error) => DownloadDone::Failed { torrent, piece, error },
        }
    }

    fn stream_block(
        &mut self,
        torrent: TorrentId,
        block: BlockRef,
        payload: Payload,
    ) -> Result<(), LocalError> {
        self.content.write_block(torrent, block, &payload.data)?;
        let stream = self.streams.entry((torrent, block.piece)).or_default();
        if block.begin > stream.at {
            stream.early.insert(block.begin, block);
            return Ok(());
        }
        if block.begin == stream.at {
            stream.hash.update(&payload.data);
            stream.at += block.len;
        }
        drop(payload);
        while let Some(next) = stream.early.remove(&stream.at) {
            let bytes = self.content.read(torrent, next)?;
            stream.hash.update(&bytes);
            stream.at += next.len;
        }
        Ok(())
    }

    fn stream_verify(
        &mut self,
        torrent: TorrentId,
        piece: PieceIndex,
        expected: &Expected,
    ) -> DownloadDone {
        let stream = self.streams.remove(&(torrent, piece)).unwrap_or_default();
        let matches = match expected {
            Expected::Sha1 { hash, zeros } => stream.hash.finish(*zeros) == *hash,
            Expected::Token(_) => false,
        };
        DownloadDone::Hashed { torrent, piece, matches }
    }
}

fn verify(parts: Vec<Bytes>, expected: &Expected) -> bool {
    match expected {
        Expected::Sha1 { hash, zeros } => {
            hash_pieces(&[HashJob { parts, zeros: *zeros }]).first() == Some(hash)
        }
        Expected::Token(token) => matches!(parts.as_slice(), [one] if one == token),
    }
}
