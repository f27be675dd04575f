//! Payload: memory for pieces, hashing, writing, and blocks that peers request. It decides nothing:
//! the engine has decided which block is kept and which peer is served.

use super::World;
use crate::disk::serve::{ReadDone, ReadJob};
use crate::disk::{DiskJob, local};
use crate::reads::PieceWindow;
use bytes::Bytes;
use dunlin_base::{BlockRef, ConnId, PieceKey, TorrentId};
use dunlin_disk::DiskErrorKind;
use dunlin_disk::pieces::{Job, verify};
use dunlin_engine::io::{LocalError, SwarmInput};
use dunlin_hash::PieceJob;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Bytes of a piece that are read for peers at a time.
pub(super) const WINDOW: u32 = 256 << 10;

/// What was read for peers lately.
pub(super) struct ReadCache {
    limit: u64,
    bytes: u64,
    windows: BTreeMap<PieceWindow, Bytes>,
    order: VecDeque<PieceWindow>,
}

impl ReadCache {
    pub(super) fn new(limit: u64) -> ReadCache {
        ReadCache { limit, bytes: 0, windows: BTreeMap::new(), order: VecDeque::new() }
    }

    /// Bytes that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn keep(&mut self, part: PieceWindow, data: Bytes) {
        self.bytes += data.len() as u64;
        if let Some(old) = self.windows.insert(part, data) {
            self.bytes -= old.len() as u64;
        } else {
            self.order.push_back(part);
        }
        while self.bytes > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(old) = self.windows.remove(&oldest) {
                self.bytes -= old.len() as u64;
            }
        }
    }

    /// Drops what was read of a torrent: its files have changed, or are closed.
    pub(super) fn forget_torrent(&mut self, torrent: TorrentId) {
        let bytes = &mut self.bytes;
        self.windows.retain(|part, data| {
            let stays = part.key.torrent != torrent;
            *bytes -= if stays { 0 } else { data.len() as u64 };
            stays
        });
        let windows = &self.windows;
        self.order.retain(|part| windows.contains_key(part));
    }
}

impl World {
    /// Reserves memory for a piece.
    pub(super) fn reserve(&mut self, key: PieceKey, bytes: u32, streamed: bool) {
        let Ok(charge) = self.budget.reserve(0, u64::from(bytes)) else {
            self.out_of_memory_since.get_or_insert_with(Instant::now);
            self.inputs.push_back(SwarmInput::NoMemory(key).into());
            return;
        };
        self.out_of_memory_since = None;
        let known = self.torrents.get(&key.torrent);
        let Some((content, storage)) =
            known.and_then(|known| Some((known.content.as_ref()?, &known.storage)))
        else {
            return;
        };
        let (len, block) = (content.geometry.data_len(key.piece), content.geometry.block_length());
        let blocks = self.buffers.reserve(key, charge, len, block, streamed);
        if blocks.is_empty() {
            self.inputs.push_back(SwarmInput::Reserved(key).into());
        } else {
            let job = DiskJob::Pieces(Job::Load { key, blocks });
            self.disk.submit(storage, job);
        }
    }

    /// Gives the memory of a piece back.
    pub(super) fn release(&mut self, key: PieceKey) {
        if self.buffers.is_streamed(key) {
            self.pieces(Job::StreamForget(key));
        }
        for evicted in self.buffers.release(key) {
            self.evicted(evicted);
        }
    }

    /// Moves what a piece holds to its part file.
    pub(super) fn spill(&mut self, key: PieceKey) {
        let Some((blocks, evicted)) = self.buffers.spill(key) else { return };
        evicted.into_iter().for_each(|evicted| self.evicted(evicted));
        self.pieces(Job::Spill { key, blocks, charge: None });
    }

