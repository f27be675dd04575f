//! Threads that hash pieces, several at once.

use crate::job::HashJob;
use crate::pieces::{PieceJob, verify_pieces};
use crate::simd::{Width, hash_pieces};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Batches that may wait for a worker; who submits more waits. Their memory is bounded by the
/// budget, so this bounds only the queue itself.
const MAX_WAITING: usize = 1024;

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

    /// Compares the pieces with what they must be, and calls `done` with what is right, in order,
    /// on a worker. Otherwise as [`HashPool::submit`].
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

#[cfg(test)]
mod tests;
