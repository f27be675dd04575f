//! The thread of a rank's download side. What a job does is the business of `download`.

use super::{DownloadDone, DownloadJob, Downloader};
use dunlin_disk::pieces::{self, Chores};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The progress of checking is reported this often: the tracker only needs to see that it goes on.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Where the download thread reports to. The pool's callbacks report for it.
pub(crate) type SendDone = Arc<dyn Fn(DownloadDone) + Send + Sync>;

/// The thread `r<R>-download`: runs until its rank has all that it wants or the run is over, which
/// closes it, or until its jobs end.
pub(crate) fn download_loop(
    downloader: Downloader,
    jobs: &Receiver<DownloadJob>,
    report: &SendDone,
) {
    let of_pieces: pieces::Reporter = {
        let report = Arc::clone(report);
        Arc::new(move |done| report(DownloadDone::Pieces(done)))
    };
    pieces::work(&mut DownloadChores { downloader, report: Arc::clone(report), of_pieces }, jobs);
}

struct DownloadChores {
    downloader: Downloader,
    report: SendDone,
    /// The same for pieces.
    of_pieces: pieces::Reporter,
}

impl DownloadChores {
    fn flush(&mut self) {
        self.downloader.pieces.flush(self.downloader.content.pool(), &self.of_pieces);
    }

    fn sync(&mut self) {
        (self.report)(self.downloader.sync());
    }
}

impl Chores for DownloadChores {
    type Job = DownloadJob;

    fn run(&mut self, job: DownloadJob) -> ControlFlow<()> {
        if let DownloadJob::Pieces(job) = job {
            self.downloader.pieces.take(job, self.downloader.content.pool(), &self.of_pieces);
            return ControlFlow::Continue(());
        }
        self.flush();
        let last = matches!(job, DownloadJob::Close);
        if let Some(done) = self.downloader.run(job, &mut throttled(&self.report)) {
            (self.report)(done);
        }
        if last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn idle(&mut self) {
        self.flush();
        if self.downloader.pieces.hurries() {
            self.sync();
        }
    }

    fn sync_at(&self) -> Option<Instant> {
        self.downloader.pieces.sync_at()
    }

    fn sync_due(&mut self, _now: Instant) {
        self.flush();
        self.sync();
    }
}

/// Reports progress now and then.
fn throttled(report: &SendDone) -> impl FnMut(u64, u64) {
    let report = Arc::clone(report);
    let mut last = None::<Instant>;
    move |done, total| {
        if last.is_none_or(|last| last.elapsed() >= PROGRESS_EVERY) {
            last = Some(Instant::now());
            report(DownloadDone::Checking { done, total });
        }
    }
}
