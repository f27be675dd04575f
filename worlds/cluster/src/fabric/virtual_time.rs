//! All ranks on one thread, in virtual time. Messages take a seeded time: order within a pair of
//! ranks is kept, between pairs it is not. Jobs are done at once and are complete after a seeded
//! time. The payload moves for real. The same seed gives the same run, bit for bit.
//!
//! `dunlin_simnet` has the clock, the order of events and the links; here are ranks, frames and
//! jobs.

use super::RunOutcome;
use crate::control::RunControl;
use crate::download::Downloader;
use crate::frame::Frame;
use crate::lock::lock;
use crate::peer::{Arrival, Effect, Peer, RankSetup};
use crate::report::RunError;
use crate::tracker::{Tracker, TrackerArrival};
use crate::upload::{Serve, UploadJob, Uploader};
use dunlin_base::{Rank, Rng, Time};
use dunlin_control::Control;
use dunlin_disk::Budget;
use dunlin_simnet::{Delivery, Latency, Network, NetworkConfig, Order, Sharing, Timers, Transfer};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use dunlin_simnet::LinkRates;

/// Data is synced this long after it was written.
const SYNC_AFTER: Duration = Duration::from_secs(1);
/// The stream of the run's seed that delays are drawn from.
const STREAM_DELAY: u64 = 3 << 32;
/// What a message costs on the wire beside its payload, in bytes: its header and seal, and its part
/// of a packet.
const OVERHEAD: u64 = 32;

/// The world that virtual time makes.
#[derive(Clone, Debug)]
pub struct VirtualConfig {
    /// The shortest time that a message takes.
    pub min_delay: Duration,
    /// The longest time that a message takes.
    pub max_delay: Duration,
    /// The shortest time that a job takes.
    pub min_job: Duration,
    /// The longest time that a job takes.
    pub max_job: Duration,
    /// How fast each rank's link to the others is.
    pub links: LinkRates<Rank>,
    /// After so many steps the run is given up: something goes round in circles.
    pub max_steps: u64,
    /// Check all invariants after every step, and every frame against its codec.
    pub check: bool,
}

impl Default for VirtualConfig {
    /// A machine room: messages within half a millisecond, jobs within two.
    fn default() -> VirtualConfig {
        VirtualConfig {
            min_delay: Duration::from_micros(20),
            max_delay: Duration::from_micros(500),
            min_job: Duration::from_micros(50),
            max_job: Duration::from_millis(2),
            links: LinkRates::default(),
            // A gigabyte to eight peers takes about a million.
            max_steps: 1_000_000_000,
            check: false,
        }
    }
}

/// What comes to a rank: a frame over the network, or what the world has scheduled for it.
enum Happening {
    Frame(Frame),
    Arrival(Arrival),
    Upload(Serve),
    Sync,
}

/// Whose timer it is; at one time the tracker's is first, then those of the peers in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    Tracker,
    Peer(Rank),
}

struct SimulatedRank {
    peer: Peer,
    downloader: Downloader,
    uploader: Uploader,
    /// Download jobs run one after another.
    busy_until: Time,
    uploading: bool,
    sync_at: Option<Time>,
    over: bool,
}

/// Ranks that the budget woke; true means that others want memory.
type Woken = Arc<Mutex<VecDeque<(Rank, bool)>>>;

struct World {
    config: VirtualConfig,
    network: Network<Rank, Happening>,
    timers: Timers<Alarm>,
    /// The lowest rank that is a peer: 0 or 1.
    first: Rank,
    ranks: Vec<SimulatedRank>,
    tracker: Tracker,
    budget: Option<Arc<Budget>>,
    woken: Woken,
    stopping: bool,
}

