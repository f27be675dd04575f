//! The thread of a rank's download side: takes jobs in order, hands whole pieces to the hashing pool several
//! at a time, and syncs when that is due. What a job does is the business of `download`.

use super::{DownloadDone, DownloadJob, Downloader, Expected};
use dunlin_base::{PieceIndex, TorrentId};
use dunlin_hash::HashJob;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

/// Syncs may take this part of the time at most when finished files keep coming: one in three.
const SYNC_SHARE: u32 = 2;
/// Pieces handed to the pool in one batch: as many as hashing side by side can use.
const VERIFY_BATCH: usize = 16;
/// Progress of checking is told this often: the tracker only needs to see that it goes on.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Where the download thread reports to. The pool's callbacks report for it.
pub(crate) type Report = Arc<dyn Fn(DownloadDone) + Send + Sync>;

/// The thread `r<R>-download`: runs until its rank has all that it wants or the run is over, which
/// closes it, or until its jobs end.
pub(crate) fn download_loop(
    mut downloader: Downloader,
    jobs: &Receiver<DownloadJob>,
    report: &Report,
) {
    let mut batch = Vec::new();
    let mut pace = Pace::default();
    loop {
        let next = match jobs.try_recv() {
            Ok(job) => Some(job),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {
                submit(&downloader, &mut batch, report);
                if downloader.hurries() {
                    report(pace.sync(&mut downloader));
                }
                match wait(jobs, pace.deadline(&downloader)) {
                    Ok(job) => job,
                    Err(()) => return,
                }
            }
        };
        match next {
            Some(DownloadJob::Verify {
                torrent,
                piece,
                parts,
                expected: Expected::Sha1 { hash, zeros },
            }) => {
                batch.push((torrent, piece, hash, HashJob { parts, zeros }));
                if batch.len() >= VERIFY_BATCH {
                    submit(&downloader, &mut batch, report);
                }
                continue;
            }
            Some(job) => {
                submit(&downloader, &mut batch, report);
                let last = matches!(job, DownloadJob::Close);
                if let Some(done) = downloader.run(job, &mut throttled(report)) {
                    report(done);
                }
                if last {
                    return;
                }
            }
            None => {}
        }
        if pace.deadline(&downloader).is_some_and(|at| at <= Instant::now()) {
            report(pace.sync(&mut downloader));
        }
    }
}

/// The next job; `None` if the deadline came first.
fn wait(
    jobs: &Receiver<DownloadJob>,
    deadline: Option<Instant>,
) -> Result<Option<DownloadJob>, ()> {
    let Some(deadline) = deadline else { return jobs.recv().map(Some).map_err(drop) };
    match jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(job) => Ok(Some(job)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(RecvTimeoutError::Disconnected) => Err(()),
    }
}

type Verifying = (TorrentId, PieceIndex, [u8; 20], HashJob);

/// Hands the collected pieces to the pool; nobody waits for it here.
fn submit(downloader: &Downloader, batch: &mut Vec<Verifying>, report: &Report) {
    if batch.is_empty() {
        return;
    }
    let mut jobs = Vec::with_capacity(batch.len());
    let mut expected = Vec::with_capacity(batch.len());
    for (torrent, piece, hash, job) in batch.drain(..) {
        expected.push((torrent, piece, hash));
        jobs.push(job);
    }
    let report = Arc::clone(report);
    let done = move |hashes: Vec<[u8; 20]>| {
        for ((torrent, piece, hash), found) in expected.into_iter().zip(hashes) {
            report(DownloadDone::Hashed { torrent, piece, matches: hash == found });
        }
    };
    downloader.content.pool().submit(jobs, Box::new(done));
}

/// Tells of progress now and then.
fn throttled(report: &Report) -> impl FnMut(u64, u64) {
    let report = Arc::clone(report);
    let mut last = None::<Instant>;
    move |done, total| {
        if last.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY) {
            last = Some(Instant::now());
            report(DownloadDone::Checking { done, total });
        }
    }
}

/// When to sync: when the disk says that it is due, and when a file is whole; but no more often than
/// [`SYNC_SHARE`] allows while other pieces come.
#[derive(Default)]
struct Pace {
    finish_at: Option<Instant>,
    last_end: Option<Instant>,
    last_took: Duration,
}

impl Pace {
    fn deadline(&mut self, downloader: &Downloader) -> Option<Instant> {
        if !downloader.finishing {
            self.finish_at = None;
        } else if self.finish_at.is_none() {
            // While a sync goes on, and for a while after it, more files are finished: they come in
            // crowds, and one sync is for all of them.
            let now = Instant::now();
            let rested = self.last_end.map(|end| end + self.last_took * SYNC_SHARE);
            self.finish_at = Some(rested.map_or(now, |rested| rested.max(now)));
        }
        let due = downloader.content.due();
        [self.finish_at, due].into_iter().flatten().min()
    }

    fn sync(&mut self, downloader: &mut Downloader) -> DownloadDone {
        let start = Instant::now();
        let done = downloader.sync();
        self.finish_at = None;
        self.last_took = start.elapsed();
        self.last_end = Some(Instant::now());
        done
    }
}
