//! All ranks on one thread, in virtual time. Messages take a seeded time: order within a pair of
//! ranks is kept, between pairs it is not. Jobs are done at once and are complete after a seeded
//! time. The payload moves for real. The same seed gives the same run, bit for bit.

mod network;

use super::RunOutcome;
use crate::control::RunControl;
use crate::download::Downloader;
use crate::frame::Frame;
use crate::lock::lock;
use crate::peer::{Arrival, Effect, Peer, RankSetup};
use crate::report::RunError;
use crate::tracker::{Tracker, TrackerArrival};
use crate::upload::{Serve, UploadDone, UploadJob, Uploader};
use dunlin_base::{Rank, Rng, Time};
use dunlin_control::Control;
use dunlin_disk::Budget;
use network::{Hop, Network};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use network::LinkRates;

/// Data is synced this long after it was written.
const SYNC_AFTER: Duration = Duration::from_secs(1);
/// The stream of the run's seed that delays are drawn from.
const STREAM_DELAY: u64 = 3 << 32;

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
    pub links: LinkRates,
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

enum Happening {
    ToPeer(Rank, Arrival),
    ToTracker { from: Rank, message: Control },
    Upload(Rank, Serve),
    Sync(Rank),
    Hop(Hop),
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
    rng: Rng,
    now: Time,
    sequence: u64,
    happenings: BTreeMap<(Time, u64), Happening>,
    timers: BTreeSet<(Time, usize)>,
    /// The tracker's first, then those of the peers in order.
    timer_of: Vec<Option<Time>>,
    /// The lowest rank that is a peer: 0 or 1.
    first: Rank,
    /// What a link with a rate carries; whoever serves a block is told when it has left.
    network: Network<(Rank, UploadDone)>,
    last_arrival: BTreeMap<(Rank, Rank), Time>,
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
    let at = world.now;
    let peers = world.stations.into_iter().map(|station| station.peer.into_report(at)).collect();
    RunOutcome { peers, tracker: Some(world.tracker), at, errors }
}

