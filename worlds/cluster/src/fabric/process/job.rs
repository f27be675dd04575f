//! A process's part in a job: joining it, sending how its part of the plan was read, receiving
//! events, and leaving it together with the others. The drivers `lead` and `follow` run the swarm
//! in between.

mod leaving;

use super::carrier::{Carrier, CarrierCommand, CarrierEvent, EventSink, Started};
use super::message::ProcessMessage;
use super::session::{Hello, RankProcess, Session};
use crate::frame::{Frame, Sent};
use crate::lock::lock;
use crate::supervision::run_mark::Ending;
use crate::supervision::same_host::{HostWatch, OwnRun, SameHostRank, process_of, same_host};
use crate::supervision::watch::{self, Neighbour};
use crate::trace::TraceClock;
use dunlin_base::Rank;
use dunlin_disk::Fs;
use dunlin_metainfo::CLUSTER_BLOCK_LENGTHS;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How often a wait checks whether it should stop.
const TICK: Duration = Duration::from_millis(100);
/// Rank 0 sends a pulse every second; after so long without one it counts as gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);
/// Everyone comes up within so long of each other: launchers start thousands of processes one by
/// one.
const GATHER: Duration = Duration::from_secs(60);

/// A process's part in a job. Clones are handles on the same part.
#[derive(Clone, Debug)]
pub struct Job(Arc<JobPart>);

/// What happens in a job, for its driver.
#[derive(Debug)]
pub(crate) enum JobEvent {
    /// The carrier reports something about a rank.
    Carrier(Rank, CarrierEvent),
    /// A process of this host has ended.
    Died(Rank),
    /// A rank was never started, or ended before it joined.
    GivenUp(Rank),
    /// The rank of this process is over.
    Over,
    /// The carrier has failed in this process: nothing comes or goes any more.
    Failed(String),
}

struct JobPart {
    rank: Rank,
    size: u32,
    /// What carries between the processes, for people.
    what: String,
    clock: Arc<TraceClock>,
    carrier: Box<dyn Carrier>,
    inbox: Mutex<Receiver<JobEvent>>,
    events: Sender<JobEvent>,
    /// Receives once when the carrier has ended, where it has something to end.
    ended: Option<Mutex<Receiver<()>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    id: String,
    /// Rank 0's arguments.
    work: Value,
    seed: u64,
    /// Rank 0: the longest block that all ranks that sent a hello agree on.
    block_length: u32,
    /// Rank 0: the processes that sent a hello.
    processes: BTreeMap<Rank, RankProcess>,
    neighbours: Vec<RankProcess>,
    place: Option<PathBuf>,
    host: HostWatch,
    /// Rank 0: ranks that are not waited for, since they cannot come.
    given_up: BTreeSet<Rank>,
    /// Rank 0: the codes of peers that have one of their own.
    codes: BTreeMap<Rank, u8>,
    /// The exit code that rank 0 sent, and whether all leave together.
    bye: Option<(u8, bool)>,
    /// Rank 0 sent the end of the job: whether all leave together.
    end: Option<bool>,
}

impl std::fmt::Debug for JobPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {} over {}", self.rank, self.size, self.what)
    }
}

/// What a peer gets when it may take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The seed of every random choice of the run.
    pub seed: u64,
    /// The longest block that all ranks agree on, in bytes.
    pub block_length: u32,
    /// The ranks of this host, this one too, as far as they are known.
    pub neighbours: Vec<SameHostRank>,
}

impl Welcome {
    /// The lowest rank below `rank` that writes into the folder `dest`, too; an absolute path.
    #[must_use]
    pub fn lower_in(&self, rank: Rank, dest: &Path) -> Option<Rank> {
        let same = |one: &&SameHostRank| one.same_files && one.state.as_deref() == Some(dest);
        let lower = self.neighbours.iter().filter(same).map(|one| one.rank);
        lower.filter(|other| *other < rank).min()
    }
}

/// Rank 0 dismissed a peer before the run began, or the peer has lost rank 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dismissed {
    /// The exit code.
    pub code: u8,
}

/// Why a process could not join its job: rank 0 sent nothing.
#[derive(Debug, thiserror::Error)]
#[error(
    "rank {0} heard nothing from rank 0 for {seconds} s after the start; check the network between \
     the hosts, and try again",
    seconds = GATHER.as_secs()
)]
pub struct SilentRoot(Rank);

