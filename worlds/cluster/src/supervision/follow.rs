//! A peer rank that is a process of its own: it runs the rank's threads over a carrier, tells
//! rank 0 how far it is, hears who died, and reports in the end. It decides nothing about pieces.

use super::run_mark::Ending;
use crate::control::{Gauge, RankState, RunControl};
use crate::fabric::RunOutcome;
use crate::fabric::process::carrier::{Order, Word};
use crate::fabric::process::envelope::Parcel;
use crate::fabric::process::job::{Job, News, SILENCE};
use crate::fabric::process::session::Session;
use crate::fabric::ranks::{Post, Threads, start_rank};
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

/// How often it looks at what is to be told.
const TICK: Duration = Duration::from_millis(100);
/// Progress is told at least so often: it also says that the rank lives.
const PROGRESS: Duration = Duration::from_secs(2);
/// Without rank 0 a rank goes on with its neighbours until nothing has moved for so long.
const QUIET: Duration = Duration::from_secs(5);

/// The driver's side of the rank's threads.
struct FollowPost {
    rank: Rank,
    clock: Arc<TraceClock>,
    job: Job,
    inbox: Sender<Arrival>,
    tell: Sender<News>,
}

impl Post for FollowPost {
    fn now(&self) -> Time {
        self.clock.local()
    }

    fn send(&self, _from: Rank, to: Rank, frame: Frame, sent: Option<Sent>) {
        self.job.order(Order::Frame { to, frame, sent });
    }

    fn arrive(&self, _rank: Rank, arrival: Arrival) {
        let _ = self.inbox.send(arrival);
    }

    fn lost(&self, _rank: Rank) {
        // The report says so: see `Threads::join`.
    }

    fn over(&self, _rank: Rank) {
        let _ = self.tell.send(News::Over);
    }
}

/// What the process keeps while its rank runs.
struct Keeper<'a> {
    job: &'a Job,
    control: &'a RunControl,
    inbox: Sender<Arrival>,
    gauge: Arc<Gauge>,
    trace: Option<&'a TraceSink>,
    told: [u64; 5],
    told_at: Instant,
    heard: Instant,
    moved: (u64, Instant),
    stopped: bool,
    alone: bool,
    /// Links that break again and again, for people.
    worn: Vec<String>,
}

/// Runs this process's rank until it is over, and reports.
pub(crate) fn follow(
    job: &Job,
    seat: RankSetup,
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
    let post = Arc::new(FollowPost {
        rank,
        clock,
        job: job.clone(),
        inbox: inbox.clone(),
        tell: job.teller(),
    });
    let gauge = Arc::clone(&seat.setup.gauge);
    job.order(Order::Budget(Arc::clone(&seat.setup.budget)));
    let frames = inbox.clone();
    job.order(Order::Deliver(Box::new(move |from, frame| {
        let _ = frames.send(Arrival::Frame { from, frame });
    })));
    let threads = match start_rank(seat, arrivals, &post) {
        Ok(threads) => threads,
        Err(error) => {
            let text = format!("no more threads ({error}); raise the process limit (ulimit -u)");
            let errors = vec![RunError::Internal(text)];
            return RunOutcome { peers: Vec::new(), tracker: None, at: post.now(), errors };
        }
    };
    let now = Instant::now();
    let keeper = Keeper {
        job,
        control,
        inbox,
        gauge,
        trace,
        told: [0; 5],
        told_at: now,
        heard: now,
        moved: (0, now),
        stopped: false,
        alone: false,
        worn: Vec::new(),
    };
    keeper.run(threads, &post)
}

