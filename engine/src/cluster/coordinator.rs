//! Rank 0 of a cluster: it collects registrations, opens the start barrier, answers look-ups and
//! refreshes, asks for loads, counts completions, notices the dead, and ends the run.
//!
//! ```text
//!             all registered, absent or dead          all complete, absent or dead
//!  Collecting ─────────────────────────────▶ Running ─────────────────────────────▶ Finished
//!      │  refused, only a check, nobody alive, interrupt ──────────────────────────────▲
//!
//!  a rank:  Expected ─▶ Registered ─▶ Complete
//!              │ no progress ▲└──────────┴─▶ Dead (silent, or the world says so)
//!              └─▶ Absent ───┤                │
//!                            └── registers late
//! ```
//!
//! A hub that routes: `planner` decides what the sets are, `swarm_table` who is in which swarm.
//! Invariants, held by [`Coordinator::check`]: nobody is awaited once the barrier
//! is open; the dead are in no swarm; after [`CoordinatorOutput::Finished`] nothing follows but
//! refusals of ranks that come even later.

mod late_join;
mod life;
mod links;
mod loads;
mod outcome;
mod start;
mod swarm;
mod vain;

use crate::cluster::io::{CoordinatorInput, CoordinatorOutput};
use crate::cluster::{OnConflict, Rules, Sets, SwarmTable, TrackerMap, TrackerOrder, Tree};
use crate::wake::{Reason, Wake};
use dunlin_base::{Rank, Rng, Time};
use dunlin_control::{Control, Location, Register, ShutdownReason};
pub use loads::LOAD_WAIT;
pub use outcome::{Outcome, PlannedMove, Refusal, RefusalKind};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How a run is coordinated.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// The lowest rank that is a peer: 1, or 0 where rank 0 is tracker and peer at once.
    pub first: Rank,
    /// How many peers there are, from `first` on without a gap.
    pub peers: u32,
    /// How existing files count: `true` for a plan that is to be made so. What stands at a
    /// destination and differs is repaired, what one rank cannot give or take fails by itself, and
    /// the looks of trees are kept.
    pub placing: bool,
    /// Whether only owners say what a name holds, not what merely stands at destinations.
    pub owners_only: bool,
    /// The SHA-256 that files must have, by name.
    pub pins: BTreeMap<String, [u8; 32]>,
    /// Members that an answer names at most; 0 for all.
    pub members: usize,
    /// In which order members are listed.
    pub order: TrackerOrder,
    /// Whether answers say who has which piece.
    pub map: TrackerMap,
    /// What happens when owners disagree.
    pub on_conflict: OnConflict,
    /// Whether wanted files of other content that stand in place are replaced.
    pub force: bool,
    /// Whether to say what would move, and move nothing.
    pub check_only: bool,
    /// Whether peers are asked how busy they are.
    pub loads: bool,
    /// How old a reported load must be before it is asked for again.
    pub load_min_age: Duration,
    /// How long the barrier waits for a rank that shows no progress. Counted from [`Time::ZERO`] at
    /// first.
    pub start_timeout: Duration,
    /// How long a registered rank may say nothing before it is dead.
    pub silence: Duration,
    /// The seed of the random order.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Collecting,
    Running,
    Finished,
}

/// Where a rank is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// It has not registered yet.
    Expected,
    /// It has registered, and wants something still or may serve.
    Registered,
    /// It has all that it wanted, or a reason why not.
    Complete,
    /// It never registered, and nobody waits for it any more.
    Absent,
    /// It was heard of and is gone.
    Dead,
}

/// What is known of a rank.
#[derive(Clone, Debug)]
struct RankState {
    life: Life,
    /// When it last said anything.
    last_received: Time,
    /// When it last showed progress towards its registration.
    progress: Time,
    /// What it last said of its checking: bytes done and to do.
    checked: Option<(u64, u64)>,
    /// Its registration, until the sets are made.
    register: Option<Box<Register>>,
    /// Whether it requests nothing more until it is answered (see [`Register::awaits_answers`]).
    awaits_answers: bool,
    /// What it was asked about its load.
    queries: loads::LoadQueries,
    /// Where it runs.
    location: Option<Box<Location>>,
    /// Its place in the book of deadlines.
    due: Option<Time>,
}

/// The coordinator of a cluster: `handle`, then `poll` until `None`, then the next input.
#[derive(Clone, Debug)]
pub struct Coordinator {
    config: CoordinatorConfig,
    phase: Phase,
    /// From the first rank on.
    peers: Vec<RankState>,
    /// How many ranks are [`Life::Expected`].
    expected: u32,
    /// How many ranks are [`Life::Registered`].
    open: u32,
    table: SwarmTable,
    tree: Tree,
    links: links::Links,
    vain: vain::Vain,
    /// Answers that wait for loads, in the order of their deadlines.
    waiting: VecDeque<loads::PendingAnswer>,
    /// The deadlines of all ranks that have one.
    due: BTreeSet<(Time, Rank)>,
    rng: Rng,
    outcome: Outcome,
    queue: VecDeque<CoordinatorOutput>,
}