impl Job {
    /// Joins with the carrier that `start` starts.
    ///
    /// # Errors
    /// Those of `start`, or if rank 0 sends nothing.
    pub(crate) fn join_with<E: From<SilentRoot>>(
        work: &Value,
        start: impl FnOnce(
            Arc<TraceClock>,
            EventSink,
            Box<dyn FnOnce(String) + Send>,
        ) -> Result<Started, E>,
    ) -> Result<Job, E> {
        let clock = Arc::new(TraceClock::default());
        let (events, inbox) = channel();
        let (sink, failed) = (events.clone(), events.clone());
        let sink = Box::new(move |from, event| {
            // The driver may have left.
            let _ = sink.send(JobEvent::Carrier(from, event));
        });
        let failed = Box::new(move |error| _ = failed.send(JobEvent::Failed(error)));
        let started = start(Arc::clone(&clock), sink, failed)?;
        let job = Job(Arc::new(JobPart {
            rank: started.rank,
            size: started.size,
            what: started.what,
            clock,
            carrier: started.carrier,
            inbox: Mutex::new(inbox),
            events,
            ended: started.ended.map(Mutex::new),
            state: Mutex::default(),
        }));
        job.agree(work)?;
        Ok(job)
    }

    /// Rank 0 names the job, everyone else receives the name.
    fn agree(&self, work: &Value) -> Result<(), SilentRoot> {
        if self.leads() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let nanos = now.map_or(0, |since| since.as_nanos());
            let id = format!("{:x}-{nanos:x}", std::process::id());
            let first = Session::Job { id: id.clone(), work: work.clone() };
            self.command(CarrierCommand::Greet(first.encode()));
            let mut state = self.state();
            (state.id, state.work) = (id, work.clone());
            return Ok(());
        }
        let until = Instant::now() + GATHER;
        while Instant::now() < until {
            match self.next_event(TICK) {
                Some(JobEvent::Carrier(
                    Rank::TRACKER,
                    CarrierEvent::Message(ProcessMessage::Session(bytes)),
                )) => {
                    if let Some(Session::Job { id, work }) = Session::decode(&bytes) {
                        let mut state = self.state();
                        (state.id, state.work) = (id, work);
                        return Ok(());
                    }
                }
                Some(JobEvent::Carrier(
                    Rank::TRACKER,
                    CarrierEvent::Lost(_) | CarrierEvent::Broken(_),
                )) => break,
                _ => {}
            }
        }
        Err(SilentRoot(self.0.rank))
    }

    /// Our rank; 0 is the tracker's.
    #[must_use]
    pub fn rank(&self) -> Rank {
        self.0.rank
    }

    /// How many ranks the job has, the tracker's among them.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.0.size
    }

    /// What carries between the processes, for people.
    #[must_use]
    pub fn carrier(&self) -> String {
        self.0.what.clone()
    }

    /// What rank 0 was asked to do, as it sent it at joining.
    #[must_use]
    pub fn work(&self) -> Value {
        self.state().work.clone()
    }

    /// A name of the job that all its ranks share and no other job has.
    #[must_use]
    pub fn id(&self) -> String {
        self.state().id.clone()
    }

    /// A peer sends how its part of the plan was read, and waits for rank 0's answer.
    ///
    /// # Errors
    /// [`Dismissed`] if the run does not begin, or rank 0 is gone.
    pub fn hello(&self, hello: Hello, stopped: &dyn Fn() -> bool) -> Result<Welcome, Dismissed> {
        let me = Neighbour::me(self.0.rank, hello.state.clone());
        self.state().place = hello.state.clone();
        let process = process_of(&me, &hello.host);
        self.send(Rank::TRACKER, &Session::Hello { hello, process });
        let mut last_event = Instant::now();
        loop {
            match self.next_event(TICK) {
                Some(JobEvent::Carrier(
                    _,
                    CarrierEvent::Message(ProcessMessage::Session(bytes)),
                )) => match Session::decode(&bytes) {
                    Some(Session::Welcome { seed, block_length, neighbours }) => {
                        let mut state = self.state();
                        (state.seed, state.neighbours) = (seed, neighbours);
                        let neighbours = same_host(&state.neighbours);
                        return Ok(Welcome { seed, block_length, neighbours });
                    }
                    Some(Session::Bye { code, together }) => {
                        self.state().bye = Some((code, together));
                        return Err(Dismissed { code });
                    }
                    _ => {}
                },
                Some(JobEvent::Carrier(
                    Rank::TRACKER,
                    CarrierEvent::Lost(_) | CarrierEvent::Broken(_),
                )) => {
                    self.announce_death(Rank::TRACKER);
                    return Err(Dismissed { code: crate::report::EXIT_NETWORK });
                }
                Some(_) => last_event = Instant::now(),
                None if stopped() => {
                    return Err(Dismissed { code: crate::report::EXIT_INTERRUPTED });
                }
                None if last_event.elapsed() > SILENCE => {
                    return Err(Dismissed { code: crate::report::EXIT_NETWORK });
                }
                None => {}
            }
        }
    }

    /// Rank 0 waits until every peer has sent a hello, for `patience` at most: the hello of each.
    #[must_use]
    pub fn hellos(&self, patience: Duration, stopped: &dyn Fn() -> bool) -> BTreeMap<Rank, Hello> {
        let until = Instant::now() + patience;
        let mut hellos = BTreeMap::new();
        let missing = |hellos: &BTreeMap<Rank, Hello>| {
            let state = self.state();
            let waits = |rank: &Rank| !hellos.contains_key(rank) && !state.given_up.contains(rank);
            self.peers().any(|rank| waits(&rank))
        };
        while missing(&hellos) && Instant::now() < until && !stopped() {
            let event = self.next_event(TICK);
            if let Some(
                JobEvent::GivenUp(rank)
                | JobEvent::Died(rank)
                | JobEvent::Carrier(rank, CarrierEvent::Lost(_)),
            ) = event
            {
                self.state().given_up.insert(rank);
            } else if let Some(JobEvent::Carrier(
                from,
                CarrierEvent::Message(ProcessMessage::Session(bytes)),
            )) = event
                && let Some(Session::Hello { hello, process }) = Session::decode(&bytes)
            {
                self.state().given_up.remove(&from);
                let mut state = self.state();
                state.processes.insert(from, RankProcess { rank: from, ..process });
                state.agree_on(hello.block_length);
                drop(state);
                hellos.insert(from, hello);
            }
        }
        hellos
    }

    /// Rank 0 knows that a rank was not started, or ended before it joined: it is not waited for
    /// any more, though it is let in if it comes after all. Any thread may call this.
    pub fn give_up(&self, rank: Rank) {
        // The driver may have left.
        let _ = self.0.events.send(JobEvent::GivenUp(rank));
    }

    /// Whether a rank is not waited for, since it cannot come.
    pub(crate) fn is_given_up(&self, rank: Rank) -> bool {
        self.state().given_up.contains(&rank)
    }

    /// Whether a rank has ever sent a hello.
    pub(crate) fn has_come(&self, rank: Rank) -> bool {
        self.state().processes.contains_key(&rank)
    }

    /// Rank 0, where it is a peer too, sets where it writes and how long its blocks are: before
    /// [`Job::welcome`].
    pub fn set_local_hello(&self, hello: &Hello) {
        let me = process_of(&Neighbour::me(Rank::TRACKER, hello.state.clone()), &hello.host);
        let mut state = self.state();
        state.place.clone_from(&hello.state);
        state.processes.insert(Rank::TRACKER, me);
        state.agree_on(hello.block_length);
    }

    /// Rank 0 lets the run begin, with this seed. Returns the welcome that it would get itself.
    pub fn welcome(&self, seed: u64) -> Welcome {
        let me = || process_of(&Neighbour::me(Rank::TRACKER, None), &watch::host_name());
        let mut state = self.state();
        state.seed = seed;
        state.processes.entry(Rank::TRACKER).or_insert_with(me);
        let here = state.processes.get(&Rank::TRACKER).map(|me| me.node.clone());
        state.neighbours = state
            .processes
            .values()
            .filter(|one| Some(&one.node) == here.as_ref())
            .cloned()
            .collect();
        let peers: Vec<Rank> = state.processes.keys().copied().collect();
        let neighbours = same_host(&state.neighbours);
        let welcome = Welcome { seed, block_length: state.block_length, neighbours };
        drop(state);
        peers.into_iter().filter(|rank| *rank != Rank::TRACKER).for_each(|rank| self.admit(rank));
        welcome
    }

    /// Welcomes one peer.
    fn admit(&self, rank: Rank) {
        let state = self.state();
        let node = state.processes.get(&rank).map(|one| one.node.clone());
        let same_host = state.processes.values().filter(|one| Some(&one.node) == node.as_ref());
        let neighbours = same_host.cloned().collect();
        let (seed, block_length) = (state.seed, state.block_length);
        let welcome = Session::Welcome { seed, block_length, neighbours };
        drop(state);
        self.send(rank, &welcome);
    }

    /// Rank 0: a peer that comes late takes part if it can.
    pub(crate) fn late(&self, from: Rank, hello: &Hello, process: &RankProcess) -> bool {
        if hello.failure.is_some() || hello.block_length < self.state().block_length {
            return false;
        }
        self.state().processes.insert(from, RankProcess { rank: from, ..process.clone() });
        self.admit(from);
        true
    }

    /// The ranks that are peers.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Rank> + use<> {
        (1..self.0.size).map(Rank)
    }

    pub(crate) fn leads(&self) -> bool {
        self.0.rank == Rank::TRACKER
    }

    pub(crate) fn clock(&self) -> &Arc<TraceClock> {
        &self.0.clock
    }

    /// Sends a frame to another process.
    pub(crate) fn send_frame(&self, to: Rank, frame: Frame, sent: Option<Sent>) {
        self.0.carrier.send(to, frame, sent);
    }

    /// Gives the carrier something to do.
    pub(crate) fn command(&self, command: CarrierCommand) {
        self.0.carrier.command(command);
    }

    /// Links may break one after the other for so long without being of use.
    pub(crate) fn set_patience(&self, patience: Duration) {
        self.command(CarrierCommand::Patience(patience));
    }

    /// Where events of the job are sent.
    pub(crate) fn events(&self) -> Sender<JobEvent> {
        self.0.events.clone()
    }

    /// Sends a message of the launch or the end.
    pub(crate) fn send(&self, to: Rank, session: &Session) {
        let message = ProcessMessage::Session(session.encode());
        self.command(CarrierCommand::Send { to, message });
    }

    /// The next event; `None` if none comes within `patience`.
    pub(crate) fn next_event(&self, patience: Duration) -> Option<JobEvent> {
        lock(&self.0.inbox).recv_timeout(patience).ok()
    }

    /// Begins to watch the processes of this host, and leaves a mark of the run where outputs go.
    pub(crate) fn begin_watching(&self, fs: Option<&Arc<dyn Fs>>) {
        let events = self.0.events.clone();
        let mut state = self.state();
        let State { host, id, place, neighbours, .. } = &mut *state;
        let own = OwnRun { rank: self.0.rank, job: id, place: place.as_deref().zip(fs) };
        // The driver may have left.
        let died = move |rank| _ = events.send(JobEvent::Died(rank));
        host.begin(&own, neighbours, Box::new(died));
    }

    /// The rank's run has ended in order.
    pub(crate) fn end_mark(&self, how: Ending) {
        self.state().host.end_mark(how);
    }

    /// A rank is known to be dead: the carrier learns it, too.
    pub(crate) fn announce_death(&self, rank: Rank) {
        if self.mark_dead(rank) {
            self.command(CarrierCommand::Lost(rank));
        }
    }

    /// A rank is dead, as the carrier knows already; false if that was known here, too.
    pub(crate) fn mark_dead(&self, rank: Rank) -> bool {
        self.state().host.mark_dead(rank)
    }

    /// A rank that was dead has been started again.
    pub(crate) fn mark_alive(&self, rank: Rank) {
        self.state().host.mark_alive(rank);
    }

    pub(super) fn is_dead(&self, rank: Rank) -> bool {
        self.state().host.dead().contains(&rank)
    }

    /// Rank 0: what a peer's process ends with, whatever the run as a whole does.
    pub(crate) fn set_code(&self, rank: Rank, code: u8) {
        self.state().codes.insert(rank, code);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl State {
    /// The longest block that all agree on is the shortest of what they take.
    fn agree_on(&mut self, length: u32) {
        let right = CLUSTER_BLOCK_LENGTHS.contains(&length);
        let most = if right { length } else { *CLUSTER_BLOCK_LENGTHS.start() };
        self.block_length = match self.block_length {
            0 => most,
            agreed => agreed.min(most),
        };
    }
}
