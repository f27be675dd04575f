//! The handle on a run from outside: progress to show, and the way to stop it.

use crate::lock::lock;
use crate::report::RunError;
use crate::tracker::TrackerArrival;
use dunlin_base::Rank;
use dunlin_engine::io::LocalError;
use dunlin_engine::stats::Progress;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

/// A handle on a run. Clones are handles on the same run; it costs next to nothing to ask it.
#[derive(Clone, Debug, Default)]
pub struct RunControl(Arc<RunState>);

/// Shows a sentence to a person.
type Notifier = Box<dyn Fn(&str) + Send>;

#[derive(Default)]
struct RunState {
    interrupted: AtomicBool,
    ending: Arc<AtomicBool>,
    errors: Mutex<Vec<RunError>>,
    tracker: Mutex<Option<Sender<TrackerArrival>>>,
    progress: Mutex<Vec<Arc<ProgressCell>>>,
    notifier: Mutex<Option<Notifier>>,
}

impl std::fmt::Debug for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ending = self.ending.load(Ordering::SeqCst);
        f.debug_struct("RunState").field("ending", &ending).finish_non_exhaustive()
    }
}

/// How far a rank is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankProgress {
    /// The rank.
    pub rank: Rank,
    /// What it is doing.
    pub state: RankState,
    /// Wanted pieces that are here; while checking, bytes checked.
    pub pieces_have: u64,
    /// Wanted pieces; while checking, bytes to check.
    pub pieces_wanted: u64,
    /// Payload bytes received and kept.
    pub bytes_moved: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
}

/// What a rank is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RankState {
    /// Nothing yet.
    Idle = 0,
    /// Hashing its files.
    Checking = 1,
    /// Registered, waiting for the others.
    Waiting = 2,
    /// Fetching.
    Moving = 3,
    /// It has what it wanted, or knows why not, and goes on serving.
    Complete = 4,
    /// It stopped in the middle.
    Dead = 5,
    /// The run is over for it.
    Ended = 6,
}

const STATES: [RankState; 7] = [
    RankState::Idle,
    RankState::Checking,
    RankState::Waiting,
    RankState::Moving,
    RankState::Complete,
    RankState::Dead,
    RankState::Ended,
];

impl RankState {
    /// The state of a number that a rank sent; [`RankState::Idle`] for numbers that mean nothing.
    pub(crate) fn of_number(number: u8) -> RankState {
        STATES.get(usize::from(number)).copied().unwrap_or(RankState::Idle)
    }
}

impl RunControl {
    /// A handle on a run that has not begun.
    #[must_use]
    pub fn new() -> RunControl {
        RunControl::default()
    }

    /// Stops the run: everyone syncs and saves what it has, so that the next run goes on from
    /// there.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::SeqCst);
        self.end();
    }

    /// How far every rank is, by rank; empty before the run begins.
    #[must_use]
    pub fn progress(&self) -> Vec<RankProgress> {
        lock(&self.0.progress).iter().map(|cell| cell.read()).collect()
    }

    /// Whether a person stopped the run.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.0.interrupted.load(Ordering::SeqCst)
    }

    /// Whether the run is to end now.
    pub(crate) fn ending(&self) -> bool {
        self.0.ending.load(Ordering::SeqCst)
    }

    /// Is set when the run is to end: for work that looks at it now and then.
    pub(crate) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.ending)
    }

    /// Sets what is called at once with each sentence that cannot wait for the report: that a rank
    /// died, say.
    pub fn set_notifier(&self, notifier: impl Fn(&str) + Send + 'static) {
        *lock(&self.0.notifier) = Some(Box::new(notifier));
    }

    /// Shows a sentence to a person at once.
    pub(crate) fn notify(&self, text: &str) {
        if let Some(notifier) = &*lock(&self.0.notifier) {
            notifier(text);
        }
    }

    /// Something went wrong in the run as a whole; it goes on as far as it can.
    pub(crate) fn keep_error(&self, error: RunError) {
        lock(&self.0.errors).push(error);
    }

    /// The run cannot go on.
    pub(crate) fn fail(&self, error: RunError) {
        lock(&self.0.errors).push(error);
        self.end();
    }

    pub(crate) fn take_errors(&self) -> Vec<RunError> {
        std::mem::take(&mut *lock(&self.0.errors))
    }

    pub(crate) fn attach(&self, tracker: Sender<TrackerArrival>) {
        *lock(&self.0.tracker) = Some(tracker);
        if self.ending() {
            self.end();
        }
    }

    pub(crate) fn detach(&self) {
        *lock(&self.0.tracker) = None;
    }

    /// A new cell for the progress of a rank.
    pub(crate) fn progress_cell(&self, rank: Rank) -> Arc<ProgressCell> {
        let (control, numbers) = (self.clone(), Numbers::default());
        let cell = Arc::new(ProgressCell { rank, control, numbers });
        // A cell keeps this control alive, and the list the cell: `forget_progress` empties the
        // list.
        lock(&self.0.progress).push(Arc::clone(&cell));
        cell
    }

    /// Forgets the progress of a run that is over.
    pub(crate) fn forget_progress(&self) {
        lock(&self.0.progress).clear();
    }

    fn end(&self) {
        self.0.ending.store(true, Ordering::SeqCst);
        if let Some(tracker) = &*lock(&self.0.tracker) {
            // The tracker may be gone already; then the run is over anyway.
            let _ = tracker.send(TrackerArrival::Interrupt);
        }
    }
}

