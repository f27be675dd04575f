//! The threads that use the disk. `disk` writes pieces, gives finished files their names and syncs
//! when that is due ([`dunlin_disk::pieces`]); `check-N` open torrents and check what is there;
//! `serve` reads for others. Hashing runs on the pool. They decide nothing, and never speak to the
//! engine: what they have done goes back to the loop.
//!
//! ```text
//!   loop ── Pieces ──────▶ disk ─────────────────────▶ Pieces ─▶ loop
//!        ── Open, Want ──▶ disk ──▶ check-N ──▶ disk ─▶ Opened ─▶ loop
//!        ── Close ───────▶ disk ─────────────────────▶ Closed ─▶ loop
//!        ── ReadJob ─────▶ serve ────────────────────▶ Read ───▶ loop
//! ```
//!
//! The jobs of one torrent keep their order: what comes while it is checked waits for the check,
//! but not the other torrents' jobs, and not a `Close`, which ends the check.

mod checks;
pub(crate) mod serve;
mod writer;

use dunlin_base::{PieceKey, TorrentId};
use dunlin_disk::pieces::{self, work};
use dunlin_disk::{DiskError, Opened, Storage, SyncReport, TorrentPlan};
use dunlin_engine::io::LocalError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use writer::{Task, Writer};

/// Something to do for a torrent.
pub(crate) enum DiskJob {
    /// Open a torrent, or open it again and hash everything.
    Open { torrent: TorrentId, plan: Box<TorrentPlan>, again: bool },
    /// Other files are wanted.
    Want { torrent: TorrentId, wanted: Vec<bool> },
    /// Something to do with a piece, or with a file whose pieces are all here.
    Pieces(pieces::Job),
    /// Make a torrent durable and close it. A check that is under way ends.
    Close { torrent: TorrentId },
}

/// What the threads have done.
#[derive(Debug)]
pub(crate) enum DiskDone {
    /// A check goes on: bytes hashed, and to be hashed.
    Checking { torrent: TorrentId, done: u64, total: u64 },
    /// A torrent is open, or not.
    Opened { torrent: TorrentId, result: Result<Opened, DiskError> },
    /// What came of a piece job, or of a sync.
    Pieces(pieces::Report),
    /// A torrent is closed.
    Closed { torrent: TorrentId, report: SyncReport },
    /// What was read for others.
    Read(serve::ReadDone),
    /// The hashes of a piece's blocks.
    BlockHashes { key: PieceKey, hashes: Vec<[u8; 32]> },
}

/// Where the threads report to.
pub(crate) type Reporter = Arc<dyn Fn(DiskDone) + Send + Sync>;

/// The threads, and the way to them.
pub(crate) struct Disk {
    tasks: Sender<Task>,
    reads: Option<Sender<serve::ReadJob>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// A disk error as the engine receives it.
pub(crate) fn local(error: &DiskError) -> LocalError {
    LocalError { message: error.to_string(), disk_full: error.is_full() }
}

impl Disk {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system gives none.
    pub(crate) fn start(report: Reporter) -> std::io::Result<Disk> {
        let (tasks, queue) = channel();
        let (reads, wanted) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let spawn = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let mut writer = Writer::start(&report, &tasks, &stop)?;
        let threads = vec![
            spawn("disk").spawn(move || work(&mut writer, &queue))?,
            spawn("serve").spawn(move || serve::run(&wanted, &report))?,
        ];
        Ok(Disk { tasks, reads: Some(reads), stop, threads })
    }

    /// Gives the threads something to do.
    pub(crate) fn submit(&self, storage: &Arc<Storage>, job: DiskJob) {
        // The thread lives as long as this does.
        let _ = self.tasks.send(Task::Job(Arc::clone(storage), job));
    }

    /// Has something read for others.
    pub(crate) fn read(&self, job: serve::ReadJob) {
        if let Some(reads) = &self.reads {
            let _ = reads.send(job);
        }
    }

    /// Set when no check is needed any more.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Ends all checks.
    pub(crate) fn interrupt(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.interrupt();
        let _ = self.tasks.send(Task::End);
        self.reads = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a disk thread has panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests;
