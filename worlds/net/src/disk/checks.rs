//! The threads `check-N`: they open torrents, and check what is there. A check reads and hashes on
//! threads of its own ([`Storage::open_torrent`]); its buffers are charged to the budget that all
//! share.
//!
//! Of two torrents that write one path, the one that was added first keeps it. So checks claim
//! their paths in the order in which they were pushed: the next one begins when the one before has
//! claimed.

use super::{DiskDone, Reporter};
use dunlin_base::TorrentId;
use dunlin_disk::{DiskError, DiskErrorKind, OpenStep, Opened, Storage, TorrentPlan};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Torrents that are opened or checked at a time: a new one does not wait for the checks of a few
/// large ones, and a disk that turns still reads long runs of each.
const MAX_CHECKS: usize = 4;
/// The progress of a check is reported this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What is done with the files of a torrent.
pub(super) enum CheckKind {
    /// They are opened.
    Open(Box<TorrentPlan>),
    /// They are open, and all is hashed again.
    Again,
    /// They are open, and others are wanted.
    Want(Vec<bool>),
}

/// Numbers checks, since a torrent may be closed and opened again while its check still ends.
pub(super) type CheckNumber = u64;

/// A check of one torrent.
pub(super) struct Check {
    pub(super) number: CheckNumber,
    pub(super) torrent: TorrentId,
    pub(super) storage: Arc<Storage>,
    pub(super) kind: CheckKind,
    /// Set when nobody waits for the result any more.
    pub(super) cancel: Arc<AtomicBool>,
}

/// What a check came to.
pub(super) struct Checked {
    pub(super) number: CheckNumber,
    pub(super) torrent: TorrentId,
    pub(super) result: Result<Opened, DiskError>,
}

/// The threads, and the checks that wait for one.
pub(super) struct Checks {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    news: Condvar,
    /// Set when no check is needed any more.
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Check>,
    /// A check has begun and has not claimed its paths yet.
    claiming: bool,
    ended: bool,
}

impl Checks {
    /// Starts the threads. `report` receives the progress, `done` the results.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn start(
        report: &Reporter,
        stop: &Arc<AtomicBool>,
        done: impl Fn(Checked) + Clone + Send + 'static,
    ) -> std::io::Result<Checks> {
        let stop = Arc::clone(stop);
        let shared = Arc::new(Shared { stop, ..Shared::default() });
        let mut checks = Checks { shared, threads: Vec::new() };
        for number in 0..MAX_CHECKS {
            let (shared, report) = (Arc::clone(&checks.shared), Arc::clone(report));
            let done = done.clone();
            let thread = std::thread::Builder::new().name(format!("check-{number}"));
            checks.threads.push(thread.spawn(move || shared.work(&report, &done))?);
        }
        Ok(checks)
    }

    /// Starts a check as soon as a thread is free.
    pub(super) fn push(&self, check: Check) {
        self.shared.queue().waiting.push_back(check);
        self.shared.news.notify_one();
    }

    /// Takes back a check that no thread has begun; whether it was one.
    pub(super) fn take_back(&self, number: CheckNumber) -> bool {
        let mut queue = self.shared.queue();
        let found = queue.waiting.iter().position(|check| check.number == number);
        found.and_then(|at| queue.waiting.remove(at)).is_some()
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.shared.queue().ended = true;
        self.shared.news.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that checks files has panicked");
            }
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, report: &Reporter, done: &impl Fn(Checked)) {
        while let Some(check) = self.next() {
            let (number, torrent) = (check.number, check.torrent);
            done(Checked { number, torrent, result: self.run(check, report) });
        }
    }

    fn next(&self) -> Option<Check> {
        let mut queue = self.queue();
        loop {
            if queue.ended {
                return None;
            }
            let next = if queue.claiming { None } else { queue.waiting.pop_front() };
            if let Some(check) = next {
                queue.claiming = true;
                if queue.waiting.is_empty() {
                    // Thousands may have waited.
                    queue.waiting.shrink_to_fit();
                }
                return Some(check);
            }
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The check that has begun last has claimed its paths, or has ended without.
    fn claimed(&self) {
        self.queue().claiming = false;
        self.news.notify_one();
    }

    fn run(&self, check: Check, report: &Reporter) -> Result<Opened, DiskError> {
        let Check { torrent, storage, kind, cancel, .. } = check;
        let ends = || cancel.load(Ordering::Relaxed) || self.stop.load(Ordering::Relaxed);
        let mut last = None::<Instant>;
        let mut claiming = true;
        let mut progress = |step| {
            if std::mem::take(&mut claiming) {
                self.claimed();
            }
            if ends() {
                return ControlFlow::Break(());
            }
            if let OpenStep::Hashed { done, total } = step
                && last.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY)
            {
                last = Some(Instant::now());
                report(DiskDone::Checking { torrent, done, total });
            }
            ControlFlow::Continue(())
        };
        let result = match kind {
            CheckKind::Open(plan) if ends() => {
                Err(DiskError::new(plan.folder, DiskErrorKind::Interrupted))
            }
            CheckKind::Open(plan) => storage.open_torrent(torrent, *plan, &mut progress),
            CheckKind::Again | CheckKind::Want(_) if ends() => {
                Err(DiskError::new(PathBuf::new(), DiskErrorKind::Interrupted))
            }
            CheckKind::Again => storage.recheck(torrent, &mut progress),
            CheckKind::Want(wanted) => storage.set_wanted(torrent, &wanted, &mut progress),
        };
        if claiming {
            self.claimed();
        }
        result
    }
}
