//! Rank 0: the tracker. The engine's coordinator decides; this module records the coordinator's
//! messages in the trace, and runs it on a thread of its own in the threaded drivers.

use crate::trace::{TraceLine, TraceSink, classic_control};
use dunlin_base::{FileIndex, Rank, Time, TorrentId};
use dunlin_control::{Control, Refresh};
use dunlin_engine::cluster::coordinator::{Coordinator, CoordinatorConfig};
use dunlin_engine::config::RefreshScope;
use dunlin_engine::io::{CoordinatorInput, CoordinatorOutput, Wake};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};

/// Something that came in for the tracker.
#[derive(Debug)]
pub enum TrackerArrival {
    /// A message of a peer.
    Message {
        /// The sender.
        from: Rank,
        /// The message.
        message: Control,
    },
    /// A rank is known to be gone.
    Lost {
        /// The rank.
        rank: Rank,
    },
    /// A rank has reported that it stops.
    Withdrawn {
        /// The rank.
        rank: Rank,
    },
    /// A rank lives, though it sent nothing to the tracker.
    Alive {
        /// The rank.
        rank: Rank,
    },
    /// The time that `next_timeout` named has come.
    Timeout,
    /// A person stops the run.
    Interrupt,
}

/// The tracker: the coordinator and its records.
pub struct Tracker {
    coordinator: Coordinator,
    trace: Option<TraceSink>,
    /// What a refresh of the run asks for.
    scope: RefreshScope,
    names: BTreeMap<TorrentId, Vec<String>>,
    /// The files that a rank has completed, for the trace of refreshes with scope `all`.
    complete: BTreeSet<(Rank, TorrentId, FileIndex)>,
    sends: VecDeque<(Rank, Control)>,
    finished: bool,
}

impl Tracker {
    /// The tracker of a run.
    #[must_use]
    pub fn new(
        config: CoordinatorConfig,
        scope: RefreshScope,
        trace: Option<TraceSink>,
    ) -> Tracker {
        Tracker {
            coordinator: Coordinator::new(config),
            trace,
            scope,
            names: BTreeMap::new(),
            complete: BTreeSet::new(),
            sends: VecDeque::new(),
            finished: false,
        }
    }

    /// Takes what came in at `now`.
    pub fn handle(&mut self, now: Time, arrival: TrackerArrival) {
        let input = match arrival {
            TrackerArrival::Message { from, message } => {
                self.trace_line(now, from, &message);
                CoordinatorInput::Message { from, message }
            }
            TrackerArrival::Lost { rank } => CoordinatorInput::Lost { rank },
            TrackerArrival::Withdrawn { rank } => CoordinatorInput::Withdrawn { rank },
            TrackerArrival::Alive { rank } => CoordinatorInput::Alive { rank },
            TrackerArrival::Timeout => CoordinatorInput::Timeout,
            TrackerArrival::Interrupt => CoordinatorInput::Interrupt,
        };
        self.coordinator.handle(now, input);
        while let Some(output) = self.coordinator.poll() {
            match output {
                CoordinatorOutput::Send { to, message } => {
                    if let Control::Start(go) = &message
                        && self.trace.is_some()
                    {
                        for assignment in &go.torrents {
                            let names = || assignment.names.clone();
                            self.names.entry(assignment.torrent).or_insert_with(names);
                        }
                    }
                    self.sends.push_back((to, message));
                }
                CoordinatorOutput::Finished => self.finished = true,
            }
        }
    }

    /// The next message to send.
    pub fn poll(&mut self) -> Option<(Rank, Control)> {
        self.sends.pop_front()
    }

    /// Whether the run is over. What `poll` still gives must be sent first.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// When to pass [`TrackerArrival::Timeout`], and why.
    #[must_use]
    pub fn next_timeout(&self) -> Wake {
        if self.finished { None } else { self.coordinator.next_timeout() }
    }