impl World {
    fn new(seats: Vec<RankSetup>, tracker: Tracker, config: VirtualConfig, seed: u64) -> World {
        let woken = Woken::default();
        let budget = seats.first().map(|seat| Arc::clone(&seat.setup.budget));
        let first = seats.first().map_or(Rank(1), |seat| seat.setup.config.rank);
        let timer_of = vec![None; seats.len() + 1];
        let stations = seats.into_iter().map(|seat| station(seat, &woken)).collect();
        World {
            network: Network::new(config.links.clone()),
            config,
            first,
            rng: Rng::fork(seed, STREAM_DELAY),
            now: Time::ZERO,
            sequence: 0,
            happenings: BTreeMap::new(),
            timers: BTreeSet::new(),
            timer_of,
            last_arrival: BTreeMap::new(),
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
            self.now,
            waiting.join(", ")
        ))
    }

    /// The next thing that happens; false if nothing ever will.
    fn step(&mut self) -> bool {
        let happening = self.happenings.first_key_value().map(|(key, _)| key.0);
        let timer = self.timers.first().map(|(at, _)| *at);
        match (happening, timer) {
            (None, None) => return false,
            (Some(at), timer) if timer.is_none_or(|timer| at <= timer) => {
                if let Some(((at, _), happening)) = self.happenings.pop_first() {
                    self.now = self.now.max(at);
                    self.happens(happening);
                }
            }
            _ => {
                if let Some((at, place)) = self.timers.pop_first() {
                    self.now = self.now.max(at);
                    self.set_timer(place, None);
                    match place.checked_sub(1) {
                        None => self.tracker_arrival(TrackerArrival::Timeout),
                        Some(index) => self.arrival(self.rank_of(index), Arrival::Timeout),
                    }
                }
            }
        }
        self.wake();
        true
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::ToPeer(rank, arrival) => self.arrival(rank, arrival),
            Happening::ToTracker { from, message } => {
                self.tracker_arrival(TrackerArrival::Message { from, message });
            }
            Happening::Upload(rank, serve) => self.uploaded(rank, &serve),
            Happening::Hop(hop) => self.hop(hop),
            Happening::Sync(rank) => {
                let Some(station) = self.station(rank).filter(|station| !station.over) else {
                    return;
                };
                station.sync_at = None;
                let done = station.downloader.sync();
                self.arrival(rank, Arrival::Downloaded(done));
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
        let (now, check) = (self.now, self.config.check);
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
                    let took = self.draw(self.config.min_job, self.config.max_job);
                    let now = self.now;
                    let Some(station) = self.station(rank) else { return };
                    let done = station.downloader.run(job, &mut |_, _| {});
                    station.busy_until = station.busy_until.max(now) + took;
                    let at = station.busy_until;
                    if let Some(done) = done {
                        self.put(at, Happening::ToPeer(rank, Arrival::Downloaded(done)));
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
        self.set_timer(index + 1, wake.map(|(at, _)| at));
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
            self.put(due, Happening::Sync(rank));
        }
    }

    fn upload(&mut self, rank: Rank, job: UploadJob) {
        let now = self.now;
        let Some(station) = self.station(rank) else { return };
        if let Some(done) = station.uploader.push(job) {
            self.put(now, Happening::ToPeer(rank, Arrival::Uploaded(done)));
        }
        self.next_upload(rank);
    }

    fn next_upload(&mut self, rank: Rank) {
        let took = self.draw(self.config.min_job, self.config.max_job);
        let now = self.now;
        let Some(station) = self.station(rank).filter(|station| !station.uploading) else { return };
        if let Some((at, serve)) = station.uploader.next(now) {
            station.uploading = true;
            self.put(at + took, Happening::Upload(rank, serve));
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
            Some(frame) if !self.network.is_unlimited() => {
                self.send(rank, serve.to, frame, Some((rank, done)));
            }
            frame => {
                if let Some(frame) = frame {
                    self.send(rank, serve.to, frame, None);
                }
                self.arrival(rank, Arrival::Uploaded(done));
            }
        }
    }

    fn send(&mut self, from: Rank, to: Rank, frame: Frame, done: Option<(Rank, UploadDone)>) {
        if self.config.check {
            assert!(frame.survives_codecs(), "{from:?} → {to:?}: {frame:?}");
        }
        // What rank 0 says to itself crosses no link.
        if !self.network.is_unlimited() && from != to {
            if let Some((at, hop)) = self.network.send(self.now, from, to, frame, done) {
                self.put(at, Happening::Hop(hop));
            }
            return;
        }
        let sent = self.now + self.draw(self.config.min_delay, self.config.max_delay);
        let last = self.last_arrival.entry((from, to)).or_default();
        *last = sent.max(*last);
        let at = *last;
        self.put(at, frame_for(from, to, frame));
        if let Some((rank, done)) = done {
            self.put(self.now, Happening::ToPeer(rank, Arrival::Uploaded(done)));
        }
    }

    /// Something happens in the network.
    fn hop(&mut self, hop: Hop) {
        match hop {
            Hop::Left { from, to } => {
                let (hops, sent) = self.network.left(self.now, from, to, self.config.min_delay);
                for (at, hop) in hops {
                    self.put(at, Happening::Hop(hop));
                }
                if let Some((rank, done)) = sent {
                    self.arrival(rank, Arrival::Uploaded(done));
                }
            }
            Hop::Landed { from, to, bytes, frame } => {
                if let Some((at, hop)) = self.network.landed(self.now, from, to, bytes) {
                    self.put(at, Happening::Hop(hop));
                }
                if let Some(frame) = frame {
                    self.happens(frame_for(from, to, *frame));
                }
            }
        }
    }

    fn tracker_arrival(&mut self, arrival: TrackerArrival) {
        if self.tracker.finished() {
            return;
        }
        self.tracker.handle(self.now, arrival);
        if self.config.check {
            self.tracker.coordinator().check();
        }
        while let Some((to, message)) = self.tracker.poll() {
            self.send(Rank::TRACKER, to, Frame::Control(message), None);
        }
        let wake = self.tracker.next_timeout().map(|(at, _)| at);
        self.set_timer(0, wake);
        if self.tracker.finished() && !self.stopping {
            self.stopping = true;
            // Later than the last message of the tracker: whoever heard of the end goes its own
            // way.
            let at = self.now + self.config.max_delay * 2;
            for index in 0..self.stations.len() {
                self.put(at, Happening::ToPeer(self.rank_of(index), Arrival::Stop));
            }
        }
    }

    /// Tells the ranks that the budget woke.
    fn wake(&mut self) {
        loop {
            let next = lock(&self.woken).pop_front();
            let Some((rank, wanted)) = next else { return };
            let arrival = if wanted { Arrival::MemoryWanted } else { Arrival::MemoryFree };
            self.put(self.now, Happening::ToPeer(rank, arrival));
        }
    }

    fn put(&mut self, at: Time, happening: Happening) {
        self.sequence += 1;
        self.happenings.insert((at, self.sequence), happening);
    }

    fn set_timer(&mut self, whose: usize, at: Option<Time>) {
        let Some(timer) = self.timer_of.get_mut(whose) else { return };
        if *timer == at {
            return;
        }
        if let Some(old) = timer.take() {
            self.timers.remove(&(old, whose));
        }
        *timer = at;
        if let Some(at) = at {
            self.timers.insert((at, whose));
        }
    }

    fn draw(&mut self, min: Duration, max: Duration) -> Duration {
        let (min, max) = (min.as_nanos() as u64, max.as_nanos() as u64);
        Duration::from_nanos(min + self.rng.below(max.saturating_sub(min) + 1))
    }
}

/// What it means that a frame arrives: rank 0 may be tracker and peer, and control messages say for
/// which of the two they are.
fn frame_for(from: Rank, to: Rank, frame: Frame) -> Happening {
    match frame {
        Frame::Control(message) if message.is_for_tracker() => {
            Happening::ToTracker { from, message }
        }
        frame => Happening::ToPeer(to, Arrival::Frame { from, frame }),
    }
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
