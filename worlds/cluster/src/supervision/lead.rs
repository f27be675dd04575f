//! Rank 0 as a process of its own: it runs the tracker over a carrier, shows how far everyone is,
//! takes in who died and who came back, writes the trace of all, and gathers the reports of the
//! ranks. Where it is a peer too, it runs that beside the tracker. It never touches a file of
//! another peer, and decides nothing about pieces.

use super::run_mark::Ending;
use crate::control::{ProgressCell, RankProgress, RankState, RunControl};
use crate::fabric::RunOutcome;
use crate::fabric::process::carrier::{CarrierCommand, CarrierEvent};
use crate::fabric::process::job::{Job, JobEvent, SILENCE};
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::session::{Hello, RankProcess, Session};
use crate::fabric::rank_threads::{Outbound, RankThreads, start_rank};
use crate::frame::{Frame, Sent};
use crate::peer::{Arrival, RankSetup};
use crate::report::{EXIT_FAILED, PeerReport, PeerState, RunError};
use crate::trace::{TraceClock, TraceMerge, TraceSink};
use crate::tracker::{Tracker, TrackerArrival, tracker_loop};
use dunlin_base::{Rank, Time};
use dunlin_disk::Fs;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How often it looks at whether everyone still lives.
const TICK: Duration = Duration::from_millis(100);

/// How a rank died whose process was watched.
const ENDED: &str = "its process ended without a word";
/// How a rank died whose process was not.
const SILENT: &str = "nothing was heard of it any more";

/// Where rank 0's own lines go, and the trace of all.
pub(crate) struct LeadTrace {
    /// What the tracker writes to.
    pub(crate) own: TraceSink,
    /// What a person asked for.
    pub(crate) all: TraceSink,
}

/// The way from the tracker and from rank 0's own peer to everybody.
#[derive(Clone)]
struct LeadOutbound {
    job: Job,
    clock: Arc<TraceClock>,
    tracker: Sender<TrackerArrival>,
    /// The inbox of rank 0's own peer, if it has one.
    inbox: Option<Sender<Arrival>>,
}

impl LeadOutbound {
    /// Delivers a frame for rank 0: to the tracker, or to its own peer.
    fn deliver_frame(&self, from: Rank, frame: Frame) {
        match frame {
            Frame::Control(message) if message.is_for_tracker() => {
                let _ = self.tracker.send(TrackerArrival::Message { from, message });
            }
            frame => self.deliver(Rank::TRACKER, Arrival::Frame { from, frame }),
        }
    }
}

impl Outbound for LeadOutbound {
    fn now(&self) -> Time {
        self.clock.local()
    }

    fn send(&self, from: Rank, to: Rank, frame: Frame, sent: Option<Sent>) {
        if to == Rank::TRACKER {
            self.deliver_frame(from, frame);
            sent.into_iter().for_each(|sent| sent(true));
        } else {
            self.job.send_frame(to, frame, sent);
        }
    }

    fn deliver(&self, _rank: Rank, arrival: Arrival) {
        if let Some(inbox) = &self.inbox {
            let _ = inbox.send(arrival);
        }
    }

    fn rank_lost(&self, rank: Rank) {
        let _ = self.tracker.send(TrackerArrival::Lost { rank });
    }

    fn rank_over(&self, _rank: Rank) {
        let _ = self.job.events().send(JobEvent::Over);
    }
}

/// What rank 0 keeps while the run goes on.
struct Leader<'a> {
    job: &'a Job,
    control: &'a RunControl,
    tracker: Sender<TrackerArrival>,
    progress: BTreeMap<Rank, Arc<ProgressCell>>,
    /// When something of a rank came last.
    last_event: BTreeMap<Rank, Instant>,
    reports: BTreeMap<Rank, PeerReport>,
    dead: BTreeSet<Rank>,
    /// Ranks that were started again: their neighbours watched the first process.
    restarted: BTreeSet<Rank>,
    own: Option<TraceSink>,
    merge: Option<TraceMerge>,
    /// Links that break again and again, for people.
    flapping: BTreeMap<Rank, String>,
    /// The carrier has failed here: no report can come.
    network_failed: bool,
    /// The run is over: a rank that comes now comes too late.
    over: bool,
}