    /// The coordinator, for outcome, dump and checks.
    #[must_use]
    pub fn coordinator(&self) -> &Coordinator {
        &self.coordinator
    }

    fn file(&self, torrent: TorrentId, file: FileIndex) -> Option<&str> {
        self.names.get(&torrent)?.get(file.index()).map(String::as_str)
    }

    /// The files that a refresh asks for: of each torrent the first, which stands for it; with
    /// scope `all` each that the rank has not completed.
    fn refreshed<'a>(&'a self, from: Rank, refresh: &'a Refresh) -> Vec<&'a str> {
        let torrents = refresh.torrents.iter().map(|(torrent, _)| *torrent);
        match self.scope {
            RefreshScope::File => {
                torrents.filter_map(|torrent| self.file(torrent, FileIndex(0))).collect()
            }
            RefreshScope::All => {
                let names = |torrent| self.names.get(&torrent).map_or(&[][..], Vec::as_slice);
                let files = torrents.flat_map(|torrent| {
                    (0..).map(FileIndex).zip(names(torrent)).map(move |of| (torrent, of))
                });
                let open = files.filter(|(torrent, (file, _))| {
                    !self.complete.contains(&(from, *torrent, *file))
                });
                open.map(|(_, (_, name))| name.as_str()).collect()
            }
        }
    }

    fn trace_line(&mut self, now: Time, from: Rank, message: &Control) {
        match message {
            // It may have come back with less than it had.
            Control::Register(_) => self.complete.retain(|(rank, ..)| *rank != from),
            Control::FileComplete { torrent, files } if self.trace.is_some() => {
                self.complete.extend(files.iter().map(|file| (from, *torrent, *file)));
            }
            _ => {}
        }
        let Some(trace) = &self.trace else { return };
        let mut line = TraceLine::new(now, from, Rank::TRACKER, message.name());
        line.classic = classic_control(message);
        match message {
            Control::Lookup { name } => line.files = vec![name],
            Control::Refresh(refresh) => {
                line.forced = Some(refresh.forced);
                line.files = self.refreshed(from, refresh);
            }
            Control::Load(load) => {
                line.load = Some(load.served.saturating_add(load.in_flight));
            }
            Control::FileComplete { torrent, files } => {
                line.files = files.iter().filter_map(|file| self.file(*torrent, *file)).collect();
            }
            _ => {}
        }
        trace.write(&line);
    }
}

/// The thread `tracker`: runs until the run is over.
pub(crate) fn tracker_loop(
    mut tracker: Tracker,
    inbox: &Receiver<TrackerArrival>,
    send: &dyn Fn(Rank, Control),
    now: &dyn Fn() -> Time,
) -> Tracker {
    loop {
        while let Some((to, message)) = tracker.poll() {
            send(to, message);
        }
        if tracker.finished() {
            return tracker;
        }
        let wake = tracker.next_timeout().map(|(at, _)| at);
        let arrival = match next(inbox, wake, now) {
            Some(arrival) => arrival,
            None => return tracker,
        };
        tracker.handle(now(), arrival);
    }
}

/// The next arrival, or the timeout if its time has come first; `None` if nothing can come any
/// more.
fn next(
    inbox: &Receiver<TrackerArrival>,
    wake: Option<Time>,
    now: &dyn Fn() -> Time,
) -> Option<TrackerArrival> {
    if wake.is_some_and(|at| at <= now()) {
        return Some(TrackerArrival::Timeout);
    }
    match inbox.try_recv() {
        Ok(arrival) => return Some(arrival),
        Err(TryRecvError::Disconnected) => return None,
        Err(TryRecvError::Empty) => {}
    }
    let Some(at) = wake else { return inbox.recv().ok() };
    match inbox.recv_timeout(at.since(now())) {
        Ok(arrival) => Some(arrival),
        Err(RecvTimeoutError::Timeout) => Some(TrackerArrival::Timeout),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}