/// Runs a swarm until everyone has stopped.
pub(crate) fn run(
    rank_setups: Vec<RankSetup>,
    tracker: Tracker,
    control: &RunControl,
    config: VirtualConfig,
    seed: u64,
) -> RunOutcome {
    let mut world = World::new(rank_setups, tracker, config, seed);
    let mut errors = Vec::new();
    let mut interrupted = false;
    for index in 0..world.ranks.len() {
        world.effects(index);
    }
    let mut steps = 0;
    while !world.over() {
        if control.ending() && !interrupted {
            interrupted = true;
            world.tracker_arrival(TrackerArrival::Interrupt);
        }
        steps += 1;
        let moved = world.step();
        if !moved || steps > world.config.max_steps {
            errors.push(world.given_up(steps, moved));
            break;
        }
    }
    let at = world.network.now();
    let peers = world.ranks.into_iter().map(|rank_state| rank_state.peer.into_report(at)).collect();
    RunOutcome { peers, tracker: Some(world.tracker), at, errors }
}

impl World {
    fn new(
        rank_setups: Vec<RankSetup>,
        tracker: Tracker,
        config: VirtualConfig,
        seed: u64,
    ) -> World {
        let woken = Woken::default();
        let budget = rank_setups.first().map(|rank_setup| Arc::clone(&rank_setup.setup.budget));
        let first = rank_setups.first().map_or(Rank(1), |rank_setup| rank_setup.setup.config.rank);
        let ranks =
            rank_setups.into_iter().map(|rank_setup| simulated(rank_setup, &woken)).collect();
        World {
            network: Network::new(network_config(&config), Rng::fork(seed, STREAM_DELAY)),
            config,
            first,
            timers: Timers::new(),
            ranks,
            tracker,
            budget,
            woken,
            stopping: false,
        }
    }

    fn over(&self) -> bool {
        self.tracker.finished() && self.ranks.iter().all(|rank_state| rank_state.over)
    }

    fn given_up(&self, steps: u64, moved: bool) -> RunError {
        let waiting: Vec<String> = self
            .ranks
            .iter()
            .filter(|rank_state| !rank_state.over)
            .take(8)
            .map(|rank_state| format!("{:?}", rank_state.peer.rank()))
            .collect();
        let why = if moved { "goes round in circles" } else { "waits for nothing" };
        RunError::Stalled(format!(
            "the swarm {why} at {:?} after {steps} steps; not over: {}; please report it",
            self.network.now(),
            waiting.join(", ")
        ))
    }

    /// The next thing that happens; false if nothing ever will. At one time what comes is before
    /// timers.
    fn step(&mut self) -> bool {
        let timer = self.timers.next_at();
        if let Some(delivery) = self.network.next_delivery(timer.unwrap_or(Time::NEVER)) {
            self.delivered(delivery);
        } else if let Some((at, alarm)) = self.timers.pop() {
            self.network.advance_to(at);
            match alarm {
                Alarm::Tracker => self.tracker_arrival(TrackerArrival::Timeout),
                Alarm::Peer(rank) => self.arrival(rank, Arrival::Timeout),
            }
        } else {
            return false;
        }
        self.wake();
        true
    }

    fn delivered(&mut self, delivery: Delivery<Rank, Happening>) {
        let Delivery { from, to, message } = delivery;
        match message {
            // Rank 0 may be tracker and peer; control messages say for which of the two they are.
            Happening::Frame(Frame::Control(message)) if message.is_for_tracker() => {
                self.tracker_arrival(TrackerArrival::Message { from, message });
            }
            Happening::Frame(frame) => self.arrival(to, Arrival::Frame { from, frame }),
            Happening::Arrival(arrival) => self.arrival(to, arrival),
            Happening::Upload(serve) => self.uploaded(to, &serve),
            Happening::Sync => {
                let Some(rank_state) = self.rank_mut(to).filter(|rank_state| !rank_state.over)
                else {
                    return;
                };
                rank_state.sync_at = None;
                let done = rank_state.downloader.sync();
                self.arrival(to, Arrival::Downloaded(done));
            }
        }
    }

    fn index_of(&self, rank: Rank) -> Option<usize> {
        rank.0.checked_sub(self.first.0).map(|index| index as usize)
    }

    fn rank_of(&self, index: usize) -> Rank {
        Rank(self.first.0 + index as u32)
    }

    fn rank_mut(&mut self, rank: Rank) -> Option<&mut SimulatedRank> {
        let index = self.index_of(rank)?;
        self.ranks.get_mut(index)
    }