impl Keeper<'_> {
    fn run(mut self, threads: Threads, post: &FollowPost) -> RunOutcome {
        while !threads.ended() {
            match self.job.next(TICK) {
                Some(News::Word(from, word)) => self.word(from, word),
                Some(News::Died(rank)) => self.died(rank),
                Some(News::Failed(error)) => self.cut_off(&error),
                Some(News::Over) => break,
                Some(News::GivenUp(_)) | None => {}
            }
            self.tick();
        }
        let report = threads.join();
        if report.state != PeerState::Complete {
            let worn = self.worn.drain(..).map(RunError::Network);
            worn.for_each(|error| self.control.keep_error(error));
        }
        let errors = self.control.take_errors();
        if let Some(trace) = self.trace {
            self.tell_trace(trace, u64::MAX);
        }
        let done = report.state == PeerState::Complete;
        self.job.end_mark(if done { Ending::Finished } else { Ending::Stopped });
        let at = post.now();
        debug_assert_eq!(report.rank, post.rank);
        if !self.alone {
            let (report, errors) = (Box::new(report.clone()), errors.clone());
            let interrupted = self.control.interrupted();
            self.job.say(Rank::TRACKER, &Session::Report { report, errors, interrupted });
        }
        RunOutcome { peers: vec![report], tracker: None, at, errors }
    }

    fn word(&mut self, from: Rank, word: Word) {
        if from == Rank::TRACKER {
            self.heard = Instant::now();
        }
        match word {
            Word::Session(bytes) => {
                self.job.hear_bye(from, &bytes);
                if self.job.dismissed() {
                    self.stop();
                }
            }
            Word::Broken(why) => {
                tracing::warn!(%from, why, "nothing of this rank is heard any more");
                self.departed(from);
            }
            Word::Lost(why) => {
                tracing::info!(%from, why, "there is no way to this rank any more");
                if from == Rank::TRACKER {
                    self.orphaned(&why);
                }
            }
            Word::Worn(why) => {
                tracing::warn!(%from, "{why}");
                self.worn.push(format!("between rank {} and rank {from} {why}", self.job.rank()));
            }
            Word::Progress(_) | Word::Trace { .. } | Word::Pulse => {}
        }
    }

    /// A process of this host has ended.
    fn died(&mut self, rank: Rank) {
        self.job.announce_death(rank);
        if rank == Rank::TRACKER {
            self.orphaned("its process has ended");
        } else {
            self.job.say(Rank::TRACKER, &Session::Died { rank });
            self.departed(rank);
        }
    }

    /// The rank hears at once what the tracker would tell it later.
    fn departed(&self, rank: Rank) {
        let frame = Frame::Control(Control::Departed { rank });
        let _ = self.inbox.send(Arrival::Frame { from: Rank::TRACKER, frame });
    }

    /// Rank 0 is gone: the rank takes what its neighbours still give, and ends.
    fn orphaned(&mut self, why: &str) {
        if std::mem::replace(&mut self.alone, true) {
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
    fn cut_off(&mut self, error: &str) {
        self.alone = true;
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
        let progress = self.gauge.read();
        let state = progress.state;
        let bytes = progress.bytes_moved + progress.bytes_sent;
        if bytes != self.moved.0 {
            self.moved = (bytes, Instant::now());
        }
        if !self.alone && self.heard.elapsed() > SILENCE {
            self.orphaned("nothing was heard of it");
        }
        if self.alone && (state <= RankState::Waiting || self.moved.1.elapsed() > QUIET) {
            self.stop();
        }
        let numbers = [
            state as u64,
            progress.pieces_have,
            progress.pieces_wanted,
            progress.bytes_moved,
            progress.bytes_sent,
        ];
        if numbers != self.told || self.told_at.elapsed() > PROGRESS {
            (self.told, self.told_at) = (numbers, Instant::now());
            let [_, have, wanted, moved, sent] = numbers;
            let parcel = Parcel::Progress { state: state as u8, have, wanted, moved, sent };
            self.job.order(Order::Parcel { to: Rank::TRACKER, parcel });
        }
        if let Some(trace) = self.trace {
            self.tell_trace(trace, 0);
        }
    }

    /// Sends the trace's lines; `at_least` is what they are complete up to, if that is later.
    fn tell_trace(&self, trace: &TraceSink, at_least: u64) {
        let (until, lines) = trace.take();
        let parcel = Parcel::Trace { until: until.max(at_least), lines };
        self.job.order(Order::Parcel { to: Rank::TRACKER, parcel });
    }
}
