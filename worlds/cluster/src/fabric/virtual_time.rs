//! All ranks on one thread, in virtual time. Messages take a seeded time: order within a pair of
//! ranks is kept, between pairs it is not. Jobs are done at once and are complete after a seeded
//! time. The payload moves for real. The same seed gives the same run, bit for bit.
//!
//! `dunlin_simnet` has the clock, the order of events and the links; here are ranks, frames and jobs.

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
/// What a message costs on the wire beside its payload, in bytes: its header and seal, and its part of a
/// packet.
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

struct Station {
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
    stations: Vec<Station>,
    tracker: Tracker,
    budget: Option<Arc<Budget>>,
    woken: Woken,
    stopping: bool,
}

/// Runs a swarm until everyone has stopped.
pub(crate) fn run(
    seats: Vec<RankSetup>,
    tracker: Tracker,
    control: &RunControl,
    config: VirtualConfig,
    seed: u64,
) -> RunOutcome {
    let mut world = World::new(seats, tracker, config, seed);
    let mut errors = Vec::new();
    let mut interrupted = false;
    for index in 0..world.stations.len() {
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
    let peers = world.stations.into_iter().map(|station| station.peer.into_report(at)).collect();
    RunOutcome { peers, tracker: Some(world.tracker), at, errors }
}

impl World {
    fn new(seats: Vec<RankSetup>, tracker: Tracker, config: VirtualConfig, seed: u64) -> World {
        let woken = Woken::default();
        let budget = seats.first().map(|seat| Arc::clone(&seat.setup.budget));
        let first = seats.first().map_or(Rank(1), |seat| seat.setup.config.rank);
        let stations = seats.into_iter().map(|seat| station(seat, &woken)).collect();
        World {
            network: Network::new(network_config(&config), Rng::fork(seed, STREAM_DELAY)),
            config,
            first,
            timers: Timers::new(),
            stations,
            tracker,
            budget,
            woken,
            stopping: false,
        }
    }

    fn over(&self) -> bool {
        self.tracker.finished() && self.stations.iter().all(|station| station.over)
    }

    fn given_up(&self, steps: u64, moved: bool) -> RunError {
        let waiting: Vec<String> = self
            .stations
            .iter()
            .filter(|station| !station.over)
            .take(8)
            .map(|station| format!("{:?}", station.peer.rank()))
            .collect();
        let why = if moved { "goes round in circles" } else { "waits for nothing" };
        RunError::Stalled(format!(
            "the swarm {why} at {:?} after {steps} steps; not over: {}; please report it",
            self.network.now(),
            waiting.join(", ")
        ))
    }

    /// The next thing that happens; false if nothing ever will. At one time what comes is before timers.
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
                let Some(station) = self.station(to).filter(|station| !station.over) else {
                    return;
                };
                station.sync_at = None;
                let done = station.downloader.sync();
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

    fn station(&mut self, rank: Rank) -> Option<&mut Station> {
        let index = self.index_of(rank)?;
        self.stations.get_mut(index)
    }

    fn arrival(&mut self, rank: Rank, arrival: Arrival) {
        let (now, check) = (self.network.now(), self.config.check);
        let Some(station) = self.station(rank) else { return };
        if station.over {
            return;
        }
        station.peer.handle(now, arrival);
        if check {
            station.peer.check();
        }
        if let Some(index) = self.index_of(rank) {
            self.effects(index);
        }
    }

    /// Carries out what a rank wants.
    fn effects(&mut self, index: usize) {
        let rank = self.rank_of(index);
        while let Some(effect) = self.station(rank).and_then(|station| station.peer.poll()) {
            match effect {
                Effect::Send { to, frame } => self.send(rank, to, frame, None),
                Effect::Download(job) => {
                    let (now, took) = (self.network.now(), self.job_time());
                    let Some(station) = self.station(rank) else { return };
                    let done = station.downloader.run(job, &mut |_, _| {});
                    station.busy_until = station.busy_until.max(now) + took;
                    let at = station.busy_until;
                    if let Some(done) = done {
                        self.schedule(at, rank, Arrival::Downloaded(done));
                    }
                    self.plan_sync(rank, at);
                }
                Effect::Upload(job) => self.upload(rank, job),
                Effect::Keep => {
                    if let Some(station) = self.station(rank) {
                        station.downloader.content().keep_at_end();
                    }
                }
                Effect::Finished => {
                    if let Some(station) = self.station(rank) {
                        station.over = true;
                    }
                }
            }
        }
        let wake = self.station(rank).and_then(|station| station.peer.next_timeout());
        self.timers.set(Alarm::Peer(rank), wake.map(|(at, _)| at));
    }

    fn plan_sync(&mut self, rank: Rank, at: Time) {
        let Some(station) = self.station(rank) else { return };
        let due = match (station.downloader.finishing(), station.downloader.unsynced()) {
            (true, _) => at,
            (false, true) => at + SYNC_AFTER,
            (false, false) => return,
        };
        if station.sync_at.is_none_or(|planned| due < planned) {
            station.sync_at = Some(due);
            self.network.schedule(due, rank, Happening::Sync);
        }
    }

    fn upload(&mut self, rank: Rank, job: UploadJob) {
        let Some(station) = self.station(rank) else { return };
        if let Some(done) = station.uploader.push(job) {
            self.schedule(self.network.now(), rank, Arrival::Uploaded(done));
        }
        self.next_upload(rank);
    }

    fn next_upload(&mut self, rank: Rank) {
        let (now, took) = (self.network.now(), self.job_time());
        let Some(station) = self.station(rank).filter(|station| !station.uploading) else { return };
        if let Some((at, serve)) = station.uploader.next(now) {
            station.uploading = true;
            self.network.schedule(at + took, rank, Happening::Upload(serve));
        }
    }

    fn uploaded(&mut self, rank: Rank, serve: &Serve) {
        let Some(budget) = self.budget.clone() else { return };
        let Some(station) = self.station(rank) else { return };
        station.uploading = false;
        if station.over {
            return;
        }
        let charge = budget.charge_unbounded(station.uploader.bytes(serve));
        let (frame, done) = station.uploader.read(serve, charge);
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
            // Later than the last message of the tracker: whoever heard of the end goes its own
            // way.
            let at = self.network.now() + self.config.max_delay * 2;
            for index in 0..self.stations.len() {
                self.schedule(at, self.rank_of(index), Arrival::Stop);
            }
        }
    }

    /// Tells the ranks that the budget woke.
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
        Frame::Control(control @ (Control::Register(_) | Control::Go(_) | Control::Swarm(_))) => {
            dunlin_control::encode(control).len() as u64
        }
        Frame::Wire { message: dunlin_wire::Message::Bitfield(bits), .. } => bits.len() as u64,
        Frame::Control(_) | Frame::Handshake { .. } | Frame::Wire { .. } | Frame::HangUp { .. } => {
            0
        }
    };
    body + OVERHEAD
}

fn station(seat: RankSetup, woken: &Woken) -> Station {
    let rank = seat.setup.config.rank;
    let waker = |wanted: bool| {
        let woken = Arc::clone(woken);
        Box::new(move || {
            lock(&woken).push_back((rank, wanted));
        })
    };
    seat.setup.budget.set_waker(u64::from(rank.0), waker(false));
    seat.setup.budget.set_pressure(u64::from(rank.0), waker(true));
    let downloader = Downloader::new(Arc::clone(&seat.content));
    let uploader = Uploader::new(seat.content, &seat.setup.faults, seat.setup.max_rate);
    Station {
        peer: Peer::new(seat.setup),
        downloader,
        uploader,
        busy_until: Time::ZERO,
        uploading: false,
        sync_at: None,
        over: false,
    }
}