/// Runs the tracker, and rank 0's own peer if there is one, until the run is over and everyone who
/// lives has reported.
pub(crate) fn lead(
    job: &Job,
    tracker: Tracker,
    control: &RunControl,
    trace: Option<LeadTrace>,
    rank_setup: Option<RankSetup>,
    fs: &Arc<dyn Fs>,
) -> RunOutcome {
    let (to_tracker, inbox) = channel();
    let clock = Arc::clone(job.clock());
    clock.begin();
    let everyone = || std::iter::once(Rank::TRACKER).chain(job.peers());
    if let Some(trace) = &trace {
        trace.own.follow(Arc::clone(&clock));
    }
    let (to_peer, arrivals) = channel();
    let outbound = Arc::new(LeadOutbound {
        job: job.clone(),
        clock: Arc::clone(&clock),
        tracker: to_tracker.clone(),
        inbox: rank_setup.as_ref().map(|_| to_peer),
    });
    if let Some(rank_setup) = &rank_setup {
        job.command(CarrierCommand::Budget(Arc::clone(&rank_setup.setup.budget)));
    }
    let sink = Arc::clone(&outbound);
    let deliver = move |from, frame| sink.deliver_frame(from, frame);
    job.command(CarrierCommand::Deliver(Box::new(deliver)));
    job.begin_watching(rank_setup.as_ref().map(|_| fs));
    control.attach(to_tracker.clone());
    let now = Instant::now();
    let mut leader = Leader {
        job,
        control,
        tracker: to_tracker,
        progress: job.peers().map(|rank| (rank, control.progress_cell(rank))).collect(),
        last_event: job.peers().map(|rank| (rank, now)).collect(),
        reports: BTreeMap::new(),
        dead: BTreeSet::new(),
        restarted: BTreeSet::new(),
        own: trace.as_ref().map(|trace| trace.own.clone()),
        merge: trace.map(|trace| TraceMerge::new(trace.all, everyone())),
        flapping: BTreeMap::new(),
        network_failed: false,
        over: false,
    };
    for rank in job.peers().filter(|rank| job.is_given_up(*rank)) {
        leader.absent(rank);
    }
    let start_own = |rank_setup| start_rank(rank_setup, arrivals, &outbound);
    let threads = rank_setup.map(start_own).transpose();
    let started =
        threads.and_then(|threads| Ok((threads, start_tracker(tracker, inbox, &outbound)?)));
    let mut errors = Vec::new();
    let (threads, tracker) = match started {
        Ok((threads, thread)) => (threads, leader.run(thread)),
        Err(error) => {
            errors.push(RunError::Internal(format!(
                "no more threads ({error}); raise the process limit (ulimit -u)"
            )));
            (None, None)
        }
    };
    if tracker.is_none() && errors.is_empty() {
        errors.push(RunError::Internal("the tracker's thread failed; please report it".into()));
    }
    control.detach();
    outbound.deliver(Rank::TRACKER, Arrival::Stop);
    let peers = leader.gather(tracker.as_ref(), threads);
    RunOutcome { peers, tracker, at: clock.local(), errors }
}

fn start_tracker(
    tracker: Tracker,
    inbox: Receiver<TrackerArrival>,
    outbound: &Arc<LeadOutbound>,
) -> std::io::Result<JoinHandle<Tracker>> {
    let outbound = Arc::clone(outbound);
    Builder::new().name("tracker".into()).spawn(move || {
        let send = |to: Rank, control| {
            let frame = Frame::Control(control);
            if to == Rank::TRACKER {
                // Its own peer is meant.
                outbound.deliver(to, Arrival::Frame { from: Rank::TRACKER, frame });
            } else {
                outbound.send(Rank::TRACKER, to, frame, None);
            }
        };
        let tracker = tracker_loop(tracker, &inbox, &send, &|| outbound.now());
        let _ = outbound.job.events().send(JobEvent::Over);
        tracker
    })
}

