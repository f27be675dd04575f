//! Rank 0 as a process of its own: it runs the tracker over a carrier, shows how far everyone is,
//! hears who died and who came back, writes the trace of all, and gathers what the ranks report. Where
//! it is a peer too, it runs that beside the tracker. It never touches a file of another peer, and
//! decides nothing about pieces.

use super::run_mark::Ending;
use crate::control::{Gauge, RankProgress, RankState, RunControl};
use crate::fabric::RunOutcome;
use crate::fabric::process::carrier::{Order, Word};
use crate::fabric::process::job::{Job, News, SILENCE};
use crate::fabric::process::session::{Hello, RankProcess, Session};
use crate::fabric::ranks::{Post, Threads, start_rank};
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

/// How a rank died that was watched.
const ENDED: &str = "its process ended without a word";
/// How a rank died that was not.
const SILENT: &str = "nothing was heard of it any more";

/// Where rank 0's own lines go, and the trace of all.
pub(crate) struct LeadTrace {
    /// What the tracker writes to.
    pub(crate) own: TraceSink,
    /// What a person asked for.
    pub(crate) all: TraceSink,
}

/// The tracker's and the own peer's way to everybody.
#[derive(Clone)]
struct LeadPost {
    job: Job,
    clock: Arc<TraceClock>,
    tracker: Sender<TrackerArrival>,
    /// The inbox of rank 0's own peer, if it has one.
    inbox: Option<Sender<Arrival>>,
}

impl LeadPost {
    /// A frame for rank 0: for the tracker, or for its own peer.
    fn take(&self, from: Rank, frame: Frame) {
        match frame {
            Frame::Control(message) if message.is_for_tracker() => {
                let _ = self.tracker.send(TrackerArrival::Message { from, message });
            }
            frame => self.arrive(Rank::TRACKER, Arrival::Frame { from, frame }),
        }
    }
}

impl Post for LeadPost {
    fn now(&self) -> Time {
        self.clock.local()
    }

    fn send(&self, from: Rank, to: Rank, frame: Frame, sent: Option<Sent>) {
        if to == Rank::TRACKER {
            self.take(from, frame);
            sent.into_iter().for_each(|tell| tell(true));
        } else {
            self.job.order(Order::Frame { to, frame, sent });
        }
    }

    fn arrive(&self, _rank: Rank, arrival: Arrival) {
        if let Some(inbox) = &self.inbox {
            let _ = inbox.send(arrival);
        }
    }

    fn lost(&self, rank: Rank) {
        let _ = self.tracker.send(TrackerArrival::Lost { rank });
    }

    fn over(&self, _rank: Rank) {
        let _ = self.job.teller().send(News::Over);
    }
}

/// What rank 0 keeps while the run goes on.
struct Leader<'a> {
    job: &'a Job,
    control: &'a RunControl,
    tracker: Sender<TrackerArrival>,
    gauges: BTreeMap<Rank, Arc<Gauge>>,
    /// When something of a rank was last heard.
    heard: BTreeMap<Rank, Instant>,
    reports: BTreeMap<Rank, PeerReport>,
    dead: BTreeSet<Rank>,
    /// Ranks that were started again: whoever watched them watched the first process.
    reborn: BTreeSet<Rank>,
    own: Option<TraceSink>,
    merge: Option<TraceMerge>,
    /// Links that break again and again, for people.
    worn: BTreeMap<Rank, String>,
    /// The carrier has failed here: nobody's report can come.
    cut_off: bool,
    /// The run is over: who comes now comes too late.
    over: bool,
}

