//! Hashing of pieces (BEP 3: SHA-1; BEP 52: trees of SHA-256), several at once, on a pool of threads.

mod pieces;

pub use pieces::{PieceCheck, PieceJob, leaf_hashes, merkle_root, verify_pieces};

use crate::budget::{Budget, Charge};
use crate::error::{DiskError, DiskErrorKind};
use crate::fs::{Fs, FsFile, Look, Meta};
use crate::holes::Holes;
use crate::simd::{Width, sha1_many};
use bytes::Bytes;
use sha1::{Digest, Sha1};
use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The zeros that pad a piece are hashed from here.
pub(crate) static ZEROS: [u8; 16 * 1024] = [0; 16 * 1024];

/// Batches that may wait for a worker; who submits more waits. Their memory is bounded by the
/// budget, so this bounds only the queue itself.
const MAX_WAITING: usize = 1024;

/// Bytes that are read at a time when a file is checked: large enough for full disk speed.
const READ_AT_LEAST: u64 = 1 << 20;

/// Files up to this length are hashed by the calling thread: handing them over costs more.
const HASH_HERE: u64 = 256 * 1024;

/// The bytes of one piece, then that many zero bytes (BEP 47 padding).
#[derive(Clone, Debug, Default)]
pub struct HashJob {
    /// The bytes, in order.
    pub parts: Vec<Bytes>,
    /// How many zero bytes follow.
    pub zeros: u32,
}

/// SHA-1 of several pieces, in order: side by side where the processor can and it is faster.
#[must_use]
pub fn hash_pieces(jobs: &[HashJob]) -> Vec<[u8; 20]> {
    sha1_many(jobs)
}

/// A keyed digest of a block: the first 64 bits of SHA-1 over key (big-endian) and bytes. It tells
/// later who sent the bad copy, without keeping the bytes; nobody can aim for a collision without
/// the key.
#[must_use]
pub fn block_digest(key: u64, bytes: &[u8]) -> u64 {
    let digest: [u8; 20] =
        Sha1::new().chain_update(key.to_be_bytes()).chain_update(bytes).finalize().into();
    digest.iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// SHA-1 of a piece whose bytes come one after another.
#[derive(Clone, Default)]
pub struct StreamHash(Sha1);

impl StreamHash {
    /// The hash of nothing yet.
    #[must_use]
    pub fn new() -> StreamHash {
        StreamHash::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes, followed by `zeros` zero bytes.
    #[must_use]
    pub fn finish(mut self, zeros: u32) -> [u8; 20] {
        let mut left = zeros as usize;
        while left > 0 {
            let now = ZEROS.get(..left).unwrap_or(&ZEROS);
            self.0.update(now);
            left -= now.len();
        }
        self.0.finalize().into()
    }
}

impl std::fmt::Debug for StreamHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamHash")
    }
}

type Done = Box<dyn FnOnce(Vec<[u8; 20]>) + Send>;
type Verified = Box<dyn FnOnce(Vec<bool>) + Send>;

/// Pieces that were handed over together, and who hears of the result.
enum Batch {
    Hash(Vec<HashJob>, Done),
    Verify(Vec<PieceJob>, Verified),
}

impl Batch {
    fn len(&self) -> usize {
        match self {
            Batch::Hash(jobs, _) => jobs.len(),
            Batch::Verify(jobs, _) => jobs.len(),
        }
    }
}

/// Threads that hash pieces. A worker takes as many waiting pieces as it can hash side by side,
/// unless idle workers would be done with them sooner; it never waits for more to come. Dropping
/// the pool finishes what is queued and joins them.
pub struct HashPool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Batch>,
    /// Pieces in all that waits.
    pieces: usize,
    /// Workers that have nothing to do.
    idle: usize,
    closed: bool,
}

impl Queue {
    fn push(&mut self, batch: Batch) {
        self.pieces += batch.len();
        self.waiting.push_back(batch);
    }

