//! What each job does.

use super::schedule::SyncSchedule;
use super::{Expected, Job, PieceStore, Report, Reporter};
use crate::error::DiskError;
use crate::reports::SyncReport;
use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, PieceKey, TorrentId};
use dunlin_hash::{HashPool, PieceCheck, PieceJob, block_digest, verify_pieces};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pieces handed to the pool in one batch: as many as hashing side by side can use.
const VERIFY_BATCH: usize = 16;

/// Runs the jobs of one store, in order.
pub struct PieceWorker<S> {
    store: Arc<S>,
    streams: BTreeMap<PieceKey, Stream>,
    schedule: SyncSchedule,
    /// Pieces for the pool.
    batch: Vec<(PieceKey, PieceJob)>,
}

/// How far a streamed piece is.
struct Stream {
    /// `None` if nobody knows what it must be.
    check: Option<PieceCheck>,
    /// Bytes hashed so far.
    at: u32,
    /// Blocks written beyond `at`, by where they begin.
    early: BTreeMap<u32, BlockRef>,
}

impl<S: PieceStore> PieceWorker<S> {
    /// A worker for `store`. A finished file waits `finish_delay` for others before the sync that
    /// gives it its name.
    #[must_use]
    pub fn new(store: Arc<S>, finish_delay: Duration) -> PieceWorker<S> {
        let schedule = SyncSchedule::new(finish_delay);
        PieceWorker { store, streams: BTreeMap::new(), schedule, batch: Vec::new() }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        &self.store
    }