    fn arrival(&mut self, rank: Rank, arrival: Arrival) {
        let (now, check) = (self.network.now(), self.config.check);
        let Some(rank_state) = self.rank_mut(rank) else { return };
        if rank_state.over {
            return;
        }
        rank_state.peer.handle(now, arrival);
        if check {
            rank_state.peer.check();
        }
        if let Some(index) = self.index_of(rank) {
            self.effects(index);
        }
    }

    /// Carries out what a rank wants.
    fn effects(&mut self, index: usize) {
        let rank = self.rank_of(index);
        while let Some(effect) = self.rank_mut(rank).and_then(|rank_state| rank_state.peer.poll()) {
            match effect {
                Effect::Send { to, frame } => self.send(rank, to, frame, None),
                Effect::Download(job) => {
                    let (now, took) = (self.network.now(), self.job_time());
                    let Some(rank_state) = self.rank_mut(rank) else { return };
                    let done = rank_state.downloader.run(job, &mut |_, _| {});
                    rank_state.busy_until = rank_state.busy_until.max(now) + took;
                    let at = rank_state.busy_until;
                    if let Some(done) = done {
                        self.schedule(at, rank, Arrival::Downloaded(done));
                    }
                    self.plan_sync(rank, at);
                }
                Effect::Upload(job) => self.upload(rank, job),
                Effect::Keep => {
                    if let Some(rank_state) = self.rank_mut(rank) {
                        rank_state.downloader.content().keep_at_end();
                    }
                }
                Effect::Finished => {
                    if let Some(rank_state) = self.rank_mut(rank) {
                        rank_state.over = true;
                    }
                }
            }
        }
        let wake = self.rank_mut(rank).and_then(|rank_state| rank_state.peer.next_timeout());
        self.timers.set(Alarm::Peer(rank), wake.map(|(at, _)| at));
    }

    fn plan_sync(&mut self, rank: Rank, at: Time) {
        let Some(rank_state) = self.rank_mut(rank) else { return };
        let due = match (rank_state.downloader.finishing(), rank_state.downloader.unsynced()) {
            (true, _) => at,
            (false, true) => at + SYNC_AFTER,
            (false, false) => return,
        };
        if rank_state.sync_at.is_none_or(|planned| due < planned) {
            rank_state.sync_at = Some(due);
            self.network.schedule(due, rank, Happening::Sync);
        }
    }

    fn upload(&mut self, rank: Rank, job: UploadJob) {
        let Some(rank_state) = self.rank_mut(rank) else { return };
        if let Some(done) = rank_state.uploader.push(job) {
            self.schedule(self.network.now(), rank, Arrival::Uploaded(done));
        }
        self.next_upload(rank);
    }

    fn next_upload(&mut self, rank: Rank) {
        let (now, took) = (self.network.now(), self.job_time());
        let Some(rank_state) = self.rank_mut(rank).filter(|rank_state| !rank_state.uploading)
        else {
            return;
        };
        if let Some((at, serve)) = rank_state.uploader.next(now) {
            rank_state.uploading = true;
            self.network.schedule(at + took, rank, Happening::Upload(serve));
        }
    }

    fn uploaded(&mut self, rank: Rank, serve: &Serve) {
        let Some(budget) = self.budget.clone() else { return };
        let Some(rank_state) = self.rank_mut(rank) else { return };
        rank_state.uploading = false;
        if rank_state.over {
            return;
        }
        let charge = budget.charge_unbounded(rank_state.uploader.bytes(serve));
        let (frame, done) = rank_state.uploader.read(serve, charge);
        self.next_upload(rank);
        match frame {
            // A link with a rate takes its time: the block counts as sent when it has left.
            Some(frame) if !self.config.links.is_unlimited() => {
                self.send(rank, serve.to, frame, Some(Arrival::Uploaded(done)));
            }
            frame => {
                if let Some(frame) = frame {
                    self.send(rank, serve.to, frame, None);
                }
                self.arrival(rank, Arrival::Uploaded(done));
            }
        }
    }