/// Runs the tracker, and rank 0's own peer if there is one, until the run is over and everyone who
/// lives has reported.
pub(crate) fn lead(
    job: &Job,
    tracker: Tracker,
    control: &RunControl,
    trace: Option<LeadTrace>,
    seat: Option<RankSetup>,
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
    let post = Arc::new(LeadPost {
        job: job.clone(),
        clock: Arc::clone(&clock),
        tracker: to_tracker.clone(),
        inbox: seat.as_ref().map(|_| to_peer),
    });
    if let Some(seat) = &seat {
        job.order(Order::Budget(Arc::clone(&seat.setup.budget)));
    }
    let taken = Arc::clone(&post);
    job.order(Order::Deliver(Box::new(move |from, frame| taken.take(from, frame))));
    job.begin_watching(seat.as_ref().map(|_| fs));
    control.attach(to_tracker.clone());
    let now = Instant::now();
    let mut leader = Leader {
        job,
        control,
        tracker: to_tracker,
        gauges: job.peers().map(|rank| (rank, control.gauge(rank))).collect(),
        heard: job.peers().map(|rank| (rank, now)).collect(),
        reports: BTreeMap::new(),
        dead: BTreeSet::new(),
        reborn: BTreeSet::new(),
        own: trace.as_ref().map(|trace| trace.own.clone()),
        merge: trace.map(|trace| TraceMerge::new(trace.all, everyone())),
        worn: BTreeMap::new(),
        cut_off: false,
        over: false,
    };
    for rank in job.peers().filter(|rank| job.is_given_up(*rank)) {
        leader.absent(rank);
    }
    let threads = seat.map(|seat| start_rank(seat, arrivals, &post)).transpose();
    let started = threads.and_then(|threads| Ok((threads, start(tracker, inbox, &post)?)));
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
    post.arrive(Rank::TRACKER, Arrival::Stop);
    let peers = leader.gather(tracker.as_ref(), threads);
    RunOutcome { peers, tracker, at: clock.local(), errors }
}

fn start(
    tracker: Tracker,
    inbox: Receiver<TrackerArrival>,
    post: &Arc<LeadPost>,
) -> std::io::Result<JoinHandle<Tracker>> {
    let post = Arc::clone(post);
    Builder::new().name("tracker".into()).spawn(move || {
        let send = |to: Rank, control| {
            let frame = Frame::Control(control);
            if to == Rank::TRACKER {
                // Its own peer is meant.
                post.arrive(to, Arrival::Frame { from: Rank::TRACKER, frame });
            } else {
                post.send(Rank::TRACKER, to, frame, None);
            }
        };
        let tracker = tracker_loop(tracker, &inbox, &send, &|| post.now());
        let _ = post.job.teller().send(News::Over);
        tracker
    })
}

