//! A peer rank that is a process of its own: it runs the rank's threads over a carrier, sends rank
//! 0 how far it is, takes in who died, and reports in the end. It decides nothing about pieces.

use super::run_mark::Ending;
use crate::control::{ProgressCell, RankProgress, RankState, RunControl};
use crate::fabric::RunOutcome;
use crate::fabric::process::carrier::{CarrierCommand, CarrierEvent};
use crate::fabric::process::job::{Job, JobEvent, SILENCE};
use crate::fabric::process::message::ProcessMessage;
use crate::fabric::process::session::Session;
use crate::fabric::rank_threads::{Outbound, RankThreads, start_rank};
use crate::frame::{Frame, Sent};
use crate::peer::{Arrival, RankSetup};
use crate::report::{PeerState, RunError};
use crate::trace::{TraceClock, TraceSink};
use dunlin_base::{Rank, Time};
use dunlin_control::Control;
use dunlin_disk::Fs;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// How often it looks at what is to be sent.
const TICK: Duration = Duration::from_millis(100);
/// Progress is sent at least so often: it also shows that the rank lives.
const PROGRESS: Duration = Duration::from_secs(2);
/// Without rank 0 a rank goes on with its neighbours until nothing has moved for so long.
const QUIET: Duration = Duration::from_secs(5);

/// The way from the rank's threads to the job.
struct FollowOutbound {
    rank: Rank,
    clock: Arc<TraceClock>,
    job: Job,
    inbox: Sender<Arrival>,
    events: Sender<JobEvent>,
}

impl Outbound for FollowOutbound {
    fn now(&self) -> Time {
        self.clock.local()
    }

    fn send(&self, _from: Rank, to: Rank, frame: Frame, sent: Option<Sent>) {
        self.job.send_frame(to, frame, sent);
    }

    fn deliver(&self, _rank: Rank, arrival: Arrival) {
        let _ = self.inbox.send(arrival);
    }

    fn rank_lost(&self, _rank: Rank) {
        // The report contains it: see `RankThreads::join`.
    }

    fn rank_over(&self, _rank: Rank) {
        let _ = self.events.send(JobEvent::Over);
    }
}

/// What the process keeps while its rank runs.
struct RankSupervisor<'a> {
    job: &'a Job,
    control: &'a RunControl,
    inbox: Sender<Arrival>,
    progress: Arc<ProgressCell>,
    trace: Option<&'a TraceSink>,
    /// The progress that rank 0 was sent last, and when.
    reported: RankProgress,
    reported_at: Instant,
    /// When something of rank 0 came last.
    last_of_root: Instant,
    /// How many bytes have moved, and when that last changed.
    moved: (u64, Instant),
    stopped: bool,
    /// Rank 0 or the network is gone.
    orphaned: bool,
    /// Links that break again and again, for people.
    flapping: Vec<String>,
}

/// Runs this process's rank until it is over, and reports.
pub(crate) fn follow(
    job: &Job,
    rank_setup: RankSetup,
    control: &RunControl,
    trace: Option<&TraceSink>,
    fs: &Arc<dyn Fs>,
) -> RunOutcome {
    let rank = job.rank();
    let clock = Arc::clone(job.clock());
    clock.begin();
    if let Some(trace) = trace {
        trace.follow(Arc::clone(&clock));
    }
    job.begin_watching(Some(fs));
    let (inbox, arrivals) = channel();
    let outbound = Arc::new(FollowOutbound {
        rank,
        clock,
        job: job.clone(),
        inbox: inbox.clone(),
        events: job.events(),
    });
    let progress = Arc::clone(&rank_setup.setup.progress);
    let reported = progress.read();
    job.command(CarrierCommand::Budget(Arc::clone(&rank_setup.setup.budget)));
    let frames = inbox.clone();
    job.command(CarrierCommand::Deliver(Box::new(move |from, frame| {
        let _ = frames.send(Arrival::Frame { from, frame });
    })));
    let threads = match start_rank(rank_setup, arrivals, &outbound) {
        Ok(threads) => threads,
        Err(error) => {
            let text = format!("no more threads ({error}); raise the process limit (ulimit -u)");
            let errors = vec![RunError::Internal(text)];
            return RunOutcome { peers: Vec::new(), tracker: None, at: outbound.now(), errors };
        }
    };
    let now = Instant::now();
    let supervisor = RankSupervisor {
        job,
        control,
        inbox,
        progress,
        trace,
        reported,
        reported_at: now,
        last_of_root: now,
        moved: (0, now),
        stopped: false,
        orphaned: false,
        flapping: Vec::new(),
    };
    supervisor.run(threads, &outbound)
}

