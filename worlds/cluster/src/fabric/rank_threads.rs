//! The threads of one peer rank in the threaded drivers: its state machine (`r3`), `r3-download` and
//! `r3-upload`. What carries frames is the driver's business: here it is a [`Post`].

use crate::content::{Content, Synced};
use crate::download::{DownloadDone, DownloadJob, Downloader, Report, download_loop};
use crate::frame::{Frame, Sent};
use crate::peer::{Arrival, Effect, Peer, RankSetup};
use crate::report::PeerReport;
use crate::upload::{UploadJob, UploadPorts, Uploader, upload_loop};
use dunlin_base::{Rank, Time};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};

/// Stack of a rank's threads in bytes: nothing recurses, and hundreds of ranks must fit.
const STACK: usize = 512 * 1024;

/// What a rank's threads need of their driver. None of it blocks.
pub(crate) trait Post: Send + Sync + 'static {
    /// The time of the run.
    fn now(&self) -> Time;

    /// Sends a frame. One for somebody who is gone is dropped, and its memory is given back. `sent` is
    /// told once, from any thread, whether the network has it.
    fn send(&self, from: Rank, to: Rank, frame: Frame, sent: Option<Sent>);

    /// Puts something into the inbox of a rank of this process.
    fn arrive(&self, rank: Rank, arrival: Arrival);

    /// A thread of the rank has died of a defect.
    fn lost(&self, rank: Rank);

    /// The rank's state machine is over.
    fn over(&self, _rank: Rank) {}
}

/// Tells everyone when a thread of a rank dies of a defect, so that nobody waits for it.
struct Alarm<P: Post> {
    rank: Rank,
    post: Arc<P>,
}

impl<P: Post> Drop for Alarm<P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.post.lost(self.rank);
            self.post.arrive(self.rank, Arrival::Stop);
            let closed = DownloadDone::Closed(Synced::default());
            self.post.arrive(self.rank, Arrival::Downloaded(closed));
        }
    }
}

/// The threads of one rank.
pub(crate) struct Threads {
    rank: Rank,
    state: JoinHandle<PeerReport>,
    helpers: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Whether the rank's state machine is over.
    pub(crate) fn ended(&self) -> bool {
        self.state.is_finished()
    }

    /// Waits until the rank is over; what it came to.
    pub(crate) fn join(self) -> PeerReport {
        let report = self.state.join().unwrap_or_else(|_| PeerReport::lost(self.rank));
        for helper in self.helpers {
            // A helper that died of a defect has told so by its alarm.
            let _ = helper.join();
        }
        report
    }
}

/// Starts the threads of a rank.
///
/// # Errors
/// If the operating system gives no more threads.
pub(crate) fn start_rank<P: Post>(
    seat: RankSetup,
    inbox: Receiver<Arrival>,
    post: &Arc<P>,
) -> io::Result<Threads> {
    let rank = seat.setup.config.rank;
    let owner = u64::from(rank.0);
    let waker = |arrival: fn() -> Arrival| {
        let post = Arc::clone(post);
        Box::new(move || post.arrive(rank, arrival()))
    };
    seat.setup.budget.set_waker(owner, waker(|| Arrival::MemoryFree));
    seat.setup.budget.set_pressure(owner, waker(|| Arrival::MemoryWanted));
    let (download, download_jobs) = channel();
    let (upload, upload_jobs) = channel();
    let downloader = Downloader::new(Arc::clone(&seat.content));
    let uploader =
        Uploader::new(Arc::clone(&seat.content), &seat.setup.faults, seat.setup.max_rate);
    let thread = |name: String| Builder::new().name(name).stack_size(STACK);
    let alarm = || Alarm { rank, post: Arc::clone(post) };
    let report: Report = {
        let post = Arc::clone(post);
        Arc::new(move |done| post.arrive(rank, Arrival::Downloaded(done)))
    };
    let guard = alarm();
    let downloads = thread(format!("r{rank}-download")).spawn(move || {
        let _guard = guard;
        download_loop(downloader, &download_jobs, &report);
    })?;
    let (ports, guard) = (upload_ports(rank, post, upload.clone()), alarm());
    let uploads = thread(format!("r{rank}-upload")).spawn(move || {
        let _guard = guard;
        upload_loop(uploader, &upload_jobs, &ports);
    })?;
    let content = seat.content;
    let (peer, guard, post) = (Peer::new(seat.setup), alarm(), Arc::clone(post));
    // Its thread holds an end of its own queue, and must be told.
    let end = EndOfUploads(upload.clone());
    let state = thread(format!("r{rank}")).spawn(move || {
        let (_guard, _end) = (guard, end);
        let report = peer_loop(peer, &inbox, &*post, &download, &upload, &content);
        post.over(rank);
        report
    })?;
    Ok(Threads { rank, state, helpers: vec![downloads, uploads] })
}

/// Ends the upload side when the rank's state machine is over, however that ends.
struct EndOfUploads(Sender<UploadJob>);

impl Drop for EndOfUploads {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.send(UploadJob::End);
    }
}

fn upload_ports<P: Post>(rank: Rank, post: &Arc<P>, jobs: Sender<UploadJob>) -> UploadPorts {
    let (send, report, now) = (Arc::clone(post), Arc::clone(post), Arc::clone(post));
    UploadPorts {
        send: Box::new(move |to, frame, sent| send.send(rank, to, frame, Some(sent))),
        jobs,
        report: Box::new(move |done| report.arrive(rank, Arrival::Uploaded(done))),
        now: Box::new(move || now.now()),
    }
}

/// The thread `r<R>`: runs the state machine until it is over.
fn peer_loop(
    mut peer: Peer,
    inbox: &Receiver<Arrival>,
    post: &impl Post,
    download: &Sender<DownloadJob>,
    upload: &Sender<UploadJob>,
    content: &Content,
) -> PeerReport {
    loop {
        while let Some(effect) = peer.poll() {
            match effect {
                Effect::Send { to, frame } => post.send(peer.rank(), to, frame, None),
                Effect::Download(job) => {
                    let last = matches!(job, DownloadJob::Close);
                    if download.send(job).is_err() && last {
                        let closed = DownloadDone::Closed(Synced::default());
                        peer.handle(post.now(), Arrival::Downloaded(closed));
                    }
                }
                Effect::Upload(job) => {
                    let _ = upload.send(job);
                }
                Effect::Keep => content.keep_at_end(),
                Effect::Finished => return peer.into_report(post.now()),
            }
        }
        let wake = peer.next_timeout().map(|(at, _)| at);
        let Some(arrival) = next(inbox, wake, post) else { return peer.into_report(post.now()) };
        peer.handle(post.now(), arrival);
    }
}

/// The next arrival, or the timeout if its time has come first; `None` if nothing can come any
/// more.
fn next(inbox: &Receiver<Arrival>, wake: Option<Time>, post: &impl Post) -> Option<Arrival> {
    if wake.is_some_and(|at| at <= post.now()) {
        return Some(Arrival::Timeout);
    }
    match inbox.try_recv() {
        Ok(arrival) => return Some(arrival),
        Err(TryRecvError::Disconnected) => return None,
        Err(TryRecvError::Empty) => {}
    }
    let Some(at) = wake else { return inbox.recv().ok() };
    match inbox.recv_timeout(at.since(post.now())) {
        Ok(arrival) => Some(arrival),
        Err(RecvTimeoutError::Timeout) => Some(Arrival::Timeout),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}
