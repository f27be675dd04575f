//! The thread `disk`: opens torrents, writes pieces, gives finished files their names, syncs when that
//! is due. Hashing runs on the pool, reading for others on the thread `serve` (`disk/serve`). It
//! decides nothing, and never speaks to the engine: what it has done goes back to the loop.
//!
//! ```text
//!   loop ── Write ──▶ disk ─────────────▶ Written ─▶ loop
//!        ── Finish ─▶ disk ── (sync) ───▶ Synced ──▶ loop
//!        ── Serve ──▶ serve ────────────▶ Read ────▶ loop
//! ```
//!
//! A piece too large for the budget is *streamed*: its blocks are written as they come, and hashed in
//! order; one that comes too early is read back when its turn comes.

pub(crate) mod serve;

use bytes::Bytes;
use dunlin_base::{BlockRef, FileIndex, PieceIndex, TorrentId};
use dunlin_disk::{DiskError, Opened, Storage, SyncReport, TorrentPlan};
use dunlin_engine::io::LocalError;
use dunlin_hash::{PieceCheck, block_digest};
use dunlin_metainfo::{Content, ExpectedPiece};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A finished file waits this long for others before the sync that gives it its name.
const FINISH_DELAY: Duration = Duration::from_millis(50);
/// Syncs may take this part of the time at most when finished files keep coming: one in three.
const SYNC_SHARE: u32 = 2;
/// Progress of checking is told this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// Something for the thread to do.
pub(crate) enum Job {
    /// Open a torrent, or open it again and hash everything.
    Open { torrent: TorrentId, plan: Box<TorrentPlan>, again: bool },
    /// Other files are wanted.
    Want { torrent: TorrentId, wanted: Vec<bool> },
    /// Write a verified piece.
    Write { torrent: TorrentId, piece: PieceIndex, data: Bytes },
    /// Digest the blocks of a piece.
    Digest { torrent: TorrentId, piece: PieceIndex, data: Bytes, block: u32, key: u64 },
    /// Move blocks of an incomplete piece to its part file.
    Spill { torrent: TorrentId, piece: PieceIndex, blocks: Vec<(BlockRef, Bytes)> },
    /// Read spilled blocks back.
    Load { torrent: TorrentId, piece: PieceIndex, blocks: Vec<BlockRef> },
    /// Write and hash a block of a streamed piece.
    StreamBlock { torrent: TorrentId, block: BlockRef, data: Bytes },
    /// Compare a streamed piece with what it must be.
    StreamVerify { torrent: TorrentId, piece: PieceIndex },
    /// A streamed piece is verified: it may be claimed.
    StreamWrite { torrent: TorrentId, piece: PieceIndex },
    /// Digest the blocks of a streamed piece.
    StreamDigest { torrent: TorrentId, piece: PieceIndex, blocks: Vec<BlockRef>, key: u64 },
    /// Forget what is known of a streamed piece.
    StreamForget { torrent: TorrentId, piece: PieceIndex },
    /// Give a whole file its final name with the next sync.
    Finish { torrent: TorrentId, file: FileIndex },
    /// Make a torrent durable and close it.
    Close { torrent: TorrentId },
}

/// What the threads have done.
#[derive(Debug)]
pub(crate) enum Done {
    /// Checking goes on: bytes hashed, and to be hashed.
    Checking { torrent: TorrentId, done: u64, total: u64 },
    /// A torrent is open, or not.
    Opened { torrent: TorrentId, result: Result<Opened, DiskError> },
    /// A piece was hashed.
    Hashed { torrent: TorrentId, piece: PieceIndex, matches: bool },
    /// The digests of a piece's blocks.
    Digested { torrent: TorrentId, piece: PieceIndex, digests: Vec<u64> },
    /// A piece is written.
    Written { torrent: TorrentId, piece: PieceIndex },
    /// Spilled blocks are here again.
    Loaded { torrent: TorrentId, piece: PieceIndex, blocks: Vec<(BlockRef, Bytes)> },
    /// Something failed on our own side.
    Failed { torrent: TorrentId, piece: PieceIndex, error: LocalError },
    /// A file cannot be finished.
    FinishFailed { torrent: TorrentId, file: FileIndex, error: LocalError },
    /// A sync went through.
    Synced(SyncReport),
    /// A torrent is closed.
    Closed { torrent: TorrentId, report: SyncReport },
    /// What was read for others.
    Read(serve::Read),
    /// The hashes of a piece's blocks.
    BlockHashes { torrent: TorrentId, piece: PieceIndex, hashes: Vec<[u8; 32]> },
}

/// Where the threads report to.
pub(crate) type Report = Arc<dyn Fn(Done) + Send + Sync>;