impl Leader<'_> {
    fn run(&mut self, thread: JoinHandle<Tracker>) -> Option<Tracker> {
        // Its own peer may be over before the tracker.
        while !thread.is_finished() {
            if let Some(event) = self.job.next_event(TICK) {
                self.event(event);
            }
            self.write_trace();
        }
        self.over = true;
        thread.join().ok()
    }

    /// Waits for every rank's report, as long as the rank shows that it lives.
    fn gather(&mut self, tracker: Option<&Tracker>, own: Option<RankThreads>) -> Vec<PeerReport> {
        let outcome = tracker.map(|tracker| tracker.coordinator().outcome());
        let gone =
            outcome.into_iter().flat_map(|outcome| outcome.dead.iter().chain(&outcome.absent));
        self.dead.extend(gone.copied().filter(|rank| *rank != Rank::TRACKER));
        let now = Instant::now();
        self.last_event.values_mut().for_each(|at| *at = now);
        let busy = || own.as_ref().is_some_and(|threads| !threads.ended());
        while busy() || !self.network_failed && self.missing().next().is_some() {
            if let Some(event) = self.job.next_event(TICK) {
                self.event(event);
            }
            self.write_trace();
            let silent =
                |rank: &Rank| self.last_event.get(rank).is_none_or(|at| at.elapsed() > SILENCE);
            let lost: Vec<Rank> = self.missing().filter(silent).collect();
            lost.into_iter().for_each(|rank| self.died(rank, SILENT));
        }
        let own = own.map(RankThreads::join);
        if let Some(merge) = &mut self.merge {
            if let Some(own) = &self.own {
                let (_, lines) = own.take();
                merge.add(Rank::TRACKER, u64::MAX, &lines);
            }
            merge.finish();
        }
        let complete = |report: Option<&PeerReport>| {
            report.is_some_and(|report| report.state == PeerState::Complete)
        };
        let fine = own.as_ref().is_none_or(|own| complete(Some(own)));
        for (rank, why) in std::mem::take(&mut self.flapping) {
            if !fine || !complete(self.reports.get(&rank)) {
                self.control.keep_error(RunError::Network(why));
            }
        }
        for rank in &self.dead {
            if !self.reports.contains_key(rank) {
                self.job.announce_death(*rank);
            }
        }
        let done = own.as_ref().is_none_or(|report| report.state == PeerState::Complete);
        self.job.end_mark(if done { Ending::Finished } else { Ending::Stopped });
        let codes = self.reports.values().map(|report| (report.rank, report.exit_code()));
        codes.for_each(|(rank, code)| self.job.set_code(rank, code));
        let mut reports = std::mem::take(&mut self.reports);
        let report = |rank| reports.remove(&rank).unwrap_or_else(|| PeerReport::silent(rank));
        own.into_iter().chain(self.job.peers().map(report)).collect()
    }

    /// Ranks that should report and have not.
    fn missing(&self) -> impl Iterator<Item = Rank> + '_ {
        let waits = |rank: &Rank| !self.reports.contains_key(rank) && !self.dead.contains(rank);
        self.job.peers().filter(waits)
    }

    fn event(&mut self, event: JobEvent) {
        match event {
            JobEvent::Carrier(from, event) => self.carrier_event(from, event),
            JobEvent::GivenUp(rank) if self.job.has_come(rank) => {}
            JobEvent::GivenUp(rank) => self.absent(rank),
            JobEvent::Died(rank) if self.restarted.contains(&rank) => {}
            JobEvent::Died(rank) if self.reports.contains_key(&rank) => {
                // Its report is here, so that it is not waited for at the end.
                self.job.announce_death(rank);
            }
            JobEvent::Died(rank) => self.died(rank, ENDED),
            JobEvent::Failed(error) => {
                let text =
                    format!("the network of rank 0 has failed: {error}; start the job again");
                self.control.fail(RunError::Network(text));
                self.network_failed = true;
            }
            JobEvent::Over => {}
        }
    }

    fn carrier_event(&mut self, from: Rank, event: CarrierEvent) {
        let Some(last_event) = self.last_event.get_mut(&from) else { return };
        *last_event = Instant::now();
        match event {
            CarrierEvent::Message(message) => self.message(from, message),
            CarrierEvent::Flapping(why) => {
                tracing::warn!(%from, "{why}");
                self.flapping.insert(from, format!("between rank 0 and rank {from} {why}"));
            }
            CarrierEvent::Broken(why) => {
                self.died(from, &format!("what it says makes no sense ({why})"));
            }
            CarrierEvent::Lost(why) => {
                // The carrier knows it already, and may have let its successor in.
                self.job.mark_dead(from);
                self.mark_dead(from, &format!("there is no way to it any more ({why})"));
            }
        }
    }

    fn message(&mut self, from: Rank, message: ProcessMessage) {
        match message {
            ProcessMessage::Session(bytes) => self.session(from, &bytes),
            ProcessMessage::Progress { state, have, wanted, moved, sent } => {
                let state = RankState::of_number(state);
                // One that died of its own accord still has a process.
                if (RankState::Checking..=RankState::Complete).contains(&state) {
                    let _ = self.tracker.send(TrackerArrival::Alive { rank: from });
                }
                if let Some(cell) = self.progress.get(&from) {
                    cell.set(RankProgress {
                        rank: from,
                        state,
                        pieces_have: have,
                        pieces_wanted: wanted,
                        bytes_moved: moved,
                        bytes_sent: sent,
                    });
                }
            }
            ProcessMessage::Trace { until, lines } => {
                if let Some(merge) = &mut self.merge {
                    merge.add(from, until, &lines);
                }
            }
            ProcessMessage::Pulse => {}
        }
    }

    fn session(&mut self, from: Rank, bytes: &[u8]) {
        match Session::decode(bytes) {
            Some(Session::Report { report, errors, interrupted }) if report.rank == from => {
                errors.into_iter().for_each(|error| self.control.fail(error));
                if interrupted && !self.control.interrupted() {
                    // An interrupt of the whole job reaches its ranks in any order.
                    self.control.interrupt();
                }
                self.reports.insert(from, *report);
                // A rank that reports before the end has stopped: it must not be waited for.
                let _ = self.tracker.send(TrackerArrival::Withdrawn { rank: from });
                if let Some(merge) = &mut self.merge {
                    merge.over(from);
                }
            }
            Some(Session::Died { rank }) if rank == Rank::TRACKER => {}
            Some(Session::Died { rank }) if self.restarted.contains(&rank) => {}
            Some(Session::Died { rank }) => self.died(rank, ENDED),
            Some(Session::Hello { hello, process }) => self.late(from, &hello, &process),
            _ => {}
        }
    }

    /// A rank cannot come: it is not waited for.
    fn absent(&mut self, rank: Rank) {
        self.dead.insert(rank);
        let _ = self.tracker.send(TrackerArrival::Lost { rank });
        if let Some(merge) = &mut self.merge {
            merge.over(rank);
        }
    }

    /// A rank sends a hello while the run goes on: it comes late, or was started again.
    fn late(&mut self, from: Rank, hello: &Hello, process: &RankProcess) {
        if self.over || !self.job.late(from, hello, process) {
            let _ = self.tracker.send(TrackerArrival::Lost { rank: from });
            let why = hello.failure.as_ref().map_or("the run is over", |(_, why)| why);
            self.control.notify(&format!("rank {from} came too late, and takes no part: {why}"));
            let code = hello.failure.as_ref().map_or(EXIT_FAILED, |(code, _)| *code);
            self.job.send(from, &Session::Bye { code, together: false });
            return;
        }
        self.reports.remove(&from);
        self.job.mark_alive(from);
        if self.dead.remove(&from) {
            self.restarted.insert(from);
            self.control.notify(&format!("rank {from} is back"));
        }
        if let Some(merge) = &mut self.merge {
            merge.join(from);
        }
    }

    fn died(&mut self, rank: Rank, how: &str) {
        if !self.reports.contains_key(&rank) && !self.dead.contains(&rank) {
            self.job.announce_death(rank);
            self.mark_dead(rank, how);
        }
    }

    /// Reports a dead rank to the tracker, to the progress and to people.
    fn mark_dead(&mut self, rank: Rank, how: &str) {
        if self.reports.contains_key(&rank) || !self.dead.insert(rank) {
            return;
        }
        self.control.notify(&format!("rank {rank} died: {how}"));
        if let Some(cell) = self.progress.get(&rank) {
            cell.died();
        }
        let _ = self.tracker.send(TrackerArrival::Lost { rank });
        if let Some(merge) = &mut self.merge {
            merge.over(rank);
        }
    }

    fn write_trace(&mut self) {
        if let (Some(merge), Some(own)) = (&mut self.merge, &self.own) {
            let (until, lines) = own.take();
            merge.add(Rank::TRACKER, until, &lines);
        }
    }
}
