//! A process's part in an MPI job: joining it, saying how one's part of the plan was read, hearing
//! what is new, and leaving it together. The drivers of `lead` and `follow` run the swarm in between.

mod leave;

use super::envelope::Parcel;
use super::launcher::Launcher;
use super::library::{self, Library};
use super::native::Native;
use super::pump::{Order, Pumped, pump};
use super::session::{Hello, Process, Session};
use super::station::{Station, Word};
use super::transport::{Transport, TransportError};
use crate::run_mark::RunMark;
use crate::trace::TraceClock;
use crate::watch::{self, Neighbour, Watch};
use crate::witness::Witness;
use dunlin_base::Rank;
use dunlin_disk::Fs;
use dunlin_metainfo::CLUSTER_BLOCK_LENGTHS;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often who waits looks at whether it should stop.
const TICK: Duration = Duration::from_millis(100);
/// Rank 0 says every second that it lives; after so long without it, it is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// Everyone comes up within so long of each other: launchers start thousands of processes one by one.
const GATHER: Duration = Duration::from_secs(60);

/// A process's part in an MPI job. Clones are handles on the same part.
#[derive(Clone, Debug)]
pub struct MpiJob(Arc<Inner>);

/// Something new, for whoever drives.
#[derive(Debug)]
pub(super) enum News {
    /// What came in beside frames.
    Word(Rank, Word),
    /// A process of this host has ended.
    Died(Rank),
    /// The rank of this process is over.
    Over,
    /// MPI has failed in this process: nothing comes or goes any more.
    Failed(String),
}

struct Inner {
    rank: Rank,
    size: u32,
    library: String,
    clock: Arc<TraceClock>,
    orders: Sender<Order>,
    news: Mutex<Receiver<News>>,
    tell: Sender<News>,
    /// Says how the MPI thread ended.
    ended: Mutex<Receiver<()>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    id: String,
    seed: u64,
    /// Rank 0: the longest block that all who said hello agree on.
    block_length: u32,
    /// Rank 0: who said hello.
    processes: BTreeMap<Rank, Process>,
    neighbours: Vec<Process>,
    place: Option<PathBuf>,
    dead: BTreeSet<Rank>,
    /// Rank 0: the codes of peers that have one of their own.
    codes: BTreeMap<Rank, u8>,
    /// The last word has come.
    bye: Option<(u8, bool)>,
    /// Nobody says anything more, and whether all leave together.
    end: Option<bool>,
    watch: Option<Watch>,
    mark: Option<RunMark>,
    witness: Option<Witness>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {} over {}", self.rank, self.size, self.library)
    }
}

/// What a peer is told when it may take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The seed of every random choice of the run.
    pub seed: u64,
    /// The longest block that all ranks agree on, in bytes.
    pub block_length: u32,
}

/// A peer is told to leave before anything began, or has lost rank 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dismissed {
    /// The exit code.
    pub code: u8,
}

