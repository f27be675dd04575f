//! The threaded driver over memory: the tracker has a thread, and every peer rank has three: its
//! state machine (`r3`), `r3-download` and `r3-upload`.
//!
//! Frames go straight into the receiver's inbox. Inboxes have no bound of their own, and need none:
//! payload in them is charged to the budget before it is read, requests are bounded by the engine's
//! windows, and all else is a few messages a piece. A bound would let two ranks wait for each
//! other. Whoever waits, waits in a blocking receive with the exact next deadline; nobody spins.

use super::{Ended, Seat};
use crate::content::Synced;
use crate::control::RunControl;
use crate::download::{DownloadDone, DownloadJob, Downloader, Report, download_loop};
use crate::frame::Frame;
use crate::peer::{Arrival, Effect, Peer};
use crate::report::{PeerReport, RunError};
use crate::tracker::{Tracker, TrackerArrival, tracker_loop};
use crate::upload::{UploadJob, UploadPorts, Uploader, upload_loop};
use dunlin_base::{Rank, Time};
use dunlin_tracker::Control;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// Stack of a rank's threads in bytes: nothing recurses, and hundreds of ranks must fit.
const STACK: usize = 512 * 1024;

/// Everyone's inboxes.
struct Post {
    start: Instant,
    tracker: Sender<TrackerArrival>,
    /// By rank, from rank 1.
    peers: Vec<Sender<Arrival>>,
}

impl Post {
    fn now(&self) -> Time {
        Time::from_duration(self.start.elapsed())
    }

    fn inbox(&self, rank: Rank) -> Option<&Sender<Arrival>> {
        self.peers.get((rank.0 as usize).checked_sub(1)?)
    }

    /// A frame for somebody who is gone is dropped, and its memory is given back.
    fn send(&self, from: Rank, to: Rank, frame: Frame) {
        if to == Rank::TRACKER {
            if let Frame::Control(message) = frame {
                let _ = self.tracker.send(TrackerArrival::Message { from, message });
            }
        } else {
            self.arrive(to, Arrival::Frame { from, frame });
        }
    }

    fn arrive(&self, rank: Rank, arrival: Arrival) {
        if let Some(inbox) = self.inbox(rank) {
            let _ = inbox.send(arrival);
        }
    }
}

/// Tells everyone when a thread of a rank dies of a defect, so that nobody waits for it.
struct Alarm {
    rank: Rank,
    post: Arc<Post>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.post.tracker.send(TrackerArrival::Lost { rank: self.rank });
            self.post.arrive(self.rank, Arrival::Stop);
            let closed = DownloadDone::Closed(Synced::default());
            self.post.arrive(self.rank, Arrival::Downloaded(closed));
        }
    }
}

/// The threads of one rank.
struct Threads {
    rank: Rank,
    state: JoinHandle<PeerReport>,
    helpers: Vec<JoinHandle<()>>,
}

/// Runs a swarm until everyone has stopped.
pub(crate) fn run(seats: Vec<Seat>, tracker: Tracker, control: &RunControl) -> Ended {
    let (to_tracker, tracker_inbox) = channel();
    let (inboxes, receivers): (Vec<_>, Vec<_>) = seats.iter().map(|_| channel()).unzip();
    let start = Instant::now();
    let post = Arc::new(Post { start, tracker: to_tracker.clone(), peers: inboxes });
    control.attach(to_tracker);
    let mut errors = Vec::new();
    let mut threads = Vec::new();
    for (seat, inbox) in seats.into_iter().zip(receivers) {
        match start_rank(seat, inbox, &post) {
            Ok(rank) => threads.push(rank),
            Err(error) => {
                errors.push(RunError::Internal(format!(
                    "no more threads ({error}); raise the process limit (ulimit -u)"
                )));
                break;
            }
        }
    }
    let tracker = if errors.is_empty() { run_tracker(tracker, tracker_inbox, &post) } else { None };
    if tracker.is_none() && errors.is_empty() {
        errors.push(RunError::Internal("the tracker's thread failed; please report it".into()));
    }
    control.detach();
    for inbox in &post.peers {
        let _ = inbox.send(Arrival::Stop);
    }
    let mut peers = Vec::new();
    for Threads { rank, state, helpers } in threads {
        peers.push(state.join().unwrap_or_else(|_| PeerReport::lost(rank)));
        for helper in helpers {
            // A helper that died of a defect has told so by its alarm.
            let _ = helper.join();
        }
    }
    Ended { peers, tracker, at: post.now(), errors }
}

fn run_tracker(
    tracker: Tracker,
    inbox: Receiver<TrackerArrival>,
    post: &Arc<Post>,
) -> Option<Tracker> {
    let post = Arc::clone(post);
    let thread = Builder::new().name("tracker".into()).spawn(move || {
        let send = |to: Rank, control: Control| {
            post.send(Rank::TRACKER, to, Frame::Control(control));
        };
        tracker_loop(tracker, &inbox, &send, &|| post.now())
    });
    thread.ok()?.join().ok()
}

fn start_rank(seat: Seat, inbox: Receiver<Arrival>, post: &Arc<Post>) -> io::Result<Threads> {
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
    let uploader = Uploader::new(seat.content, &seat.setup.faults);
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
    let (ports, guard) = (upload_ports(rank, post), alarm());
    let uploads = thread(format!("r{rank}-upload")).spawn(move || {
        let _guard = guard;
        upload_loop(uploader, &upload_jobs, &ports);
    })?;
    let (peer, guard, post) = (Peer::new(seat.setup), alarm(), Arc::clone(post));
    let state = thread(format!("r{rank}")).spawn(move || {
        let _guard = guard;
        peer_loop(peer, &inbox, &post, &download, &upload)
    })?;
    Ok(Threads { rank, state, helpers: vec![downloads, uploads] })
}

fn upload_ports(rank: Rank, post: &Arc<Post>) -> UploadPorts {
    let (send, report, now) = (Arc::clone(post), Arc::clone(post), Arc::clone(post));
    UploadPorts {
        send: Box::new(move |to, frame| send.send(rank, to, frame)),
        report: Box::new(move |done| report.arrive(rank, Arrival::Uploaded(done))),
        now: Box::new(move || now.now()),
    }
}

/// The thread `r<R>`: runs the state machine until it is over.
fn peer_loop(
    mut peer: Peer,
    inbox: &Receiver<Arrival>,
    post: &Post,
    download: &Sender<DownloadJob>,
    upload: &Sender<UploadJob>,
) -> PeerReport {
    loop {
        while let Some(effect) = peer.poll() {
            match effect {
                Effect::Send { to, frame } => post.send(peer.rank(), to, frame),
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
fn next(inbox: &Receiver<Arrival>, wake: Option<Time>, post: &Post) -> Option<Arrival> {
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