/// The threads, and the way to them.
pub(crate) struct Disk {
    jobs: Option<Sender<(Arc<Storage>, Job)>>,
    reads: Option<Sender<serve::Job>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// A disk error as the engine hears it.
pub(crate) fn local(error: &DiskError) -> LocalError {
    LocalError { message: error.to_string(), disk_full: error.is_full() }
}

impl Disk {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn start(report: Report) -> std::io::Result<Disk> {
        let (jobs, work) = channel();
        let (reads, wanted) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let mut worker = Worker::new(Arc::clone(&report), Arc::clone(&stop));
        let threads = vec![
            spawn("disk").spawn(move || worker.run(&work))?,
            spawn("serve").spawn(move || serve::run(&wanted, &report))?,
        ];
        Ok(Disk { jobs: Some(jobs), reads: Some(reads), stop, threads })
    }

    /// Gives the thread something to do.
    pub(crate) fn submit(&self, storage: &Arc<Storage>, job: Job) {
        // The thread lives as long as this does.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send((Arc::clone(storage), job));
        }
    }

    /// Has something read for others.
    pub(crate) fn read(&self, job: serve::Job) {
        if let Some(reads) = &self.reads {
            let _ = reads.send(job);
        }
    }

    /// Ends a check that is under way.
    pub(crate) fn interrupt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.interrupt();
        (self.jobs, self.reads) = (None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a disk thread has panicked");
            }
        }
    }
}

/// Where a streamed piece stands.
struct Stream {
    check: PieceCheck,
    /// Bytes hashed so far.
    at: u32,
    /// Blocks written beyond `at`, by where they begin.
    early: BTreeMap<u32, BlockRef>,
}

/// What a storage waits for.
#[derive(Default)]
struct Pace {
    finish_at: Option<Instant>,
    rested: Option<Instant>,
}

/// What the thread keeps.
struct Worker {
    report: Report,
    stop: Arc<AtomicBool>,
    contents: BTreeMap<TorrentId, Arc<Content>>,
    streams: BTreeMap<(TorrentId, PieceIndex), Stream>,
    /// Storages that were written to, and when they are to be synced.
    dirty: Vec<(Arc<Storage>, Pace)>,
}

impl Worker {
    fn new(report: Report, stop: Arc<AtomicBool>) -> Worker {
        let (contents, streams, dirty) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Worker { report, stop, contents, streams, dirty }
    }

    fn run(&mut self, jobs: &Receiver<(Arc<Storage>, Job)>) {
        loop {
            let next = match jobs.try_recv() {
                Ok(job) => Some(job),
                Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => match self.deadline() {
                    None => match jobs.recv() {
                        Ok(job) => Some(job),
                        Err(_) => break,
                    },
                    Some(at) => {
                        match jobs.recv_timeout(at.saturating_duration_since(Instant::now())) {
                            Ok(job) => Some(job),
                            Err(RecvTimeoutError::Timeout) => None,
                            Err(RecvTimeoutError::Disconnected) => break,
                        }
                    }
                },
            };
            if let Some((storage, job)) = next {
                self.pace(&storage);
                if let Some(done) = self.job(&storage, job) {
                    (self.report)(done);
                }
            }
            self.sync_due();
        }
    }

    fn pace(&mut self, storage: &Arc<Storage>) -> Option<&mut Pace> {
        let known = self.dirty.iter().position(|(other, _)| Arc::ptr_eq(other, storage));
        let index = known.unwrap_or_else(|| {
            self.dirty.push((Arc::clone(storage), Pace::default()));
            self.dirty.len() - 1
        });
        self.dirty.get_mut(index).map(|(_, pace)| pace)
    }

    fn deadline(&self) -> Option<Instant> {
        let each = self.dirty.iter().flat_map(|(storage, pace)| [storage.due(), pace.finish_at]);
        each.flatten().min()
    }

    fn sync_due(&mut self) {
        let report = Arc::clone(&self.report);
        for (storage, pace) in &mut self.dirty {
            let due = [storage.due(), pace.finish_at].into_iter().flatten().min();
            let start = Instant::now();
            if due.is_some_and(|at| at <= start) {
                let done = storage.sync();
                pace.finish_at = None;
                pace.rested = Some(Instant::now() + start.elapsed() * SYNC_SHARE);
                report(Done::Synced(done));
            }
        }
    }