/// The progress of one rank, written by the rank and read by the display.
#[derive(Debug)]
pub struct ProgressCell {
    rank: Rank,
    control: RunControl,
    numbers: Numbers,
}

#[derive(Debug, Default)]
struct Numbers {
    state: AtomicU8,
    have: AtomicU64,
    wanted: AtomicU64,
    moved: AtomicU64,
    sent: AtomicU64,
}

impl ProgressCell {
    fn set_state(&self, state: RankState) {
        self.numbers.state.store(state as u8, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> RankProgress {
        let Numbers { state, have, wanted, moved, sent } = &self.numbers;
        let counts = [have, wanted, moved, sent].map(|number| number.load(Ordering::Relaxed));
        let [have, wanted, moved, sent] = counts;
        RankProgress {
            rank: self.rank,
            state: RankState::of_number(state.load(Ordering::Relaxed)),
            pieces_have: have,
            pieces_wanted: wanted,
            bytes_moved: moved,
            bytes_sent: sent,
        }
    }

    /// Takes over the progress that a rank in another process sent.
    pub(crate) fn set(&self, progress: RankProgress) {
        self.set_state(progress.state);
        self.set_counts(progress.pieces_have, progress.pieces_wanted);
        self.numbers.moved.store(progress.bytes_moved, Ordering::Relaxed);
        self.numbers.sent.store(progress.bytes_sent, Ordering::Relaxed);
    }

    fn set_counts(&self, have: u64, wanted: u64) {
        self.numbers.have.store(have, Ordering::Relaxed);
        self.numbers.wanted.store(wanted, Ordering::Relaxed);
    }

    pub(crate) fn checking(&self, done: u64, total: u64) {
        self.set_state(RankState::Checking);
        self.set_counts(done, total);
    }

    pub(crate) fn waiting(&self) {
        self.set_state(RankState::Waiting);
        self.set_counts(0, 0);
    }

    /// The rank's own files cannot be read: nothing right can come of this run.
    pub(crate) fn check_failed(&self, error: LocalError) {
        self.control.fail(RunError::Disk(error.message));
    }

    pub(crate) fn moved(&self, progress: Progress, started: bool, moved: u64, sent: u64) {
        if !started {
            return;
        }
        self.set_state(if progress.complete { RankState::Complete } else { RankState::Moving });
        self.set_counts(progress.pieces_have, progress.pieces_wanted);
        self.numbers.moved.store(moved, Ordering::Relaxed);
        self.numbers.sent.store(sent, Ordering::Relaxed);
    }

    pub(crate) fn died(&self) {
        self.set_state(RankState::Dead);
    }

    pub(crate) fn ended(&self) {
        self.set_state(RankState::Ended);
    }
}
