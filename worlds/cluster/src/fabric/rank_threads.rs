//! The threads of one peer rank in the threaded drivers: its state machine (`r3`), `r3-download`
//! and `r3-upload`. What carries frames is the driver's business: here it is an [`Outbound`].

use crate::content::Content;
use crate::download::{DownloadDone, DownloadJob, Downloader, SendDone, download_loop};
use crate::frame::{Frame, Sent};
use crate::peer::{Arrival, Effect, Peer, RankSetup};
use crate::report::PeerReport;
use crate::upload::{UploadJob, UploadPorts, Uploader, upload_loop};
use dunlin_base::{Rank, Time};
use dunlin_disk::SyncReport;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};

/// Stack of a rank's threads in bytes: nothing recurses, and hundreds of ranks must fit.
const STACK: usize = 512 * 1024;

/// The way from a rank's threads to their driver. No call blocks.
pub(crate) trait Outbound: Send + Sync + 'static {
    /// The time of the run.
    fn now(&self) -> Time;

    /// Sends a frame. One for a rank that is gone is dropped, and its memory is given back. `sent`
    /// is called once, from any thread, with whether the network has it.
    fn send(&self, from: Rank, to: Rank, frame: Frame, sent: Option<Sent>);

    /// Puts something into the inbox of a rank of this process.
    fn deliver(&self, rank: Rank, arrival: Arrival);

    /// A thread of the rank has panicked.
    fn rank_lost(&self, rank: Rank);

    /// The rank's state machine is over.
    fn rank_over(&self, _rank: Rank) {}
}

/// Stops the rank when one of its threads panics, and reports it, so that no other rank waits for
/// it.
struct PanicGuard<P: Outbound> {
    rank: Rank,
    outbound: Arc<P>,
}

impl<P: Outbound> Drop for PanicGuard<P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.outbound.rank_lost(self.rank);
            self.outbound.deliver(self.rank, Arrival::Stop);
            let closed = DownloadDone::Closed(SyncReport::default());
            self.outbound.deliver(self.rank, Arrival::Downloaded(closed));
        }
    }
}

/// The threads of one rank.
pub(crate) struct RankThreads {
    rank: Rank,
    state: JoinHandle<PeerReport>,
    helpers: Vec<JoinHandle<()>>,
}

impl RankThreads {
    /// Whether the rank's state machine is over.
    pub(crate) fn ended(&self) -> bool {
        self.state.is_finished()
    }

    /// Waits until the rank is over; what it came to.
    pub(crate) fn join(self) -> PeerReport {
        let report = self.state.join().unwrap_or_else(|_| PeerReport::lost(self.rank));
        for helper in self.helpers {
            // A helper that panicked has reported it by its guard.
            let _ = helper.join();
        }
        report
    }
}

/// Starts the threads of a rank.
///
/// # Errors
/// If the operating system gives no more threads.
pub(crate) fn start_rank<P: Outbound>(
    rank_setup: RankSetup,
    inbox: Receiver<Arrival>,
    outbound: &Arc<P>,
) -> io::Result<RankThreads> {
    let rank = rank_setup.setup.config.rank;
    let owner = u64::from(rank.0);
    let waker = |arrival: fn() -> Arrival| {
        let outbound = Arc::clone(outbound);
        Box::new(move || outbound.deliver(rank, arrival()))
    };
    rank_setup.setup.budget.set_waker(owner, waker(|| Arrival::MemoryFree));
    rank_setup.setup.budget.set_pressure(owner, waker(|| Arrival::MemoryWanted));
    let (download, download_jobs) = channel();
    let (upload, upload_jobs) = channel();
    let downloader = Downloader::new(Arc::clone(&rank_setup.content));
    let uploader = Uploader::new(
        Arc::clone(&rank_setup.content),
        &rank_setup.setup.faults,
        rank_setup.setup.max_rate,
    );
    let thread = |name: String| Builder::new().name(name).stack_size(STACK);
    let guard = || PanicGuard { rank, outbound: Arc::clone(outbound) };
    let report: SendDone = {
        let outbound = Arc::clone(outbound);
        Arc::new(move |done| outbound.deliver(rank, Arrival::Downloaded(done)))
    };
    let download_guard = guard();
    let downloads = thread(format!("r{rank}-download")).spawn(move || {
        let _guard = download_guard;
        download_loop(downloader, &download_jobs, &report);
    })?;
    let (ports, upload_guard) = (upload_ports(rank, outbound, upload.clone()), guard());
    let uploads = thread(format!("r{rank}-upload")).spawn(move || {
        let _guard = upload_guard;
        upload_loop(uploader, &upload_jobs, &ports);
    })?;
    let content = rank_setup.content;
    let (peer, guard, outbound) = (Peer::new(rank_setup.setup), guard(), Arc::clone(outbound));
    // The upload thread holds an end of its own queue, so that it must be ended by a job.
    let end = EndOfUploads(upload.clone());
    let state = thread(format!("r{rank}")).spawn(move || {
        let (_guard, _end) = (guard, end);
        let report = peer_loop(peer, &inbox, &*outbound, &download, &upload, &content);
        outbound.rank_over(rank);
        report
    })?;
    Ok(RankThreads { rank, state, helpers: vec![downloads, uploads] })
}