    /// The next batches for one worker: at least one, and no more pieces than its share.
    fn take(&mut self, width: Width) -> Vec<Batch> {
        let share = share(self.pieces, self.idle, width);
        let (mut batches, mut pieces) = (Vec::new(), 0);
        while let Some(batch) = self.waiting.pop_front() {
            if !batches.is_empty() && pieces + batch.len() > share {
                self.waiting.push_front(batch);
                break;
            }
            pieces += batch.len();
            batches.push(batch);
        }
        self.pieces -= pieces;
        batches
    }
}

/// How many of the waiting pieces a worker takes while `idle` others have nothing to do. A core
/// needs for full lanes no longer than for `worth` pieces one after another. So where even shares
/// are at least as large, one worker is as soon done with all as all workers with their shares,
/// and leaves the other cores to others. Below that it takes one piece, and looks again.
fn share(pieces: usize, idle: usize, width: Width) -> usize {
    if pieces.div_ceil(idle + 1) >= width.worth { width.lanes } else { 1 }
}

impl HashPool {
    /// A pool of `threads` workers, named `hash-0`, `hash-1`, …; at least one.
    ///
    /// # Panics
    /// If the system gives no thread at all.
    #[must_use]
    pub fn new(threads: usize) -> Arc<HashPool> {
        let shared = Arc::new(Shared::default());
        let threads = threads.max(1);
        let spawn = |index: usize| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("hash-{index}"));
            thread.spawn(move || shared.work()).ok()
        };
        let workers: Vec<_> = (0..threads).filter_map(spawn).collect();
        assert!(!workers.is_empty(), "the system gives no thread; raise the process limit");
        Arc::new(HashPool { shared, workers })
    }

    /// Hashes the pieces on the pool and calls `done` with their hashes, in order, on a worker.
    /// Waits while too many batches are queued; so `done` must not submit.
    pub fn submit(&self, jobs: Vec<HashJob>, done: Box<dyn FnOnce(Vec<[u8; 20]>) + Send>) {
        self.push(Batch::Hash(jobs, done));
    }

    /// Compares the pieces with what they must be, and calls `done` with what is right, in order, on
    /// a worker. Otherwise as [`HashPool::submit`].
    pub fn verify(&self, jobs: Vec<PieceJob>, done: Box<dyn FnOnce(Vec<bool>) + Send>) {
        self.push(Batch::Verify(jobs, done));
    }

    fn push(&self, batch: Batch) {
        let mut queue = self.shared.queue();
        while queue.waiting.len() >= MAX_WAITING {
            queue = self.shared.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.push(batch);
        drop(queue);
        self.shared.work.notify_one();
    }

    /// How many workers there are.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len()
    }
}

impl std::fmt::Debug for HashPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HashPool({} threads)", self.workers.len())
    }
}

impl Drop for HashPool {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.work.notify_all();
        let me = std::thread::current().id();
        for worker in self.workers.drain(..) {
            // The last owner may be a callback on a worker, which cannot join itself.
            if worker.thread().id() != me && worker.join().is_err() {
                tracing::error!("a hashing thread has panicked");
            }
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let width = Width::of_this_machine();
        loop {
            let mut queue = self.queue();
            while queue.waiting.is_empty() {
                if queue.closed {
                    return;
                }
                queue.idle += 1;
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            }
            let batches = queue.take(width);
            let more = !queue.waiting.is_empty();
            drop(queue);
            self.room.notify_all();
            if more {
                self.work.notify_one();
            }
            run(batches);
        }
    }
}

/// Hashes batches together: those that want hashes, and those that want to know what is right.
fn run(batches: Vec<Batch>) {
    let (mut hash, mut verify) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for batch in batches {
        match batch {
            Batch::Hash(jobs, done) => {
                hash.1.push((jobs.len(), done));
                hash.0.extend(jobs);
            }
            Batch::Verify(jobs, done) => {
                verify.1.push((jobs.len(), done));
                verify.0.extend(jobs);
            }
        }
    }
    let (jobs, dones) = hash;
    let mut hashes = hash_pieces(&jobs).into_iter();
    drop(jobs);
    for (count, done) in dones {
        done(hashes.by_ref().take(count).collect());
    }
    let (jobs, dones) = verify;
    let mut right = verify_pieces(&jobs).into_iter();
    drop(jobs);
    for (count, done) in dones {
        done(right.by_ref().take(count).collect());
    }
}