    fn send(&mut self, from: Rank, to: Rank, frame: Frame, sent: Option<Arrival>) {
        if self.config.check {
            assert!(frame.survives_codecs(), "{from:?} → {to:?}: {frame:?}");
        }
        // Without rates no size matters.
        let bytes = if self.config.links.is_unlimited() { 0 } else { bytes_of(&frame) };
        let (message, sent) = (Happening::Frame(frame), sent.map(Happening::Arrival));
        self.network.send(Transfer { from, to, bytes, message, sent });
    }

    fn tracker_arrival(&mut self, arrival: TrackerArrival) {
        if self.tracker.finished() {
            return;
        }
        self.tracker.handle(self.network.now(), arrival);
        if self.config.check {
            self.tracker.coordinator().check();
        }
        while let Some((to, message)) = self.tracker.poll() {
            self.send(Rank::TRACKER, to, Frame::Control(message), None);
        }
        let wake = self.tracker.next_timeout().map(|(at, _)| at);
        self.timers.set(Alarm::Tracker, wake);
        if self.tracker.finished() && !self.stopping {
            self.stopping = true;
            // Later than the last message of the tracker: a rank that received the end goes its own
            // way.
            let at = self.network.now() + self.config.max_delay * 2;
            for index in 0..self.ranks.len() {
                self.schedule(at, self.rank_of(index), Arrival::Stop);
            }
        }
    }

    /// Wakes the ranks that the budget has memory for.
    fn wake(&mut self) {
        loop {
            let next = lock(&self.woken).pop_front();
            let Some((rank, wanted)) = next else { return };
            let arrival = if wanted { Arrival::MemoryWanted } else { Arrival::MemoryFree };
            self.schedule(self.network.now(), rank, arrival);
        }
    }

    fn schedule(&mut self, at: Time, rank: Rank, arrival: Arrival) {
        self.network.schedule(at, rank, Happening::Arrival(arrival));
    }

    /// How long a job takes.
    fn job_time(&mut self) -> Duration {
        self.network.draw(self.config.min_job, self.config.max_job)
    }
}

/// The network between ranks. Without rates a message takes a drawn time; with them its bytes take
/// theirs, and `min_delay` comes on top. What rank 0 sends to itself crosses no link.
fn network_config(config: &VirtualConfig) -> NetworkConfig<Rank> {
    let drawn = Latency::Uniform { min: config.min_delay, max: config.max_delay };
    let (latency, sharing) = if config.links.is_unlimited() {
        (drawn, Sharing::Fifo)
    } else {
        (Latency::Constant(config.min_delay), Sharing::RoundRobin)
    };
    let rates = config.links.clone();
    NetworkConfig { latency, loopback: drawn, order: Order::PerPair, rates, sharing }
}

/// What a frame takes on the wire, in bytes.
fn bytes_of(frame: &Frame) -> u64 {
    let body = match frame {
        Frame::Piece { payload, .. } => payload.data.len() as u64,
        // Only these grow with the plan.
        Frame::Control(
            control @ (Control::Register(_) | Control::Start(_) | Control::Swarm(_)),
        ) => dunlin_control::encode(control).len() as u64,
        Frame::Wire { message: dunlin_wire::Message::Bitfield(bits), .. } => bits.len() as u64,
        Frame::Control(_) | Frame::Handshake { .. } | Frame::Wire { .. } | Frame::HangUp { .. } => {
            0
        }
    };
    body + OVERHEAD
}

fn simulated(rank_setup: RankSetup, woken: &Woken) -> SimulatedRank {
    let rank = rank_setup.setup.config.rank;
    let waker = |wanted: bool| {
        let woken = Arc::clone(woken);
        Box::new(move || {
            lock(&woken).push_back((rank, wanted));
        })
    };
    rank_setup.setup.budget.set_waker(u64::from(rank.0), waker(false));
    rank_setup.setup.budget.set_pressure(u64::from(rank.0), waker(true));
    let downloader = Downloader::new(Arc::clone(&rank_setup.content));
    let uploader =
        Uploader::new(rank_setup.content, &rank_setup.setup.faults, rank_setup.setup.max_rate);
    SimulatedRank {
        peer: Peer::new(rank_setup.setup),
        downloader,
        uploader,
        busy_until: Time::ZERO,
        uploading: false,
        sync_at: None,
        over: false,
    }
}