/// Why a process could not join its job. The environment is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The library could not be loaded, or does not fit the launcher.
    #[error(transparent)]
    Library(#[from] library::LoadError),
    /// The library refused to start.
    #[error("{0}; check that the program was started by the launcher of this MPI")]
    Start(String),
    /// Rank 0 said nothing.
    #[error(
        "rank {0} heard nothing from rank 0 for {seconds} s after the start; check the network between \
         the hosts, and try again",
        seconds = GATHER.as_secs()
    )]
    Alone(Rank),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MpiJob {
    /// Loads the library, starts MPI on a thread of its own, and waits for word from rank 0.
    ///
    /// # Errors
    /// [`JoinError`]: no library, one that does not fit, or no word.
    pub fn join(launcher: Option<&Launcher>, library: Option<&Path>) -> Result<MpiJob, JoinError> {
        let (launcher, library) = (launcher.cloned(), library.map(Path::to_owned));
        let make = move || {
            let library = Library::load(launcher.as_ref(), library.as_deref())?;
            let native = Native::init(library, launcher.as_ref().and_then(Launcher::size))
                .map_err(|error| JoinError::Start(error.to_string()))?;
            let version = native.library_version();
            Ok((native, version))
        };
        MpiJob::over(make, Native::finalize)
    }

    /// A part in a job over the transport that `make` makes on the thread that will use it;
    /// `finalize` ends it where everyone ends.
    pub(super) fn over<T: Transport + 'static>(
        make: impl FnOnce() -> Result<(T, String), JoinError> + Send + 'static,
        finalize: fn(T),
    ) -> Result<MpiJob, JoinError> {
        let clock = Arc::new(TraceClock::default());
        let (orders, inbox) = channel();
        let (tell, news) = channel();
        let (ready, joined) = channel();
        let (over, ended) = channel();
        let (times, told, failed) = (Arc::clone(&clock), tell.clone(), tell.clone());
        let body = move || {
            let start = || -> Result<_, JoinError> {
                let (transport, version) = make()?;
                let words = Box::new(move |from, word| {
                    // Whoever listens may have left.
                    let _ = told.send(News::Word(from, word));
                });
                let station = Station::new(transport, times, words)
                    .map_err(|error| JoinError::Start(error.to_string()))?;
                Ok((station, version))
            };
            match start() {
                Ok((station, version)) => {
                    let _ = ready.send(Ok((station.rank(), station.size(), version)));
                    if let Some(error) = end(pump(station, &inbox), finalize) {
                        let _ = failed.send(News::Failed(error.to_string()));
                    }
                }
                Err(error) => _ = ready.send(Err(error)),
            }
            // Whoever waits for it may be gone.
            let _ = over.send(());
        };
        std::thread::Builder::new()
            .name("mpi".into())
            .spawn(body)
            .map_err(|error| JoinError::Start(format!("no more threads: {error}")))?;
        let lost = |_| JoinError::Start("the MPI thread ended at its start".into());
        let (rank, size, library) = joined.recv().map_err(lost)??;
        let job = MpiJob(Arc::new(Inner {
            rank: Rank(rank),
            size,
            library,
            clock,
            orders,
            news: Mutex::new(news),
            tell,
            ended: Mutex::new(ended),
            state: Mutex::default(),
        }));
        job.agree()?;
        Ok(job)
    }

    /// Rank 0 names the job, everyone else hears it.
    fn agree(&self) -> Result<(), JoinError> {
        if self.leads() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let nanos = now.map_or(0, |since| since.as_nanos());
            let id = format!("{:x}-{nanos:x}", std::process::id());
            for peer in self.peers() {
                self.say(peer, &Session::Job { id: id.clone() });
            }
            self.state().id = id;
            return Ok(());
        }
        let until = Instant::now() + GATHER;
        while Instant::now() < until {
            if let Some(News::Word(_, Word::Session(bytes))) = self.next(TICK)
                && let Some(Session::Job { id }) = Session::decode(&bytes)
            {
                self.state().id = id;
                return Ok(());
            }
        }
        Err(JoinError::Alone(self.0.rank))
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

    /// What the library says it is, and where it was found.
    #[must_use]
    pub fn library(&self) -> String {
        self.0.library.clone()
    }

    /// A name of the job that all its ranks share and no other job has.
    #[must_use]
    pub fn id(&self) -> String {
        self.state().id.clone()
    }

    /// A peer says how its part of the plan was read, and waits for rank 0's answer.
    ///
    /// # Errors
    /// [`Dismissed`] if the run does not begin, or rank 0 is gone.
    pub fn hello(&self, hello: Hello, stopped: &dyn Fn() -> bool) -> Result<Welcome, Dismissed> {
        let me = Neighbour::me(self.0.rank, hello.state.clone());
        self.state().place = hello.state.clone();
        self.say(Rank::TRACKER, &Session::Hello { hello, process: process_of(&me) });
        let mut heard = Instant::now();
        loop {
            match self.next(TICK) {
                Some(News::Word(_, Word::Session(bytes))) => match Session::decode(&bytes) {
                    Some(Session::Welcome { seed, block_length, neighbours }) => {
                        let mut state = self.state();
                        (state.seed, state.neighbours) = (seed, neighbours);
                        return Ok(Welcome { seed, block_length });
                    }
                    Some(Session::Bye { code, together }) => {
                        self.state().bye = Some((code, together));
                        return Err(Dismissed { code });
                    }
                    _ => {}
                },
                Some(_) => heard = Instant::now(),
                None if stopped() => {
                    return Err(Dismissed { code: crate::report::EXIT_INTERRUPTED });
                }
                None if heard.elapsed() > SILENCE => {
                    return Err(Dismissed { code: crate::report::EXIT_NETWORK });
                }
                None => {}
            }
        }
    }

    /// Rank 0 waits until every peer has said hello, for `patience` at most: what each of them said.
    #[must_use]
    pub fn hellos(&self, patience: Duration, stopped: &dyn Fn() -> bool) -> BTreeMap<Rank, Hello> {
        let until = Instant::now() + patience;
        let mut hellos = BTreeMap::new();
        let all = self.peers().count();
        while hellos.len() < all && Instant::now() < until && !stopped() {
            if let Some(News::Word(from, Word::Session(bytes))) = self.next(TICK)
                && let Some(Session::Hello { hello, process }) = Session::decode(&bytes)
            {
                let mut state = self.state();
                state.processes.insert(from, Process { rank: from, ..process });
                let most = CLUSTER_BLOCK_LENGTHS.contains(&hello.block_length);
                let most = if most { hello.block_length } else { *CLUSTER_BLOCK_LENGTHS.start() };
                state.block_length = match state.block_length {
                    0 => most,
                    agreed => agreed.min(most),
                };
                drop(state);
                hellos.insert(from, hello);
            }
        }
        hellos
    }

    /// Rank 0 lets the run begin, with this seed.
    pub fn welcome(&self, seed: u64) {
        let me = process_of(&Neighbour::me(Rank::TRACKER, None));
        let mut state = self.state();
        state.seed = seed;
        state.processes.insert(Rank::TRACKER, me);
        let here = state.processes.get(&Rank::TRACKER).map(|me| me.node.clone());
        state.neighbours = state
            .processes
            .values()
            .filter(|one| Some(&one.node) == here.as_ref())
            .cloned()
            .collect();
        let peers: Vec<Rank> = state.processes.keys().copied().collect();
        drop(state);
        peers.into_iter().filter(|rank| *rank != Rank::TRACKER).for_each(|rank| self.admit(rank));
    }

    /// Welcomes one peer.
    fn admit(&self, rank: Rank) {
        let state = self.state();
        let node = state.processes.get(&rank).map(|one| one.node.clone());
        let beside = state.processes.values().filter(|one| Some(&one.node) == node.as_ref());
        let neighbours = beside.cloned().collect();
        let (seed, block_length) = (state.seed, state.block_length);
        let welcome = Session::Welcome { seed, block_length, neighbours };
        drop(state);
        self.say(rank, &welcome);
    }

    /// Rank 0: a peer that comes late takes part if it can.
    pub(super) fn late(&self, from: Rank, hello: &Hello, process: &Process) -> bool {
        if hello.failure.is_some() || hello.block_length < self.state().block_length {
            return false;
        }
        self.state().processes.insert(from, Process { rank: from, ..process.clone() });
        self.admit(from);
        true
    }

    /// The ranks that are peers.
    pub(super) fn peers(&self) -> impl Iterator<Item = Rank> + use<> {
        (1..self.0.size).map(Rank)
    }

    pub(super) fn leads(&self) -> bool {
        self.0.rank == Rank::TRACKER
    }

    pub(super) fn clock(&self) -> &Arc<TraceClock> {
        &self.0.clock
    }

    /// Gives the MPI thread something to do. If it has failed, everyone else notices the silence.
    pub(super) fn order(&self, order: Order) {
        let _ = self.0.orders.send(order);
    }

    pub(super) fn orders(&self) -> Sender<Order> {
        self.0.orders.clone()
    }

    pub(super) fn teller(&self) -> Sender<News> {
        self.0.tell.clone()
    }

    pub(super) fn say(&self, to: Rank, session: &Session) {
        self.order(Order::Parcel { to, parcel: Parcel::Session(session.encode()) });
    }

    /// What is new; `None` after `patience`.
    pub(super) fn next(&self, patience: Duration) -> Option<News> {
        let news = lock(&self.0.news);
        news.recv_timeout(patience).ok()
    }

    /// A rank is known to be dead.
    pub(super) fn bury(&self, rank: Rank) {
        let mut state = self.state();
        if !state.dead.insert(rank) {
            return;
        }
        if let Some(mark) = &state.mark {
            mark.died(rank);
        }
        drop(state);
        self.order(Order::Lost(rank));
    }

    pub(super) fn is_dead(&self, rank: Rank) -> bool {
        self.state().dead.contains(&rank)
    }

    /// Rank 0: what a peer's process ends with, whatever the run as a whole does.
    pub(super) fn set_code(&self, rank: Rank, code: u8) {
        self.state().codes.insert(rank, code);
    }

    /// Begins to watch the processes of this host, and leaves a mark of the run where outputs go.
    pub(super) fn begin_watching(&self, fs: Option<&Arc<dyn Fs>>) {
        let mut state = self.state();
        let (rank, id) = (self.0.rank, state.id.clone());
        state.mark = match (&state.place, fs) {
            (Some(place), Some(fs)) => RunMark::begin(fs, place, rank, &id).ok(),
            // It leaves nothing for the next launch, but the witness sees whether it died.
            _ => RunMark::begin_temporary(rank, &id).ok(),
        };
        let others = |one: &&Process| one.rank != rank;
        let beside: Vec<Neighbour> =
            state.neighbours.iter().filter(others).map(neighbour_of).collect();
        let told = self.0.tell.clone();
        state.watch = Watch::start(
            beside,
            Box::new(move |rank| {
                let _ = told.send(News::Died(rank));
            }),
        )
        .ok();
        let mount = watch::mount_id();
        let mut same = state.neighbours.iter().filter(|one| one.mount == mount);
        if same.next().is_some_and(|lowest| lowest.rank == rank) {
            let all = state.neighbours.iter().filter(|one| one.mount == mount).map(neighbour_of);
            self.call_witness(all.collect());
        }
    }

    /// Starts the witness of this host. The run does not wait for it: it takes as long as a process
    /// takes to start.
    fn call_witness(&self, all: Vec<Neighbour>) {
        let job = Arc::downgrade(&self.0);
        let call = move || match Witness::spawn(&all) {
            Ok(witness) => {
                if let Some(job) = job.upgrade() {
                    lock(&job.state).witness = Some(witness);
                }
            }
            Err(error) => tracing::debug!(%error, "there is no witness of this host's ranks"),
        };
        if let Err(error) = std::thread::Builder::new().name("call-witness".into()).spawn(call) {
            tracing::debug!(%error, "there is no witness of this host's ranks");
        }
    }

    /// The rank's run has ended in order.
    pub(super) fn end_mark(&self, how: crate::run_mark::Ending) {
        if let Some(mark) = self.state().mark.take() {
            mark.end(how);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

fn process_of(one: &Neighbour) -> Process {
    Process {
        rank: one.rank,
        node: watch::node_id(),
        mount: watch::mount_id(),
        pid: one.pid,
        started: one.started,
        mark: one.mark.clone(),
    }
}

fn neighbour_of(process: &Process) -> Neighbour {
    let Process { rank, pid, started, mark, .. } = process;
    Neighbour { rank: *rank, pid: *pid, started: *started, mark: mark.clone() }
}

/// Ends MPI if everyone ends it; why it failed, if it did.
fn end<T>(pumped: Pumped<T>, finalize: fn(T)) -> Option<TransportError> {
    match pumped {
        Pumped::Finish { transport, together: true } => finalize(transport),
        // Without finalizing, the library may still write into what was posted: it is never freed.
        Pumped::Finish { transport, together: false } => std::mem::forget(transport),
        Pumped::Failed(error) => return Some(error),
    }
    None
}