/// What [`hash_file`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashedFile {
    /// The file as it was while it was hashed. A file that differs from this later has changed.
    pub meta: Meta,
    /// All that was known of it before it was hashed.
    pub look: Look,
    /// The SHA-1 of its pieces, in order.
    pub hashes: Vec<[u8; 20]>,
}

/// Hears of the bytes hashed so far, and says whether to go on.
pub(crate) type Step<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Hears of the bytes of a file, in order.
pub(crate) type Tap<'a> = &'a mut dyn FnMut(&[u8]);

/// Piece hashes of a file, each file padded with zeros to whole pieces (BEP 47), as sets need it.
/// Holes are not read.
/// `progress` is called with the bytes hashed so far, at least once a MiB, and ends the work by
/// `Break`. Buffers are charged to the serving share of `budget`; all threads of `pool` are kept
/// busy.
///
/// # Errors
/// If the file cannot be read; `Changed` if it is written meanwhile; `Interrupted` after `Break`.
pub fn hash_file(
    fs: &dyn Fs,
    path: &Path,
    piece_length: u32,
    pool: &HashPool,
    budget: &Arc<Budget>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<HashedFile, DiskError> {
    hash_file_and(fs, path, piece_length, pool, budget, progress, &mut |_| {})
}

/// As [`hash_file`], and `tap` is given all bytes in order, those of holes too.
///
/// # Errors
/// As [`hash_file`].
pub fn hash_file_and(
    fs: &dyn Fs,
    path: &Path,
    piece_length: u32,
    pool: &HashPool,
    budget: &Arc<Budget>,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
    tap: &mut dyn FnMut(&[u8]),
) -> Result<HashedFile, DiskError> {
    let named = |error: io::Error| DiskError::io(path, &error);
    if piece_length == 0 {
        return Err(DiskError::new(path, DiskErrorKind::Misuse("pieces of no bytes")));
    }
    let file = fs.open_read(path).map_err(named)?;
    let look = file.look().map_err(named)?;
    let (meta, len) = (look.meta, look.meta.len);
    let holes = Holes::of(&*file, piece_length).map_err(named)?;
    let check = FileCheck { file, len, piece_length, budget, holes };
    let hashes = if len > HASH_HERE && u64::from(piece_length) <= budget.short_share() / 2 {
        check.on_pool(pool, progress, tap)
    } else {
        check.here(progress, tap)
    }
    .map_err(named)?;
    if check.file.meta().map_err(named)? != meta {
        return Err(DiskError::new(path, DiskErrorKind::Changed));
    }
    Ok(HashedFile { meta, look, hashes })
}

struct FileCheck<'a> {
    file: Arc<dyn FsFile>,
    len: u64,
    piece_length: u32,
    budget: &'a Arc<Budget>,
    holes: Holes,
}

