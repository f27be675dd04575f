//! The threaded driver over memory: the tracker has a thread, and every peer rank has three: its
//! state machine (`r3`), `r3-download` and `r3-upload`.
//!
//! Frames go straight into the receiver's inbox. Inboxes have no bound of their own, and need none:
//! payload in them is charged to the budget before it is read, requests are bounded by the engine's
//! windows, and all else is a few messages a piece. A bound would let two ranks wait for each
//! other. Every wait is a blocking receive with the exact next deadline; no thread spins.

use super::RunOutcome;
use super::rank_threads::{Outbound, RankThreads, start_rank};
use crate::control::RunControl;
use crate::frame::{Frame, Sent};
use crate::peer::{Arrival, RankSetup};
use crate::report::RunError;
use crate::tracker::{Tracker, TrackerArrival, tracker_loop};
use dunlin_base::{Rank, Time};
use dunlin_control::Control;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::Instant;

/// Everyone's inboxes.
struct Inboxes {
    start: Instant,
    tracker: Sender<TrackerArrival>,
    /// The lowest rank that is a peer: 0 or 1.
    first: Rank,
    /// By rank, from `first`.
    peers: Vec<Sender<Arrival>>,
}

impl Inboxes {
    fn of(&self, rank: Rank) -> Option<&Sender<Arrival>> {
        self.peers.get(rank.0.checked_sub(self.first.0)? as usize)
    }
}

impl Outbound for Inboxes {
    fn now(&self) -> Time {
        Time::from_duration(self.start.elapsed())
    }

    fn send(&self, from: Rank, to: Rank, frame: Frame, sent: Option<Sent>) {
        match frame {
            Frame::Control(message) if message.is_for_tracker() => {
                let _ = self.tracker.send(TrackerArrival::Message { from, message });
            }
            frame => self.deliver(to, Arrival::Frame { from, frame }),
        }
        sent.into_iter().for_each(|sent| sent(true));
    }

    fn deliver(&self, rank: Rank, arrival: Arrival) {
        if let Some(inbox) = self.of(rank) {
            let _ = inbox.send(arrival);
        }
    }

    fn rank_lost(&self, rank: Rank) {
        let _ = self.tracker.send(TrackerArrival::Lost { rank });
    }
}

/// Runs a swarm until everyone has stopped.
pub(crate) fn run(ranks: Vec<RankSetup>, tracker: Tracker, control: &RunControl) -> RunOutcome {
    let (to_tracker, tracker_inbox) = channel();
    let (senders, receivers): (Vec<_>, Vec<_>) = ranks.iter().map(|_| channel()).unzip();
    let start = Instant::now();
    let first = ranks.first().map_or(Rank(1), |rank| rank.setup.config.rank);
    let inboxes = Arc::new(Inboxes { start, tracker: to_tracker.clone(), first, peers: senders });
    control.attach(to_tracker);
    let mut errors = Vec::new();
    let mut threads = Vec::new();
    for (rank, inbox) in ranks.into_iter().zip(receivers) {
        match start_rank(rank, inbox, &inboxes) {
            Ok(started) => threads.push(started),
            Err(error) => {
                errors.push(RunError::Internal(format!(
                    "no more threads ({error}); raise the process limit (ulimit -u)"
                )));
                break;
            }
        }
    }
    let tracker =
        if errors.is_empty() { run_tracker(tracker, tracker_inbox, &inboxes) } else { None };
    if tracker.is_none() && errors.is_empty() {
        errors.push(RunError::Internal("the tracker's thread failed; please report it".into()));
    }
    control.detach();
    for inbox in &inboxes.peers {
        let _ = inbox.send(Arrival::Stop);
    }
    let peers = threads.into_iter().map(RankThreads::join).collect();
    RunOutcome { peers, tracker, at: inboxes.now(), errors }
}

fn run_tracker(
    tracker: Tracker,
    inbox: Receiver<TrackerArrival>,
    inboxes: &Arc<Inboxes>,
) -> Option<Tracker> {
    let inboxes = Arc::clone(inboxes);
    let thread = Builder::new().name("tracker".into()).spawn(move || {
        let send = |to: Rank, control: Control| {
            inboxes.send(Rank::TRACKER, to, Frame::Control(control), None);
        };
        tracker_loop(tracker, &inbox, &send, &|| inboxes.now())
    });
    thread.ok()?.join().ok()
}