impl Coordinator {
    /// A coordinator at [`Time::ZERO`]. Without any peers it is finished at once.
    #[must_use]
    pub fn new(config: CoordinatorConfig) -> Coordinator {
        let peer = RankState {
            life: Life::Expected,
            last_received: Time::ZERO,
            progress: Time::ZERO,
            checked: None,
            register: None,
            awaits_answers: false,
            queries: loads::LoadQueries::default(),
            location: None,
            due: None,
        };
        let mut coordinator = Coordinator {
            phase: Phase::Collecting,
            peers: vec![peer; config.peers as usize],
            expected: config.peers,
            open: 0,
            table: SwarmTable::new(&Sets::default(), config.map),
            tree: Tree::default(),
            links: links::Links::default(),
            vain: vain::Vain::default(),
            waiting: VecDeque::new(),
            due: BTreeSet::new(),
            rng: Rng::new(config.seed),
            outcome: Outcome::default(),
            queue: VecDeque::new(),
            config,
        };
        let ranks: Vec<Rank> = coordinator.lives().map(|(rank, _)| rank).collect();
        ranks.into_iter().for_each(|rank| coordinator.rearm(rank));
        coordinator.advance(Time::ZERO);
        coordinator
    }

    /// Takes one input. Nonsense changes nothing.
    pub fn handle(&mut self, now: Time, input: CoordinatorInput) {
        if self.phase == Phase::Finished {
            return self.refuse_late(&input);
        }
        match input {
            CoordinatorInput::Message { from, message } => self.message(now, from, message),
            CoordinatorInput::Timeout => self.expire(now),
            CoordinatorInput::Lost { rank } => self.mark_dead(rank),
            CoordinatorInput::Withdrawn { rank } => self.withdraw(rank),
            CoordinatorInput::Alive { rank } => self.received(now, rank),
            CoordinatorInput::Interrupt => {
                self.outcome.interrupted = true;
                self.end(&ShutdownReason::Interrupted);
            }
        }
        self.advance(now);
    }

    /// The next thing to do; `None` when the input is dealt with.
    pub fn poll(&mut self) -> Option<CoordinatorOutput> {
        let mut output = self.queue.pop_front()?;
        if let CoordinatorOutput::Send { message: Control::Start(go), .. } = &mut output {
            // Filled in here and not when queued: names for every rank at once would be a lot.
            for assignment in &mut go.torrents {
                let info = self.table.info(assignment.torrent);
                let files = info.map(|info| info.files.as_slice()).unwrap_or_default();
                assignment.names = files.iter().map(|file| file.name.clone()).collect();
            }
        }
        Some(output)
    }

    /// When [`CoordinatorInput::Timeout`] is wanted, and why: the earliest moment at which a rank
    /// counts as absent or dead, or at which an answer waits no more for loads.
    #[must_use]
    pub fn next_timeout(&self) -> Wake {
        if self.phase == Phase::Finished {
            return None;
        }
        let loads = self.loads_due().map(|at| (at, Reason::Load));
        let rank = self.due.first().and_then(|(at, rank)| {
            let reason = match self.peer(*rank)?.life {
                Life::Expected => Reason::Start,
                _ => Reason::Silence,
            };
            Some((*at, reason))
        });
        loads.into_iter().chain(rank).min_by_key(|(at, _)| *at)
    }

    /// What has come of the run so far. Complete after [`CoordinatorOutput::Finished`].
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// Every registered file and who has its pieces, as [`SwarmTable::dump`] gives it; nothing
    /// before the start.
    #[must_use]
    pub fn dump(&self) -> Vec<(String, Vec<crate::cluster::DumpRow>)> {
        self.table.dump()
    }

    fn message(&mut self, now: Time, from: Rank, message: Control) {
        let running = self.phase == Phase::Running;
        let Some(peer) = self.peer_mut(from) else { return };
        match peer.life {
            // Whoever is given up may come late, but only with a registration.
            Life::Dead | Life::Absent => {
                if let Control::Register(register) = message {
                    self.register_late(now, from, register);
                }
                return;
            }
            Life::Expected | Life::Registered | Life::Complete => peer.last_received = now,
        }
        match message {
            Control::Checking { done, total } => peer.checking(now, done, total),
            Control::Register(register) => self.register(from, register),
            Control::Load(load) => self.load(now, from, load),
            Control::Lookup { name } if running => self.lookup(now, from, name),
            Control::Refresh(refresh) if running => self.refresh(now, from, refresh),
            Control::FileComplete { torrent, files } if running => {
                self.table.completed(torrent, from, &files);
                self.file_complete(from, torrent, &files);
            }
            Control::AllComplete { failed } if running => self.complete(from, failed),
            _ => {}
        }
        self.rearm(from);
    }