/// Ends the upload side when the rank's state machine is over, however that ends.
struct EndOfUploads(Sender<UploadJob>);

impl Drop for EndOfUploads {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.0.send(UploadJob::End);
    }
}

fn upload_ports<P: Outbound>(
    rank: Rank,
    outbound: &Arc<P>,
    jobs: Sender<UploadJob>,
) -> UploadPorts {
    let (send, report, now) = (Arc::clone(outbound), Arc::clone(outbound), Arc::clone(outbound));
    UploadPorts {
        send: Box::new(move |to, frame, sent| send.send(rank, to, frame, Some(sent))),
        jobs,
        report: Box::new(move |done| report.deliver(rank, Arrival::Uploaded(done))),
        now: Box::new(move || now.now()),
    }
}

/// The thread `r<R>`: runs the state machine until it is over.
fn peer_loop(
    mut peer: Peer,
    inbox: &Receiver<Arrival>,
    outbound: &impl Outbound,
    download: &Sender<DownloadJob>,
    upload: &Sender<UploadJob>,
    content: &Content,
) -> PeerReport {
    loop {
        while let Some(effect) = peer.poll() {
            match effect {
                Effect::Send { to, frame } => outbound.send(peer.rank(), to, frame, None),
                Effect::Download(job) => {
                    let last = matches!(job, DownloadJob::Close);
                    if download.send(job).is_err() && last {
                        let closed = DownloadDone::Closed(SyncReport::default());
                        peer.handle(outbound.now(), Arrival::Downloaded(closed));
                    }
                }
                Effect::Upload(job) => {
                    let _ = upload.send(job);
                }
                Effect::Keep => content.keep_at_end(),
                Effect::Finished => return peer.into_report(outbound.now()),
            }
        }
        let wake = peer.next_timeout().map(|(at, _)| at);
        let Some(arrival) = next(inbox, wake, outbound) else {
            return peer.into_report(outbound.now());
        };
        peer.handle(outbound.now(), arrival);
    }
}

/// The next arrival, or the timeout if its time has come first; `None` if nothing can come any
/// more.
fn next(
    inbox: &Receiver<Arrival>,
    wake: Option<Time>,
    outbound: &impl Outbound,
) -> Option<Arrival> {
    if wake.is_some_and(|at| at <= outbound.now()) {
        return Some(Arrival::Timeout);
    }
    match inbox.try_recv() {
        Ok(arrival) => return Some(arrival),
        Err(TryRecvError::Disconnected) => return None,
        Err(TryRecvError::Empty) => {}
    }
    let Some(at) = wake else { return inbox.recv().ok() };
    match inbox.recv_timeout(at.since(outbound.now())) {
        Ok(arrival) => Some(arrival),
        Err(RecvTimeoutError::Timeout) => Some(Arrival::Timeout),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}