impl FileCheck<'_> {
    /// A buffer at a time, on this thread: small files, and pieces too large to be held whole.
    fn here(&self, progress: Step<'_>, tap: Tap<'_>) -> io::Result<Vec<[u8; 20]>> {
        let size = self.len.min(HASH_HERE);
        let _charge = self.budget.charge_blocking(size);
        let mut buffer = self.budget.buffers().take(size as usize);
        let mut hashes = Vec::new();
        let mut at = 0;
        while at < self.len {
            let end = (at + u64::from(self.piece_length)).min(self.len);
            if let Some(zeros) = self.holes.zeros(&(at..end)) {
                tap_zeros(tap, end - at);
                hashes.push(zeros);
                go_on(progress(end))?;
            } else {
                let zeros = self.piece_length - (end - at) as u32;
                let buffer = buffer.bytes_mut();
                hashes.push(hash_range(&*self.file, at..end, zeros, buffer, progress, tap)?);
            }
            at = end;
        }
        Ok(hashes)
    }

    /// Groups of whole pieces, read here and hashed on the pool.
    fn on_pool(
        &self,
        pool: &HashPool,
        progress: Step<'_>,
        tap: Tap<'_>,
    ) -> io::Result<Vec<[u8; 20]>> {
        let piece = u64::from(self.piece_length);
        // Several groups must fit into the share, or reading and hashing would take turns.
        let group = READ_AT_LEAST.min(self.budget.short_share() / 4) / piece * piece;
        let group = group.max(piece);
        let (send, receive) = channel();
        let mut results =
            Results { hashes: vec![Vec::new(); self.len.div_ceil(group) as usize], done: 0 };
        for index in 0..self.len.div_ceil(group) {
            let start = index * group;
            let size = group.min(self.len - start);
            if let Some(zeros) = self.holes.zeros(&(start..start + size)) {
                tap_zeros(tap, size);
                let hashes = vec![zeros; size.div_ceil(piece) as usize];
                let index = index as usize;
                results.add(Group { index, bytes: size, hashes }, progress)?;
                continue;
            }
            // Whoever holds a charge here waits for nobody: its buffer is already being hashed.
            let charge = self.budget.charge_blocking(size);
            let mut buffer = self.budget.buffers().take(size as usize);
            self.file.read_at(buffer.bytes_mut(), start)?;
            tap(buffer.bytes_mut());
            self.hash_group(pool, &buffer.freeze(), charge, (index as usize, send.clone()));
            results.take(&receive, progress, false)?;
        }
        drop(send);
        results.take(&receive, progress, true)?;
        Ok(results.hashes.into_iter().flatten().collect())
    }

    fn hash_group(
        &self,
        pool: &HashPool,
        bytes: &Bytes,
        charge: Charge,
        to: (usize, Sender<Group>),
    ) {
        let piece = self.piece_length as usize;
        let job = |start: usize| {
            let part = bytes.slice(start..bytes.len().min(start + piece));
            HashJob { zeros: (piece - part.len()) as u32, parts: vec![part] }
        };
        let jobs = (0..bytes.len()).step_by(piece).map(job).collect();
        let done = move |hashes| {
            let (index, send) = to;
            let bytes = charge.bytes();
            drop(charge);
            // Nobody listens after a read error or a stop.
            let _ = send.send(Group { index, bytes, hashes });
        };
        pool.submit(jobs, Box::new(done));
    }
}

/// Tells of so many zeros.
fn tap_zeros(tap: Tap<'_>, mut left: u64) {
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        tap(ZEROS.get(..now).unwrap_or(&ZEROS));
        left -= now as u64;
    }
}

/// Hashes a range of a file through `buffer`, then `zeros` zero bytes. `step` hears of the place in
/// the file after every read, `tap` of the bytes.
pub(crate) fn hash_range(
    file: &dyn FsFile,
    range: std::ops::Range<u64>,
    zeros: u32,
    buffer: &mut [u8],
    step: Step<'_>,
    tap: Tap<'_>,
) -> io::Result<[u8; 20]> {
    let mut hash = StreamHash::new();
    let mut at = range.start;
    while at < range.end {
        let size = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        let place = buffer.get_mut(..size).filter(|place| !place.is_empty());
        let place = place.ok_or(io::ErrorKind::InvalidInput)?;
        file.read_at(place, at)?;
        hash.update(place);
        tap(place);
        at += size as u64;
        go_on(step(at))?;
    }
    Ok(hash.finish(zeros))
}

fn go_on(flow: ControlFlow<()>) -> io::Result<()> {
    if flow.is_break() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
}

struct Group {
    index: usize,
    bytes: u64,
    hashes: Vec<[u8; 20]>,
}

struct Results {
    hashes: Vec<Vec<[u8; 20]>>,
    done: u64,
}

impl Results {
    /// Takes the groups that are done; all of them if `wait`.
    fn take(&mut self, from: &Receiver<Group>, progress: Step<'_>, wait: bool) -> io::Result<()> {
        let next = || if wait { from.recv().ok() } else { from.try_recv().ok() };
        while let Some(group) = next() {
            self.add(group, progress)?;
        }
        Ok(())
    }

    fn add(&mut self, group: Group, progress: Step<'_>) -> io::Result<()> {
        if let Some(place) = self.hashes.get_mut(group.index) {
            *place = group.hashes;
        }
        self.done += group.bytes;
        go_on(progress(self.done))
    }
}

#[cfg(test)]
mod tests;