impl RankSupervisor<'_> {
    fn run(mut self, threads: RankThreads, outbound: &FollowOutbound) -> RunOutcome {
        while !threads.ended() {
            match self.job.next_event(TICK) {
                Some(JobEvent::Carrier(from, event)) => self.carrier_event(from, event),
                Some(JobEvent::Died(rank)) => self.died(rank),
                Some(JobEvent::Failed(error)) => self.network_failed(&error),
                Some(JobEvent::Over) => break,
                Some(JobEvent::GivenUp(_)) | None => {}
            }
            self.tick();
        }
        let report = threads.join();
        if report.state != PeerState::Complete {
            let flapping = self.flapping.drain(..).map(RunError::Network);
            flapping.for_each(|error| self.control.keep_error(error));
        }
        let errors = self.control.take_errors();
        if let Some(trace) = self.trace {
            self.send_trace(trace, u64::MAX);
        }
        let done = report.state == PeerState::Complete;
        self.job.end_mark(if done { Ending::Finished } else { Ending::Stopped });
        let at = outbound.now();
        debug_assert_eq!(report.rank, outbound.rank);
        if !self.orphaned {
            let (report, errors) = (Box::new(report.clone()), errors.clone());
            let interrupted = self.control.interrupted();
            self.job.send(Rank::TRACKER, &Session::Report { report, errors, interrupted });
        }
        RunOutcome { peers: vec![report], tracker: None, at, errors }
    }

    fn carrier_event(&mut self, from: Rank, event: CarrierEvent) {
        if from == Rank::TRACKER {
            self.last_of_root = Instant::now();
        }
        match event {
            CarrierEvent::Message(ProcessMessage::Session(bytes)) => {
                self.job.take_bye(from, &bytes);
                if self.job.dismissed() {
                    self.stop();
                }
            }
            CarrierEvent::Message(
                ProcessMessage::Progress { .. }
                | ProcessMessage::Trace { .. }
                | ProcessMessage::Pulse,
            ) => {}
            CarrierEvent::Broken(why) => {
                tracing::warn!(%from, why, "nothing of this rank is read any more");
                self.departed(from);
            }
            CarrierEvent::Lost(why) => {
                tracing::info!(%from, why, "there is no way to this rank any more");
                if from == Rank::TRACKER {
                    self.root_lost(&why);
                }
            }
            CarrierEvent::Flapping(why) => {
                tracing::warn!(%from, "{why}");
                let rank = self.job.rank();
                self.flapping.push(format!("between rank {rank} and rank {from} {why}"));
            }
        }
    }

    /// A process of this host has ended.
    fn died(&mut self, rank: Rank) {
        self.job.announce_death(rank);
        if rank == Rank::TRACKER {
            self.root_lost("its process has ended");
        } else {
            self.job.send(Rank::TRACKER, &Session::Died { rank });
            self.departed(rank);
        }
    }

    /// The rank gets at once what the tracker would send it later.
    fn departed(&self, rank: Rank) {
        let frame = Frame::Control(Control::Departed { rank });
        let _ = self.inbox.send(Arrival::Frame { from: Rank::TRACKER, frame });
    }

    /// Rank 0 is gone: the rank takes what its neighbours still give, and ends.
    fn root_lost(&mut self, why: &str) {
        if std::mem::replace(&mut self.orphaned, true) {
            return;
        }
        self.moved.1 = Instant::now();
        self.job.announce_death(Rank::TRACKER);
        let text = format!(
            "rank 0, the tracker, is gone ({why}); what its neighbours could still give this rank \
             has been kept: start the job again to go on"
        );
        self.control.keep_error(RunError::Network(text));
    }

    /// The carrier has failed here: the rank saves what it has, and ends.
    fn network_failed(&mut self, error: &str) {
        self.orphaned = true;
        let text = format!(
            "the network of rank {} has failed: {error}; start the job again",
            self.job.rank()
        );
        self.control.keep_error(RunError::Network(text));
        self.stop();
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            let _ = self.inbox.send(Arrival::Stop);
        }
    }

    fn tick(&mut self) {
        if self.control.ending() {
            self.stop();
        }
        let progress = self.progress.read();
        let state = progress.state;
        let bytes = progress.bytes_moved + progress.bytes_sent;
        if bytes != self.moved.0 {
            self.moved = (bytes, Instant::now());
        }
        if !self.orphaned && self.last_of_root.elapsed() > SILENCE {
            self.root_lost("nothing was heard of it");
        }
        if self.orphaned && (state <= RankState::Waiting || self.moved.1.elapsed() > QUIET) {
            self.stop();
        }
        if self.reported != progress || self.reported_at.elapsed() > PROGRESS {
            (self.reported, self.reported_at) = (progress, Instant::now());
            let message = ProcessMessage::Progress {
                state: state as u8,
                have: progress.pieces_have,
                wanted: progress.pieces_wanted,
                moved: progress.bytes_moved,
                sent: progress.bytes_sent,
            };
            self.job.command(CarrierCommand::Send { to: Rank::TRACKER, message });
        }
        if let Some(trace) = self.trace {
            self.send_trace(trace, 0);
        }
    }

    /// Sends the trace's lines; `at_least` is what they are complete up to, if that is later.
    fn send_trace(&self, trace: &TraceSink, at_least: u64) {
        let (until, lines) = trace.take();
        let message = ProcessMessage::Trace { until: until.max(at_least), lines };
        self.job.command(CarrierCommand::Send { to: Rank::TRACKER, message });
    }
}
