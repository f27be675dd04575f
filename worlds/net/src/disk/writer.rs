//! What the thread `disk` does: the jobs of all torrents in order, but for those of a torrent that
//! is being checked, which wait for the check.
//!
//! ```text
//!   Open, Want ──▶ waits for ──▶ is checked ──▶ Opened, then the jobs that came meanwhile
//!                  its folder         │
//!                      └──────────────┴── Close ──▶ Closed
//! ```
//!
//! A check that was cancelled may still read for a moment, and holds the claims of its torrent
//! until it ends. So nothing is opened in its folder before.

use super::checks::{Check, CheckKind, CheckNumber, Checked, Checks};
use super::{DiskDone, DiskJob, Reporter};
use dunlin_base::TorrentId;
use dunlin_disk::pieces::{Chores, PieceWorker, Report};
use dunlin_disk::{Storage, SyncReport};
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// A finished file waits this long for others before the sync that gives it its name: pieces of
/// several files come together.
const FINISH_DELAY: Duration = Duration::from_millis(50);

/// What the thread receives.
pub(super) enum Task {
    /// Something to do.
    Job(Arc<Storage>, DiskJob),
    /// A check has ended.
    Checked(Checked),
    /// Nothing follows.
    End,
}

/// A torrent that is being opened or checked.
struct Checking {
    number: CheckNumber,
    storage: Arc<Storage>,
    /// What is to be done, while it waits for its folder.
    kind: Option<CheckKind>,
    /// Nothing of it was open before.
    first: bool,
    cancel: Arc<AtomicBool>,
    /// Jobs that have come since.
    jobs: VecDeque<DiskJob>,
}

/// What the thread keeps.
pub(super) struct Writer {
    report: Reporter,
    /// One for each storage.
    workers: Vec<PieceWorker<Storage>>,
    checks: Checks,
    next_check: CheckNumber,
    checking: BTreeMap<TorrentId, Checking>,
    /// Checks whose torrents are closed, and which still end.
    cancelled: BTreeMap<CheckNumber, Arc<Storage>>,
}

impl Writer {
    /// Starts the threads for checks; their results come as tasks.
    ///
    /// # Errors
    /// If the system gives none.
    pub(super) fn start(
        report: &Reporter,
        tasks: &Sender<Task>,
        stop: &Arc<AtomicBool>,
    ) -> std::io::Result<Writer> {
        let tasks = tasks.clone();
        // After the end nobody receives them.
        let done = move |checked| _ = tasks.send(Task::Checked(checked));
        Ok(Writer {
            report: Arc::clone(report),
            workers: Vec::new(),
            checks: Checks::start(report, stop, done)?,
            next_check: 0,
            checking: BTreeMap::new(),
            cancelled: BTreeMap::new(),
        })
    }

    fn worker(&mut self, storage: &Arc<Storage>) -> &mut PieceWorker<Storage> {
        let known = self.workers.iter().position(|worker| Arc::ptr_eq(worker.store(), storage));
        let index = known.unwrap_or(self.workers.len());
        if known.is_none() {
            self.workers.push(PieceWorker::new(Arc::clone(storage), FINISH_DELAY));
        }
        &mut self.workers[index]
    }

    fn job(&mut self, storage: &Arc<Storage>, job: DiskJob) {
        let torrent = job.torrent();
        if let Some(found) = self.checking.get_mut(&torrent) {
            match job {
                DiskJob::Close { .. } => self.close_checking(torrent),
                job => found.jobs.push_back(job),
            }
            return;
        }
        match job {
            DiskJob::Open { plan, again: false, .. } => {
                self.check(storage, torrent, CheckKind::Open(plan));
            }
            DiskJob::Open { again: true, .. } => self.check(storage, torrent, CheckKind::Again),
            DiskJob::Want { wanted, .. } => self.check(storage, torrent, CheckKind::Want(wanted)),
            DiskJob::Pieces(job) => {
                let report = self.worker(storage).run(job);
                report.into_iter().for_each(|report| (self.report)(DiskDone::Pieces(report)));
            }
            DiskJob::Close { .. } => self.close(storage, torrent),
        }
    }