    fn job(&mut self, storage: &Arc<Storage>, job: Job) -> Option<Done> {
        Some(match job {
            Job::Open { torrent, plan, again } => self.open(storage, torrent, *plan, again),
            Job::Want { torrent, wanted } => {
                Done::Opened { torrent, result: storage.set_wanted(torrent, &wanted) }
            }
            Job::Write { torrent, piece, data } => {
                written(torrent, piece, storage.write_piece(torrent, piece, &[data]))
            }
            Job::Digest { torrent, piece, data, block, key } => {
                let blocks = data.chunks(block.max(1) as usize);
                let digests = blocks.map(|block| block_digest(key, block)).collect();
                Done::Digested { torrent, piece, digests }
            }
            Job::Spill { torrent, piece, blocks } => {
                let mut all = blocks.iter();
                let result = all.try_for_each(|(at, data)| storage.write_block(torrent, *at, data));
                return result.err().map(|error| failed(torrent, piece, &error));
            }
            Job::Load { torrent, piece, blocks } => {
                let read = |at: &BlockRef| Ok((*at, storage.read_block(torrent, *at)?));
                match blocks.iter().map(read).collect() {
                    Ok(blocks) => Done::Loaded { torrent, piece, blocks },
                    Err(error) => failed(torrent, piece, &error),
                }
            }
            Job::StreamBlock { torrent, block, data } => {
                let result = self.stream_block(storage, torrent, block, &data);
                return result.err().map(|error| failed(torrent, block.piece, &error));
            }
            Job::StreamVerify { torrent, piece } => {
                let stream = self.streams.remove(&(torrent, piece));
                let matches = stream.is_some_and(|stream| stream.check.matches());
                Done::Hashed { torrent, piece, matches }
            }
            Job::StreamWrite { torrent, piece } => {
                storage.verified(torrent, piece);
                Done::Written { torrent, piece }
            }
            Job::StreamDigest { torrent, piece, blocks, key } => {
                let read = |at: &BlockRef| storage.read_block(torrent, *at);
                let digest = |at| read(at).map(|bytes| block_digest(key, &bytes));
                match blocks.iter().map(digest).collect() {
                    Ok(digests) => Done::Digested { torrent, piece, digests },
                    Err(error) => failed(torrent, piece, &error),
                }
            }
            Job::StreamForget { torrent, piece } => {
                self.streams.remove(&(torrent, piece));
                return None;
            }
            Job::Finish { torrent, file } => return self.finish(storage, torrent, file),
            Job::Close { torrent } => {
                self.streams.retain(|(of, _), _| *of != torrent);
                self.contents.remove(&torrent);
                Done::Closed { torrent, report: storage.close_torrent(torrent, true) }
            }
        })
    }

    fn open(
        &mut self,
        storage: &Storage,
        torrent: TorrentId,
        plan: TorrentPlan,
        again: bool,
    ) -> Done {
        let (report, stop) = (Arc::clone(&self.report), Arc::clone(&self.stop));
        let mut last = None::<Instant>;
        let mut progress = |done, total| {
            if last.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY) {
                last = Some(Instant::now());
                report(Done::Checking { torrent, done, total });
            }
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let content = Arc::clone(&plan.content);
        let result = match again {
            true => storage.recheck(torrent, &mut progress),
            false => storage.open_torrent(torrent, plan, &mut progress),
        };
        self.contents.insert(torrent, content);
        Done::Opened { torrent, result }
    }

    fn finish(
        &mut self,
        storage: &Arc<Storage>,
        torrent: TorrentId,
        file: FileIndex,
    ) -> Option<Done> {
        if let Err(error) = storage.finish_file(torrent, file) {
            return Some(Done::FinishFailed { torrent, file, error: local(&error) });
        }
        let pace = self.pace(storage)?;
        if pace.finish_at.is_none() {
            let soon = Instant::now() + FINISH_DELAY;
            pace.finish_at = Some(pace.rested.map_or(soon, |rested| rested.max(soon)));
        }
        None
    }

    fn stream_block(
        &mut self,
        storage: &Storage,
        torrent: TorrentId,
        block: BlockRef,
        data: &Bytes,
    ) -> Result<(), DiskError> {
        storage.write_block(torrent, block, data)?;
        let key = (torrent, block.piece);
        let stream = match self.streams.entry(key) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let content = self.contents.get(&torrent);
                let Some(expected) = content.and_then(|content| content.expected(block.piece))
                else {
                    return Ok(());
                };
                entry.insert(new_stream(&expected))
            }
        };
        if block.begin > stream.at {
            stream.early.insert(block.begin, block);
            return Ok(());
        }
        if block.begin == stream.at {
            stream.check.update(data);
            stream.at += block.len;
        }
        while let Some(next) = stream.early.remove(&stream.at) {
            stream.check.update(&storage.read_block(torrent, next)?);
            stream.at += next.len;
        }
        Ok(())
    }
}

fn new_stream(expected: &ExpectedPiece) -> Stream {
    Stream { check: PieceCheck::new(expected), at: 0, early: BTreeMap::new() }
}

fn failed(torrent: TorrentId, piece: PieceIndex, error: &DiskError) -> Done {
    Done::Failed { torrent, piece, error: local(error) }
}

fn written(torrent: TorrentId, piece: PieceIndex, result: Result<(), DiskError>) -> Done {
    match result {
        Ok(()) => Done::Written { torrent, piece },
        Err(error) => failed(torrent, piece, &error),
    }
}