    /// Whether nothing is under way, so that another worker of the store can take its place.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.batch.is_empty() && self.sync_at().is_none()
    }

    /// Runs one job, and hashes on the calling thread.
    pub fn run(&mut self, job: Job) -> Option<Report> {
        Some(match job {
            Job::Verify { key, parts } => {
                let matches = match self.store.expected(key.torrent, key.piece) {
                    Some(Expected::Hash(expected)) => {
                        verify_pieces(&[PieceJob { parts, expected }]) == [true]
                    }
                    Some(Expected::Bytes(bytes)) => matches!(&*parts, [one] if *one == bytes),
                    None => false,
                };
                Report::Hashed { key, matches }
            }
            Job::Write { key, parts } => {
                let result = self.store.write_piece(key.torrent, key.piece, &parts);
                // Its memory may be given back as soon as the report is received.
                drop(parts);
                self.written(key, result)
            }
            Job::Digest { key, blocks, digest_key } => {
                let digests = blocks.iter().map(|block| block_digest(digest_key, block)).collect();
                Report::Digested { key, digests }
            }
            Job::Spill { key, blocks, charge } => {
                let write =
                    |(at, data): &(BlockRef, Bytes)| self.store.write_block(key.torrent, *at, data);
                let result = blocks.iter().try_for_each(write);
                drop((blocks, charge));
                return result.err().map(|error| Report::Failed { key, error });
            }
            Job::Load { key, blocks } => {
                let read = |at: &BlockRef| Ok((*at, self.store.read_block(key.torrent, *at)?));
                match blocks.iter().map(read).collect() {
                    Ok(blocks) => Report::Loaded { key, blocks },
                    Err(error) => Report::Failed { key, error },
                }
            }
            Job::StreamBlock { torrent, block, data, charge } => {
                let result = self.stream_block(torrent, block, data, charge);
                let key = PieceKey { torrent, piece: block.piece };
                return result.err().map(|error| Report::Failed { key, error });
            }
            Job::StreamVerify(key) => {
                let check = self.streams.remove(&key).and_then(|found| found.check);
                let matches = check.is_some_and(PieceCheck::matches);
                Report::Hashed { key, matches }
            }
            Job::StreamWrite(key) => {
                self.streams.remove(&key);
                self.store.verified(key.torrent, key.piece);
                self.written(key, Ok(()))
            }
            Job::StreamDigest { key, blocks, digest_key } => {
                let digest = |at: &BlockRef| {
                    self.store
                        .read_block(key.torrent, *at)
                        .map(|bytes| block_digest(digest_key, &bytes))
                };
                match blocks.iter().map(digest).collect() {
                    Ok(digests) => Report::Digested { key, digests },
                    Err(error) => Report::Failed { key, error },
                }
            }
            Job::StreamForget(key) => {
                self.streams.remove(&key);
                return None;
            }
            Job::Finish { torrent, file, last } => return self.finish(torrent, file, last),
        })
    }

    /// Runs one job; a piece that is to be verified is collected for the pool instead, and reported
    /// by it ([`PieceWorker::flush`]).
    pub fn take(&mut self, job: Job, pool: &HashPool, report: &Reporter) {
        if let Job::Verify { key, parts } = job {
            match self.store.expected(key.torrent, key.piece) {
                Some(Expected::Hash(expected)) => {
                    self.batch.push((key, PieceJob { parts, expected }));
                    if self.batch.len() >= VERIFY_BATCH {
                        self.flush(pool, report);
                    }
                }
                _ => self.run(Job::Verify { key, parts }).into_iter().for_each(&**report),
            }
            return;
        }
        self.flush(pool, report);
        self.run(job).into_iter().for_each(&**report);
    }

    /// Hands the collected pieces to the pool, which reports them.
    pub fn flush(&mut self, pool: &HashPool, report: &Reporter) {
        if !self.batch.is_empty() {
            verify(std::mem::take(&mut self.batch), pool, report);
        }
    }

    /// Forgets the streamed pieces of a torrent, which is being closed.
    pub fn forget(&mut self, torrent: TorrentId) {
        self.streams.retain(|key, _| key.torrent != torrent);
    }

    /// When the next sync is due; `None` if nothing waits for one.
    #[must_use]
    pub fn sync_at(&self) -> Option<Instant> {
        self.schedule.at(self.store.due())
    }

    /// Syncs now.
    pub fn sync(&mut self) -> SyncReport {
        let start = Instant::now();
        let report = self.store.sync();
        self.schedule.synced(start, Instant::now());
        report
    }

    /// Whether finished files wait for their names.
    #[must_use]
    pub fn is_finishing(&self) -> bool {
        self.schedule.is_finishing()
    }

    /// Whether nothing else comes before finished files have their names.
    #[must_use]
    pub fn hurries(&self) -> bool {
        self.schedule.hurries()
    }

    /// Whether pieces were written since the last sync.
    #[must_use]
    pub fn is_unsynced(&self) -> bool {
        self.schedule.is_unsynced()
    }

    fn written(&mut self, key: PieceKey, result: Result<(), DiskError>) -> Report {
        match result {
            Ok(()) => {
                self.schedule.wrote();
                Report::Written(key)
            }
            Err(error) => Report::Failed { key, error },
        }
    }

    fn finish(&mut self, torrent: TorrentId, file: FileIndex, last: bool) -> Option<Report> {
        match self.store.finish_file(torrent, file) {
            Ok(()) => {
                self.schedule.finish(Instant::now(), last);
                None
            }
            Err(error) => Some(Report::FinishFailed { torrent, file, error }),
        }
    }

    /// `charge` is held as long as the bytes are.
    fn stream_block<C>(
        &mut self,
        torrent: TorrentId,
        block: BlockRef,
        data: Bytes,
        charge: C,
    ) -> Result<(), DiskError> {
        let store = &self.store;
        store.write_block(torrent, block, &data)?;
        let stream =
            self.streams.entry(PieceKey { torrent, piece: block.piece }).or_insert_with(|| {
                let check = match store.expected(torrent, block.piece) {
                    Some(Expected::Hash(expected)) => Some(PieceCheck::new(&expected)),
                    Some(Expected::Bytes(_)) | None => None,
                };
                Stream { check, at: 0, early: BTreeMap::new() }
            });
        if block.begin > stream.at {
            stream.early.insert(block.begin, block);
            return Ok(());
        }
        if block.begin == stream.at {
            stream.update(&data);
        }
        drop((data, charge));
        while let Some(next) = stream.early.remove(&stream.at) {
            stream.update(&store.read_block(torrent, next)?);
        }
        Ok(())
    }
}

/// Hands pieces to the pool, which reports each of them: also for a thread that must not wait
/// behind the writes of a worker.
pub fn verify(pieces: Vec<(PieceKey, PieceJob)>, pool: &HashPool, report: &Reporter) {
    let (mut keys, mut jobs) = (Vec::new(), Vec::new());
    for (key, job) in pieces {
        keys.push(key);
        jobs.push(job);
    }
    let report = Arc::clone(report);
    let done = move |right: Vec<bool>| {
        for (key, matches) in keys.into_iter().zip(right) {
            report(Report::Hashed { key, matches });
        }
    };
    pool.verify(jobs, Box::new(done));
}

impl Stream {
    fn update(&mut self, bytes: &[u8]) {
        if let Some(check) = &mut self.check {
            check.update(bytes);
        }
        self.at += bytes.len() as u32;
    }
}

impl<S> std::fmt::Debug for PieceWorker<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let streams = self.streams.len();
        f.debug_struct("PieceWorker").field("streams", &streams).finish_non_exhaustive()
    }
}