impl Leader<'_> {
    fn run(&mut self, thread: JoinHandle<Tracker>) -> Option<Tracker> {
        // Its own peer may be over before the tracker.
        while !thread.is_finished() {
            if let Some(news) = self.job.next(TICK) {
                self.news(news);
            }
            self.write_trace();
        }
        self.over = true;
        thread.join().ok()
    }

    /// Waits for what everyone came to, as long as each of them shows that it lives.
    fn gather(&mut self, tracker: Option<&Tracker>, own: Option<Threads>) -> Vec<PeerReport> {
        let outcome = tracker.map(|tracker| tracker.coordinator().outcome());
        let gone =
            outcome.into_iter().flat_map(|outcome| outcome.dead.iter().chain(&outcome.absent));
        self.dead.extend(gone.copied().filter(|rank| *rank != Rank::TRACKER));
        let now = Instant::now();
        self.heard.values_mut().for_each(|heard| *heard = now);
        let busy = || own.as_ref().is_some_and(|threads| !threads.ended());
        while busy() || !self.cut_off && self.missing().next().is_some() {
            if let Some(news) = self.job.next(TICK) {
                self.news(news);
            }
            self.write_trace();
            let silent = |rank: &Rank| self.heard.get(rank).is_none_or(|at| at.elapsed() > SILENCE);
            let lost: Vec<Rank> = self.missing().filter(silent).collect();
            lost.into_iter().for_each(|rank| self.died(rank, SILENT));
        }
        let own = own.map(Threads::join);
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
        for (rank, why) in std::mem::take(&mut self.worn) {
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

    fn news(&mut self, news: News) {
        match news {
            News::Word(from, word) => self.word(from, word),
            News::GivenUp(rank) if self.job.has_come(rank) => {}
            News::GivenUp(rank) => self.absent(rank),
            News::Died(rank) if self.reborn.contains(&rank) => {}
            News::Died(rank) if self.reports.contains_key(&rank) => {
                // What it came to is known; nobody waits for it at the end.
                self.job.announce_death(rank);
            }
            News::Died(rank) => self.died(rank, ENDED),
            News::Failed(error) => {
                let text =
                    format!("the network of rank 0 has failed: {error}; start the job again");
                self.control.fail(RunError::Network(text));
                self.cut_off = true;
            }
            News::Over => {}
        }
    }

    fn word(&mut self, from: Rank, word: Word) {
        let Some(heard) = self.heard.get_mut(&from) else { return };
        *heard = Instant::now();
        match word {
            Word::Session(bytes) => self.session(from, &bytes),
            Word::Progress(numbers) => {
                let progress = RankProgress::of_numbers(from, numbers);
                // One that died of its own accord still has a process.
                if (RankState::Checking..=RankState::Complete).contains(&progress.state) {
                    let _ = self.tracker.send(TrackerArrival::Heard { rank: from });
                }
                if let Some(gauge) = self.gauges.get(&from) {
                    gauge.show(progress);
                }
            }
            Word::Trace { until, lines } => {
                if let Some(merge) = &mut self.merge {
                    merge.add(from, until, &lines);
                }
            }
            Word::Pulse => {}
            Word::Worn(why) => {
                tracing::warn!(%from, "{why}");
                self.worn.insert(from, format!("between rank 0 and rank {from} {why}"));
            }
            Word::Broken(why) => {
                self.died(from, &format!("what it says makes no sense ({why})"));
            }
            Word::Lost(why) => {
                // The carrier knows it already, and may have let its successor in.
                self.job.mark_dead(from);
                self.fell(from, &format!("there is no way to it any more ({why})"));
            }
        }
    }

    fn session(&mut self, from: Rank, bytes: &[u8]) {
        match Session::decode(bytes) {
            Some(Session::Report { report, errors, interrupted }) if report.rank == from => {
                errors.into_iter().for_each(|error| self.control.fail(error));
                if interrupted && !self.control.interrupted() {
                    // Whoever ends a job may reach its ranks in any order.
                    self.control.interrupt();
                }
                self.reports.insert(from, *report);
                // One that reports before the end has stopped: nobody must wait for it.
                let _ = self.tracker.send(TrackerArrival::Withdrawn { rank: from });
                if let Some(merge) = &mut self.merge {
                    merge.over(from);
                }
            }
            Some(Session::Died { rank }) if rank == Rank::TRACKER => {}
            Some(Session::Died { rank }) if self.reborn.contains(&rank) => {}
            Some(Session::Died { rank }) => self.died(rank, ENDED),
            Some(Session::Hello { hello, process }) => self.late(from, &hello, &process),
            _ => {}
        }
    }

    /// A rank cannot come: nobody waits for it.
    fn absent(&mut self, rank: Rank) {
        self.dead.insert(rank);
        let _ = self.tracker.send(TrackerArrival::Lost { rank });
        if let Some(merge) = &mut self.merge {
            merge.over(rank);
        }
    }

    /// A rank says hello while the run goes on: it comes late, or was started again.
    fn late(&mut self, from: Rank, hello: &Hello, process: &RankProcess) {
        if self.over || !self.job.late(from, hello, process) {
            let _ = self.tracker.send(TrackerArrival::Lost { rank: from });
            let why = hello.failure.as_ref().map_or("the run is over", |(_, why)| why);
            self.control.tell(&format!("rank {from} came too late, and takes no part: {why}"));
            let code = hello.failure.as_ref().map_or(EXIT_FAILED, |(code, _)| *code);
            self.job.say(from, &Session::Bye { code, together: false });
            return;
        }
        self.reports.remove(&from);
        self.job.mark_alive(from);
        if self.dead.remove(&from) {
            self.reborn.insert(from);
            self.control.tell(&format!("rank {from} is back"));
        }
        if let Some(merge) = &mut self.merge {
            merge.join(from);
        }
    }

    fn died(&mut self, rank: Rank, how: &str) {
        if !self.reports.contains_key(&rank) && !self.dead.contains(&rank) {
            self.job.announce_death(rank);
            self.fell(rank, how);
        }
    }

    /// What everybody here is told of a rank's death.
    fn fell(&mut self, rank: Rank, how: &str) {
        if self.reports.contains_key(&rank) || !self.dead.insert(rank) {
            return;
        }
        self.control.tell(&format!("rank {rank} died: {how}"));
        if let Some(gauge) = self.gauges.get(&rank) {
            gauge.died();
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