    fn check(&mut self, storage: &Arc<Storage>, torrent: TorrentId, kind: CheckKind) {
        let number = self.next_check;
        self.next_check += 1;
        let checking = Checking {
            number,
            storage: Arc::clone(storage),
            first: matches!(kind, CheckKind::Open(_)),
            kind: Some(kind),
            cancel: Arc::default(),
            jobs: VecDeque::new(),
        };
        self.checking.insert(torrent, checking);
        self.begin_checks();
    }

    /// Begins the checks whose folders are free.
    fn begin_checks(&mut self) {
        for (torrent, checking) in &mut self.checking {
            let ends = |storage: &Arc<Storage>| Arc::ptr_eq(storage, &checking.storage);
            if self.cancelled.values().any(ends) {
                continue;
            }
            if let Some(kind) = checking.kind.take() {
                let (storage, cancel) =
                    (Arc::clone(&checking.storage), Arc::clone(&checking.cancel));
                let number = checking.number;
                self.checks.push(Check { number, torrent: *torrent, storage, kind, cancel });
            }
        }
    }

    fn close(&mut self, storage: &Arc<Storage>, torrent: TorrentId) {
        self.worker(storage).forget(torrent);
        let report = storage.close_torrent(torrent, true);
        // Perhaps nothing uses the storage any more: an idle worker must not keep it.
        self.workers.retain(|one| !(one.is_idle() && Arc::ptr_eq(one.store(), storage)));
        if self.workers.is_empty() {
            self.workers.shrink_to_fit();
        }
        (self.report)(DiskDone::Closed { torrent, report });
    }

    /// Closes a torrent that is being checked: the check ends. Nothing is durable yet of one that
    /// was not open before, so it is closed at once. Another one is closed when the check has
    /// ended.
    fn close_checking(&mut self, torrent: TorrentId) {
        let Some(mut checking) = self.checking.remove(&torrent) else { return };
        let storage = Arc::clone(&checking.storage);
        if checking.kind.is_some() || self.checks.take_back(checking.number) {
            return self.close(&storage, torrent);
        }
        checking.cancel.store(true, Ordering::Relaxed);
        storage.interrupt(torrent);
        if checking.first {
            self.cancelled.insert(checking.number, storage);
            let report = SyncReport::default();
            (self.report)(DiskDone::Closed { torrent, report });
        } else {
            checking.jobs.push_back(DiskJob::Close { torrent });
            self.checking.insert(torrent, checking);
        }
    }

    fn checked(&mut self, checked: Checked) {
        let Checked { number, torrent, result } = checked;
        if let Some(storage) = self.cancelled.remove(&number) {
            if result.is_ok() {
                // It was through before it could be ended.
                let report = storage.close_torrent(torrent, true);
                (self.report)(DiskDone::Pieces(Report::Synced(report)));
            }
            return self.begin_checks();
        }
        let Some(checking) = self.checking.remove(&torrent) else { return };
        if !checking.cancel.load(Ordering::Relaxed) {
            (self.report)(DiskDone::Opened { torrent, result });
        }
        for job in checking.jobs {
            self.job(&checking.storage, job);
        }
    }
}

impl Chores for Writer {
    type Job = Task;

    fn run(&mut self, task: Task) -> ControlFlow<()> {
        match task {
            Task::Job(storage, job) => self.job(&storage, job),
            Task::Checked(checked) => self.checked(checked),
            Task::End => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn idle(&mut self) {}

    fn sync_at(&self) -> Option<Instant> {
        self.workers.iter().filter_map(PieceWorker::sync_at).min()
    }

    fn sync_due(&mut self, now: Instant) {
        for worker in &mut self.workers {
            if worker.sync_at().is_some_and(|at| at <= now) {
                let report = Report::Synced(worker.sync());
                (self.report)(DiskDone::Pieces(report));
            }
        }
    }
}

impl DiskJob {
    fn torrent(&self) -> TorrentId {
        match self {
            DiskJob::Open { torrent, .. }
            | DiskJob::Want { torrent, .. }
            | DiskJob::Close { torrent } => *torrent,
            DiskJob::Pieces(job) => job.torrent(),
        }
    }
}