    /// The rest of a block has no place in a piece any more: its connection holds it.
    pub(super) fn evicted(&mut self, evicted: crate::buffers::Evicted) {
        let id = evicted.conn;
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.receiver.evicted(evicted);
            self.count_memory(id);
        }
    }

    /// Gives the disk thread something to do for a torrent.
    pub(super) fn submit(&self, torrent: TorrentId, job: DiskJob) {
        if let Some(known) = self.torrents.get(&torrent) {
            self.disk.submit(&known.storage, job);
        }
    }

    /// Gives the disk thread something to do with a piece.
    pub(super) fn pieces(&self, job: Job) {
        self.submit(job.torrent(), DiskJob::Pieces(job));
    }

    fn torrent_of(&self, conn: ConnId) -> Option<TorrentId> {
        self.conns.get(&conn)?.receiver.torrent()
    }

    /// Keeps the parked block.
    pub(super) fn keep(&mut self, conn: ConnId, block: BlockRef) {
        let Some(torrent) = self.torrent_of(conn) else { return };
        let key = PieceKey { torrent, piece: block.piece };
        let kept = match self.unplaced_blocks.remove(&(conn, block)) {
            None => self.buffers.keep(torrent, block, conn),
            Some(data) if self.buffers.is_streamed(key) => {
                let data = data.into();
                self.pieces(Job::StreamBlock { torrent, block, data, charge: None });
                true
            }
            Some(data) => {
                // Another copy may be on its way to the place; this one is complete first.
                if let Some(evicted) = self.buffers.evict(torrent, block) {
                    self.evicted(evicted);
                }
                self.buffers.put(torrent, block, &data)
            }
        };
        if !kept {
            let error = defect(format!("block {block:?} of torrent {torrent} has no place"));
            self.inputs.push_back(SwarmInput::DiskFailed { key, error }.into());
        }
    }

    /// Drops the parked block.
    pub(super) fn discard(&mut self, conn: ConnId, block: BlockRef) {
        if self.unplaced_blocks.remove(&(conn, block)).is_none()
            && let Some(torrent) = self.torrent_of(conn)
        {
            self.buffers.discard(torrent, block, conn);
        }
    }

    /// The bytes of a complete piece. A hole in it is a defect of the program, and no peer is
    /// blamed.
    fn whole(&mut self, key: PieceKey) -> Option<Bytes> {
        let data = self.buffers.freeze(key);
        if data.is_none() {
            let error =
                defect(format!("piece {} of torrent {} has a hole", key.piece, key.torrent));
            self.inputs.push_back(SwarmInput::DiskFailed { key, error }.into());
        }
        data
    }

    pub(super) fn hash(&mut self, key: PieceKey) {
        if self.buffers.is_streamed(key) {
            return self.pieces(Job::StreamVerify(key));
        }
        let content = self.torrents.get(&key.torrent).and_then(|known| known.content.as_ref());
        let Some(expected) = content.and_then(|content| content.expected(key.piece)) else {
            return;
        };
        let Some(data) = self.whole(key) else { return };
        let job = PieceJob { parts: vec![data], expected };
        verify(vec![(key, job)], &self.pool, &self.report);
    }

    pub(super) fn digest(&mut self, key: PieceKey) {
        let content = self.torrents.get(&key.torrent).and_then(|known| known.content.clone());
        let Some(content) = content else { return };
        let geometry = &content.geometry;
        let digest_key = self.digest_key;
        if self.buffers.is_streamed(key) {
            let blocks = (0..geometry.blocks(key.piece))
                .map(|index| geometry.block(key.piece, index))
                .collect();
            self.pieces(Job::StreamDigest { key, blocks, digest_key });
        } else if let Some(data) = self.whole(key) {
            let length = geometry.block_length().max(1) as usize;
            let starts = (0..data.len()).step_by(length);
            let blocks = starts.map(|at| data.slice(at..data.len().min(at + length))).collect();
            self.pieces(Job::Digest { key, blocks, digest_key });
        }
    }

    pub(super) fn write(&mut self, key: PieceKey) {
        if self.buffers.is_streamed(key) {
            self.pieces(Job::StreamWrite(key));
        } else if let Some(data) = self.whole(key) {
            self.pieces(Job::Write { key, parts: vec![data] });
        }
    }

    /// Sends a block from the read cache, or has it read first.
    pub(super) fn serve(&mut self, conn: ConnId, block: BlockRef) {
        let Some(torrent) = self.torrent_of(conn) else { return };
        let window = block.begin / WINDOW;
        let key = PieceKey { torrent, piece: block.piece };
        let part = PieceWindow { key, index: window };
        let cached = self.read_cache.windows.get(&part);
        if let Some((data, whole)) = cached.and_then(|data| cut(data, window * WINDOW, block)) {
            self.send_block(conn, block, data, whole);
            return;
        }
        self.reads.request(conn, part, block);
        self.start_reads();
    }

    /// Starts reads as long as there may be more.
    pub(super) fn start_reads(&mut self) {
        while let Some((part, block)) = self.reads.start() {
            let PieceWindow { key, index } = part;
            let known = self.torrents.get(&key.torrent);
            let Some((content, storage)) =
                known.and_then(|known| Some((known.content.as_ref()?, &known.storage)))
            else {
                self.reads.done(part);
                continue;
            };
            let begin = index * WINDOW;
            let length = content.geometry.data_len(key.piece);
            let end = length.min(begin.saturating_add(WINDOW)).max(block.begin + block.len);
            let (storage, range) = (Arc::clone(storage), begin..end);
            self.disk.read(ReadJob::Part { storage, key, range });
        }
    }

    fn send_block(&mut self, id: ConnId, block: BlockRef, data: Bytes, whole: usize) {
        if let Some(conn) = self.conns.get_mut(&id).filter(|_| !self.closing_conns.contains(&id)) {
            conn.outbox.push_block(block, data, block.begin / WINDOW, whole);
            self.ready.insert(id);
            self.count_memory(id);
        }
    }

    /// Sends what was read to the peers that wait for it.
    pub(super) fn read(&mut self, read: ReadDone) {
        let ReadDone { key, begin, result } = read;
        let torrent = key.torrent;
        let part = PieceWindow { key, index: begin / WINDOW };
        let waiting = self.reads.done(part);
        match result {
            Ok(data) => {
                for (conn, block) in waiting {
                    match cut(&data, begin, block) {
                        Some((data, whole)) => self.send_block(conn, block, data, whole),
                        // It crosses the end of the window that was read for another request.
                        None => self.reads.request(conn, part, block),
                    }
                }
                // What was read of a torrent that is closed meanwhile is not kept.
                if self.torrents.get(&torrent).is_some_and(|entry| entry.open) {
                    self.read_cache.keep(part, data);
                }
            }
            Err(error) => {
                if error.kind == DiskErrorKind::Changed {
                    self.read_cache.forget_torrent(torrent);
                }
                for (conn, block) in waiting {
                    let error = local(&error);
                    self.inputs.push_back(SwarmInput::ServeFailed { conn, block, error }.into());
                }
            }
        }
        self.start_reads();
    }

    /// Cancels a block of which nothing was sent yet; whether that was possible.
    pub(super) fn take_back(&mut self, id: ConnId, block: BlockRef) -> bool {
        let queued = self.conns.get_mut(&id).is_some_and(|conn| conn.outbox.cancel(block));
        if queued {
            self.count_memory(id);
        }
        queued || self.reads.cancel(id, block)
    }

    /// Has the blocks of a piece on disk hashed (BEP 52).
    pub(super) fn hash_blocks(&mut self, key: PieceKey) {
        if let Some(known) = self.torrents.get(&key.torrent) {
            let storage = Arc::clone(&known.storage);
            self.disk.read(ReadJob::Hash { storage, key });
        }
    }
}

/// A block of what was read from `begin` on, and how much was read with it.
fn cut(data: &Bytes, begin: u32, block: BlockRef) -> Option<(Bytes, usize)> {
    let start = block.begin.checked_sub(begin)? as usize;
    let end = start.checked_add(block.len as usize)?;
    (end <= data.len()).then(|| (data.slice(start..end), data.len()))
}

fn defect(what: String) -> LocalError {
    debug_assert!(false, "{what}");
    LocalError { message: format!("{what}; please report it"), disk_full: false }
}