    /// Opens the barrier or ends the run, if it is time.
    fn advance(&mut self, now: Time) {
        if self.phase == Phase::Collecting && self.expected == 0 {
            self.start(now);
        }
        if self.phase == Phase::Running && self.open == 0 {
            self.end(&ShutdownReason::Done);
        }
    }

    fn peer(&self, rank: Rank) -> Option<&RankState> {
        self.peers.get(rank.0.checked_sub(self.config.first.0)? as usize)
    }

    fn peer_mut(&mut self, rank: Rank) -> Option<&mut RankState> {
        self.peers.get_mut(rank.0.checked_sub(self.config.first.0)? as usize)
    }

    /// All ranks, in order.
    fn ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        (self.config.first.0..).map(Rank).take(self.peers.len())
    }

    /// Every rank and its life, in order.
    fn lives(&self) -> impl Iterator<Item = (Rank, Life)> + '_ {
        self.ranks().zip(self.peers.iter().map(|peer| peer.life))
    }

    fn is_living(&self, rank: Rank) -> bool {
        let life = self.peer(rank).map(|peer| peer.life);
        matches!(life, Some(Life::Registered | Life::Complete))
    }

    /// By what rules registrations are judged.
    fn rules(&self) -> Rules<'_> {
        let config = &self.config;
        Rules {
            on_conflict: config.on_conflict,
            force: config.force,
            placing: config.placing,
            owners_only: config.owners_only,
            compare: config.check_only,
            pins: &config.pins,
        }
    }

    fn set_life(&mut self, rank: Rank, life: Life) {
        let Some(peer) = self.peer_mut(rank) else { return };
        let before = std::mem::replace(&mut peer.life, life);
        self.expected -= u32::from(before == Life::Expected);
        self.expected += u32::from(life == Life::Expected);
        self.open -= u32::from(before == Life::Registered);
        self.open += u32::from(life == Life::Registered);
        self.rearm(rank);
    }

    /// Writes the deadline of a rank into the book, after anything that it depends on.
    fn rearm(&mut self, rank: Rank) {
        let Some(peer) = self.peer(rank) else { return };
        let due = self.deadline(peer);
        if due == peer.due {
            return;
        }
        if let Some(old) = peer.due {
            self.due.remove(&(old, rank));
        }
        self.due.extend(due.map(|at| (at, rank)));
        if let Some(peer) = self.peer_mut(rank) {
            peer.due = due;
        }
    }

    fn send(&mut self, to: Rank, message: Control) {
        self.queue.push_back(CoordinatorOutput::Send { to, message });
    }

    fn deadline(&self, peer: &RankState) -> Option<Time> {
        match peer.life {
            Life::Expected => Some(peer.progress + self.config.start_timeout),
            Life::Registered | Life::Complete => Some(peer.last_received + self.config.silence),
            Life::Absent | Life::Dead => None,
        }
    }

    /// Asserts every invariant.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.table.check();
        let count = |life| self.lives().filter(|(_, other)| *other == life).count();
        assert_eq!(count(Life::Expected), self.expected as usize);
        assert_eq!(count(Life::Registered), self.open as usize);
        assert_eq!(count(Life::Dead), self.outcome.dead.len());
        assert_eq!(count(Life::Absent), self.outcome.absent.len());
        assert!(self.outcome.dead.is_sorted() && self.outcome.absent.is_sorted());
        match self.phase {
            Phase::Collecting => assert!(self.expected > 0 && count(Life::Complete) == 0),
            Phase::Running => assert!(self.expected == 0 && self.open > 0),
            Phase::Finished => assert_eq!(self.next_timeout(), None),
        }
        self.links.check();
        self.check_loads();
        let due = self.peers.iter().filter_map(|peer| self.deadline(peer)).count();
        assert_eq!(due, self.due.len());
        for (rank, life) in self.lives() {
            let peer = self.peer(rank);
            assert!(peer.is_some_and(|peer| peer.due == self.deadline(peer)));
            let waits = self.phase == Phase::Collecting && life == Life::Registered;
            let has = self.peer(rank).is_some_and(|peer| peer.register.is_some());
            assert!(has == waits || self.phase == Phase::Finished, "{rank:?} keeps what it needs");
            if matches!(life, Life::Dead | Life::Absent) {
                assert!(!self.links.knows(rank));
                let torrents = (0..self.table.torrents()).map(dunlin_base::TorrentId);
                assert!(torrents.into_iter().all(|torrent| !self.table.is_member(torrent, rank)));
            }
        }
        let finished = |output: &CoordinatorOutput| *output == CoordinatorOutput::Finished;
        let at = self.queue.iter().position(finished);
        let refusal = |output: &CoordinatorOutput| {
            matches!(output, CoordinatorOutput::Send { message: Control::Shutdown(_), .. })
        };
        let mut after = self.queue.iter().skip(at.map_or(self.queue.len(), |at| at + 1));
        assert!(after.all(refusal), "nothing follows the end but refusals");
    }
}

#[cfg(test)]
mod tests;
