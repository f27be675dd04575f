//! Rank 0 as a process of its own: it runs the tracker over the MPI thread, shows how far everyone is,
//! hears who died, writes the trace of all, and gathers what the ranks report. It never touches a file
//! of a peer, and decides nothing about pieces.

use super::job::{MpiJob, News, SILENCE};
use super::pump::Order;
use super::session::Session;
use super::station::Word;
use crate::control::{Gauge, RankProgress, RunControl};
use crate::fabric::Ended;
use crate::frame::Frame;
use crate::report::{PeerReport, RunError};
use crate::run_mark::Ending;
use crate::trace::{TraceMerge, TraceSink};
use crate::tracker::{Tracker, TrackerArrival, tracker_loop};
use dunlin_base::Rank;
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

/// What rank 0 keeps while the run goes on.
struct Leader<'a> {
    job: &'a MpiJob,
    control: &'a RunControl,
    tracker: Sender<TrackerArrival>,
    gauges: BTreeMap<Rank, Arc<Gauge>>,
    /// When something of a rank was last heard.
    heard: BTreeMap<Rank, Instant>,
    reports: BTreeMap<Rank, PeerReport>,
    dead: BTreeSet<Rank>,
    own: Option<TraceSink>,
    merge: Option<TraceMerge>,
    /// MPI has failed here: nobody's report can come.
    cut_off: bool,
}

/// Runs the tracker until the run is over and everyone who lives has reported.
pub(crate) fn lead(
    job: &MpiJob,
    tracker: Tracker,
    control: &RunControl,
    trace: Option<LeadTrace>,
) -> Ended {
    let (to_tracker, inbox) = channel();
    let clock = Arc::clone(job.clock());
    clock.begin();
    let everyone = || std::iter::once(Rank::TRACKER).chain(job.peers());
    if let Some(trace) = &trace {
        trace.own.follow(Arc::clone(&clock));
    }
    let frames = to_tracker.clone();
    job.order(Order::Deliver(Box::new(move |from, frame| {
        if let Frame::Control(message) = frame {
            let _ = frames.send(TrackerArrival::Message { from, message });
        }
    })));
    job.begin_watching(None);
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
        own: trace.as_ref().map(|trace| trace.own.clone()),
        merge: trace.map(|trace| TraceMerge::new(trace.all, everyone())),
        cut_off: false,
    };
    let thread = start(job, tracker, inbox);
    let mut errors = Vec::new();
    let tracker = match thread {
        Ok(thread) => leader.run(thread),
        Err(error) => {
            errors.push(RunError::Internal(format!(
                "no more threads ({error}); raise the process limit (ulimit -u)"
            )));
            None
        }
    };
    if tracker.is_none() && errors.is_empty() {
        errors.push(RunError::Internal("the tracker's thread failed; please report it".into()));
    }
    control.detach();
    let peers = leader.gather(tracker.as_ref());
    Ended { peers, tracker, at: clock.local(), errors }
}

fn start(
    job: &MpiJob,
    tracker: Tracker,
    inbox: Receiver<TrackerArrival>,
) -> std::io::Result<JoinHandle<Tracker>> {
    let (orders, clock, tell) = (job.orders(), Arc::clone(job.clock()), job.teller());
    Builder::new().name("tracker".into()).spawn(move || {
        let send = |to: Rank, control| {
            let _ = orders.send(Order::Frame { to, frame: Frame::Control(control) });
        };
        let tracker = tracker_loop(tracker, &inbox, &send, &|| clock.local());
        let _ = tell.send(News::Over);
        tracker
    })
}

impl Leader<'_> {
    fn run(&mut self, thread: JoinHandle<Tracker>) -> Option<Tracker> {
        while !thread.is_finished() {
            match self.job.next(TICK) {
                Some(News::Over) => break,
                Some(news) => self.news(news),
                None => {}
            }
            self.write_trace();
        }
        thread.join().ok()
    }

    /// Waits for what everyone came to, as long as each of them shows that it lives.
    fn gather(&mut self, tracker: Option<&Tracker>) -> Vec<PeerReport> {
        let outcome = tracker.map(|tracker| tracker.coordinator().outcome());
        let gone =
            outcome.into_iter().flat_map(|outcome| outcome.dead.iter().chain(&outcome.absent));
        self.dead.extend(gone.copied());
        let now = Instant::now();
        self.heard.values_mut().for_each(|heard| *heard = now);
        while !self.cut_off && self.missing().next().is_some() {
            if let Some(news) = self.job.next(TICK) {
                self.news(news);
            }
            self.write_trace();
            let silent = |rank: &Rank| self.heard.get(rank).is_none_or(|at| at.elapsed() > SILENCE);
            let lost: Vec<Rank> = self.missing().filter(silent).collect();
            lost.into_iter().for_each(|rank| self.died(rank, SILENT));
        }
        if let Some(merge) = &mut self.merge {
            if let Some(own) = &self.own {
                let (_, lines) = own.take();
                merge.add(Rank::TRACKER, u64::MAX, &lines);
            }
            merge.finish();
        }
        for rank in &self.dead {
            if !self.reports.contains_key(rank) {
                self.job.bury(*rank);
            }
        }
        self.job.end_mark(Ending::Finished);
        let codes = self.reports.values().map(|report| (report.rank, report.exit_code()));
        codes.for_each(|(rank, code)| self.job.set_code(rank, code));
        let mut reports = std::mem::take(&mut self.reports);
        let report = |rank| reports.remove(&rank).unwrap_or_else(|| PeerReport::silent(rank));
        self.job.peers().map(report).collect()
    }

    /// Ranks that should report and have not.
    fn missing(&self) -> impl Iterator<Item = Rank> + '_ {
        let waits = |rank: &Rank| !self.reports.contains_key(rank) && !self.dead.contains(rank);
        self.job.peers().filter(waits)
    }

    fn news(&mut self, news: News) {
        match news {
            News::Word(from, word) => self.word(from, word),
            News::Died(rank) if self.reports.contains_key(&rank) => {
                // What it came to is known; nobody waits for it at the end.
                self.job.bury(rank);
            }
            News::Died(rank) => self.died(rank, ENDED),
            News::Failed(error) => {
                let text = format!("MPI has failed at rank 0: {error}; start the job again");
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
                if let Some(gauge) = self.gauges.get(&from) {
                    gauge.show(RankProgress::of_numbers(from, numbers));
                }
            }
            Word::Trace { until, lines } => {
                if let Some(merge) = &mut self.merge {
                    merge.add(from, until, &lines);
                }
            }
            Word::Pulse => {}
            Word::Broken(why) => {
                self.died(from, &format!("what it says makes no sense ({why})"));
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
                // One that reports before the end has stopped: the tracker must not wait for it.
                let _ = self.tracker.send(TrackerArrival::Lost { rank: from });
                if let Some(merge) = &mut self.merge {
                    merge.over(from);
                }
            }
            Some(Session::Died { rank }) if rank != Rank::TRACKER => self.died(rank, ENDED),
            Some(Session::Hello { hello, process }) if !self.job.late(from, &hello, &process) => {
                let _ = self.tracker.send(TrackerArrival::Lost { rank: from });
            }
            _ => {}
        }
    }

    fn died(&mut self, rank: Rank, how: &str) {
        if self.reports.contains_key(&rank) || !self.dead.insert(rank) {
            return;
        }
        self.job.bury(rank);
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
