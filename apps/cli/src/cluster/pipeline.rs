//! The one way of `swarm`, `cast` and `place` from options to exit code. What differs between the
//! commands is a [`Kind`], and what differs between processes is a [`ProcessRole`].
//!
//! ```text
//!          decide            load            check              run       print
//!   All    options, plan     all files       -                  ranks     the report
//!   Lead   options           its own files   what ranks sent    tracker   the report
//!   Peer   its part          its own files   rank 0 does        one rank  failures of its own
//! ```

use super::args::RunArgs;
use super::launch::{self, InProcess, JobProcess, Launch};
use super::outputs::Outputs;
use super::parsers::Fabric;
use super::policies::{self, Policies};
use super::ranks::{self, Refusal};
use super::{failures, progress};
use crate::console::progress::ProgressMode;
use crate::console::signals::Watch;
use crate::console::{Console, out};
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::{Dismissed, Hello, Job, Launcher, SameHostRank};
use dunlin_cluster::{
    FabricKind, PeerConfig, PeerReport, PeerState, Report, RunConfig, RunControl, RunError,
};
use dunlin_disk::{Fs, OutputLock, RealFs};
use dunlin_metainfo::CLUSTER_BLOCK_LENGTH;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// What filters of the log call the life of a job, wherever its code stands.
const JOB: &str = "dunlin::job";

/// What `swarm` and `place` do differently; `cast` is a `place` with one rule for all ranks.
pub(crate) trait Kind: Sized {
    /// Whether a peer of a job loads its files before rank 0 lets it begin. Otherwise it has to
    /// know its neighbours first.
    const LOADS_FIRST: bool;

    /// The options that all runs have.
    fn options(&self) -> &RunArgs;

    /// Whether nothing is to be moved or made.
    fn only_looks(&self) -> bool;

    /// The folder for the dumps of peers, and the ranks of this process.
    fn dump_peers(&self) -> Option<(&Path, Vec<Rank>)> {
        None
    }

    /// How many peers the plan has, if that is seen without loading it.
    fn peers(&self) -> Option<u32> {
        None
    }

    /// What a peer of a job is to do: what its own command line asks for, or what rank 0 sent.
    ///
    /// # Errors
    /// If that is wrong.
    fn at_peer(own: Result<Self, Failure>, _: &Job) -> Result<Self, Failure> {
        own
    }

    /// Decides what follows from options and plan, before anything is looked at on a disk.
    ///
    /// # Errors
    /// If the plan or an option is wrong.
    fn decide(&mut self, role: &ProcessRole<'_>, console: Console) -> Result<(), Failure>;

    /// What [`Kind::decide`] found to deserve attention.
    fn warnings(&self) -> &[String] {
        &[]
    }

    /// Ends the command without a run, if what was decided is enough to answer it.
    ///
    /// # Errors
    /// If a folder cannot be read, or stdout takes no more.
    fn answer(&self, _: Console) -> Result<Option<Exit>, Failure> {
        Ok(None)
    }

    /// The highest rank of the plan as rank 0 of a job sees it; 0 if it sees none.
    fn highest(&self) -> u32 {
        0
    }

    /// What a rank sends to rank 0 of itself. `loaded` is what it has and wants, if that is known.
    fn hello(&self, process: &JobProcess<'_>, loaded: Option<&PeerConfig>) -> Hello;

    /// Finds what the ranks of this process have and want, and makes their folders ready.
    ///
    /// # Errors
    /// Whatever keeps them from taking part.
    fn load(&mut self, stage: &Stage<'_>) -> Result<LoadedRanks, Failure>;

    /// The orders of pieces and sources.
    fn policies(&self) -> Policies;

    /// Adds what only this kind decides.
    fn configure(&self, config: RunConfig) -> RunConfig;

    /// Prints the report and writes the outputs.
    ///
    /// # Errors
    /// If something that was asked for cannot be written (exit 5).
    fn report(self, report: Report, outputs: Outputs) -> Result<Exit, Failure>;
}

/// Which ranks of a run are in this process.
pub(crate) enum ProcessRole<'a> {
    /// All of them.
    All(InProcess),
    /// Rank 0 of a job: the tracker, and of some kinds a peer.
    Lead(&'a JobProcess<'a>),
    /// One peer of a job.
    Peer(&'a JobProcess<'a>),
}

impl ProcessRole<'_> {
    /// The fabric between the ranks.
    pub(crate) fn fabric(&self) -> FabricKind {
        match self {
            ProcessRole::All(here) => here.fabric.clone(),
            ProcessRole::Lead(process) | ProcessRole::Peer(process) => {
                FabricKind::Ranks(process.job.clone())
            }
        }
    }

    fn launcher(&self) -> Option<&Launcher> {
        match self {
            ProcessRole::All(_) => None,
            ProcessRole::Lead(process) | ProcessRole::Peer(process) => process.launcher,
        }
    }
}

/// Where and with what a [`Kind`] loads.
pub(crate) struct Stage<'a> {
    /// Which ranks are in this process.
    pub(crate) role: &'a ProcessRole<'a>,
    /// Where warnings go.
    pub(crate) console: Console,
    /// Whether a person asked to stop.
    pub(crate) watch: &'a Watch,
    /// The disk.
    pub(crate) fs: Arc<dyn Fs>,
    /// At rank 0 of a job: what the ranks sent.
    pub(crate) hellos: &'a BTreeMap<Rank, Hello>,
    /// At a peer that loads after rank 0 has let it begin: the other ranks of its host.
    pub(crate) neighbours: &'a [SameHostRank],
}

impl Stage<'_> {
    /// How progress before the run is shown.
    pub(crate) fn progress(&self) -> ProgressMode {
        ProgressMode::of(self.console.is_quiet() || !self.console.leads())
    }
}

/// What the ranks of this process have and want.
pub(crate) struct LoadedRanks {
    /// The ranks.
    pub(crate) peers: Vec<PeerConfig>,
    /// The lock of the outputs, held until the run is over.
    pub(crate) lock: Option<OutputLock>,
}

/// Ranks that can take part, and the files that the run leaves beside theirs.
struct Ready {
    loaded: LoadedRanks,
    outputs: Outputs,
}

/// Runs a command whose ranks are `launch`ed. `message` is what rank 0 sends to the others of it.
///
/// # Errors
/// Whatever keeps the run from beginning, while this process is alone. A run that began, and a job
/// that was joined, ends with an exit code.
pub(crate) fn run<K: Kind>(
    kind: Result<K, Failure>,
    options: &RunArgs,
    launch: Launch,
    launcher: Option<&Launcher>,
    message: &Value,
) -> Result<Exit, Failure> {
    let fabric = options.launch.fabric;
    if let Launch::InProcess(here) = launch {
        return in_process(kind?, here);
    }
    let job = launch::join(&options.launch, options.start_timeout, launcher, message)?;
    let (rank, size) = (job.rank(), job.size());
    tracing::info!(target: JOB, over = job.carrier(), %rank, size, "joined the job");
    if size == 1 && fabric != Fabric::Tcp {
        // The launcher gave no number of processes, and started one only.
        let _ = job.leave(Exit::Ok.code());
        let kind = kind?;
        let here = launch::alone(fabric, true, || kind.peers())?;
        return in_process(kind, here);
    }
    let process = JobProcess::started_alone(&job, launcher);
    Ok(match rank {
        Rank::TRACKER => lead(&process, kind, options.json),
        _ => follow(&process, K::at_peer(kind, &job)),
    })
}

/// Runs all ranks in this process.
fn in_process<K: Kind>(mut kind: K, here: InProcess) -> Result<Exit, Failure> {
    let (quiet, said) = (kind.options().quiet, kind.options().seed);
    let console = Console::lead(quiet);
    let role = ProcessRole::All(here);
    kind.decide(&role, console)?;
    kind.warnings().iter().for_each(|text| console.warning(text));
    if let Some(exit) = kind.answer(console)? {
        return Ok(exit);
    }
    let control = RunControl::new();
    let watch = progress::watch(&control, console)?;
    let stage = Stage {
        role: &role,
        console,
        watch: &watch,
        fs: Arc::new(RealFs),
        hellos: &BTreeMap::new(),
        neighbours: &[],
    };
    let seed = policies::seed(said, &role.fabric())?;
    let Ready { loaded: LoadedRanks { peers, lock }, outputs } = ready(&mut kind, &stage)?;
    watch.go_on()?;
    tracing::info!(seed, ranks = peers.len(), "starting");
    let block_length = kind.options().block_size.unwrap_or(CLUSTER_BLOCK_LENGTH);
    let config = config(&kind, &stage, peers, (seed, block_length), &outputs);
    let mode = ProgressMode::of(quiet);
    let report = progress::during(mode, &control, || dunlin_cluster::run(config, &control));
    drop(lock);
    kind.report(report, outputs)
}

/// Leads a job to its end: rank 0 receives how every rank read its part, lets the run begin or ends
/// it, runs the tracker, and prints the report.
pub(crate) fn lead<K: Kind>(
    process: &JobProcess<'_>,
    kind: Result<K, Failure>,
    json: bool,
) -> Exit {
    let done = kind.map_err(Refusal::from).and_then(|kind| lead_run(process, kind));
    let exit = done.unwrap_or_else(|refusal| {
        // Before any process leaves: a launcher may end all of them when the first one does.
        refusal.report(json);
        refusal.exit
    });
    let _ = process.job.leave(exit.code());
    exit
}

fn lead_run<K: Kind>(process: &JobProcess<'_>, mut kind: K) -> Result<Exit, Refusal> {
    let job = process.job;
    let (quiet, said) = (kind.options().quiet, kind.options().seed);
    let start_timeout = kind.options().start_timeout;
    let console = Console::lead(quiet);
    let control = RunControl::new();
    // A death is printed at once: most launchers end all processes a moment later.
    control.set_notifier(out::notice);
    let watch = progress::watch(&control, console)?;
    let role = ProcessRole::Lead(process);
    // Judged with what the ranks sent: that the job has the wrong number of ranks, for one,
    // explains why one of them is not in it.
    let outputs = kind.decide(&role, console).and_then(|()| outputs(&kind, &role));
    let hellos = job.hellos(start_timeout, &|| watch.interrupted());
    watch.go_on()?;
    let peers = job.size().saturating_sub(1);
    ranks::judge(peers, kind.highest(), outputs.as_ref().err(), &hellos)?;
    let outputs = outputs?;
    kind.warnings().iter().for_each(|text| console.warning(text));
    // Those that could not be started were named when that failed.
    let mut heard = hellos.clone();
    heard.extend(process.lost().into_iter().map(|rank| (rank, Hello::default())));
    if let Some(text) = ranks::unheard(peers, &heard, start_timeout) {
        console.warning(&text);
    }
    if let Some(text) = ranks::last_run(&hellos).filter(|_| !quiet && !kind.only_looks()) {
        out::notice(&text);
    }
    let stage = Stage {
        role: &role,
        console,
        watch: &watch,
        fs: Arc::new(RealFs),
        hellos: &hellos,
        neighbours: &[],
    };
    let seed = policies::seed(said, &role.fabric())?;
    let LoadedRanks { peers: own, lock } = kind.load(&stage)?;
    watch.go_on()?;
    let welcome = job.welcome(seed);
    tracing::info!(seed, peers, "starting");
    let config = config(&kind, &stage, own, (welcome.seed, welcome.block_length), &outputs);
    let mode = ProgressMode::of(quiet);
    let mut report = progress::during(mode, &control, || dunlin_cluster::run(config, &control));
    drop(lock);
    let lost = process.lost();
    // A rank that was never there did not die.
    let never = |peer: &&mut PeerReport| {
        peer.state == PeerState::Dead && peer.files.is_empty() && lost.contains(&peer.rank)
    };
    report.peers.iter_mut().filter(never).for_each(|peer| peer.state = PeerState::Absent);
    Ok(kind.report(report, outputs)?)
}

/// Takes part in a job to its end: a peer makes its own part ready, sends rank 0 a hello, and runs
/// if rank 0 lets it begin.
pub(crate) fn follow<K: Kind>(process: &JobProcess<'_>, kind: Result<K, Failure>) -> Exit {
    let exit = take_part(process, kind);
    Exit::of_code(process.job.leave(exit.code()))
}

fn take_part<K: Kind>(process: &JobProcess<'_>, kind: Result<K, Failure>) -> Exit {
    let job = process.job;
    let quiet = kind.as_ref().is_ok_and(|kind| kind.options().quiet);
    let console = Console::peer(job.rank(), quiet);
    let control = RunControl::new();
    let watch = progress::watch(&control, console);
    let stopped = || watch.as_ref().is_ok_and(Watch::interrupted);
    let role = ProcessRole::Peer(process);
    let hellos = BTreeMap::new();
    let stage = |watch, neighbours| Stage {
        role: &role,
        console,
        watch,
        fs: Arc::new(RealFs),
        hellos: &hellos,
        neighbours,
    };
    let (kind, made) = match kind {
        Err(failure) => (None, Err(failure)),
        Ok(mut kind) => {
            let decided = kind.decide(&role, console);
            let made = decided.and_then(|()| match &watch {
                Err(failure) => Err(failure.clone()),
                Ok(watch) if K::LOADS_FIRST => ready(&mut kind, &stage(watch, &[])).map(Some),
                Ok(_) => Ok(None),
            });
            (Some(kind), made)
        }
    };
    let loaded = made.as_ref().ok().and_then(|ready| ready.as_ref()?.loaded.peers.first());
    let hello = match &kind {
        Some(kind) => kind.hello(process, loaded),
        None => Hello { own: true, host: process.host.clone(), ..Hello::default() },
    };
    let failure = made.as_ref().err();
    let failure = failure.map(|failure| (failure.exit.code(), failure.message.clone()));
    let welcome = match job.hello(Hello { failure, ..hello }, &stopped) {
        Ok(welcome) => welcome,
        Err(dismissed) => return dismiss(console, dismissed),
    };
    let made = match made {
        Ok(made) => made,
        // Rank 0 reports it.
        Err(failure) => return failure.exit,
    };
    let (Some(mut kind), Ok(watch)) = (kind, &watch) else { return Exit::Failed };
    let stage = stage(watch, &welcome.neighbours);
    let ready = match made.map_or_else(|| ready(&mut kind, &stage), Ok) {
        Ok(ready) => ready,
        Err(failure) => {
            console.error(&failure.message);
            return failure.exit;
        }
    };
    let Ready { loaded: LoadedRanks { peers, lock }, outputs } = ready;
    let agreed = (welcome.seed, welcome.block_length);
    let config = config(&kind, &stage, peers, agreed, &outputs);
    let report = dunlin_cluster::run(config, &control);
    drop(lock);
    close(console, &report, outputs)
}

/// Ends a peer that may not take part. Rank 0 prints why, if there is one.
fn dismiss(console: Console, dismissed: Dismissed) -> Exit {
    let exit = Exit::of_code(dismissed.code);
    if exit == Exit::Network {
        console.error("rank 0 is gone; nothing moved. Run the same command again");
    }
    exit
}

/// Writes the outputs of a peer. All else is rank 0's to print, unless it is gone.
fn close(console: Console, report: &Report, outputs: Outputs) -> Exit {
    if report.errors.iter().any(|error| matches!(error, RunError::Network(_))) {
        failures::failures(report).iter().for_each(|text| console.error(text));
    }
    match outputs.write(report) {
        Ok(()) => Exit::of_code(report.exit_code()),
        Err(failure) => {
            console.error(&failure.message);
            failure.exit
        }
    }
}

/// The files that the run leaves beside those of its ranks, made sure of before anything moves.
fn outputs<K: Kind>(kind: &K, role: &ProcessRole<'_>) -> Result<Outputs, Failure> {
    match (kind.only_looks(), role) {
        (true, _) => Ok(Outputs::default()),
        (false, ProcessRole::Peer(_)) => Outputs::of_peer(kind.options(), kind.dump_peers()),
        (false, _) => Outputs::prepare(kind.options(), kind.dump_peers()),
    }
}

fn ready<K: Kind>(kind: &mut K, stage: &Stage<'_>) -> Result<Ready, Failure> {
    let outputs = outputs(kind, stage.role)?;
    let loaded = kind.load(stage)?;
    stage.watch.go_on()?;
    Ok(Ready { loaded, outputs })
}

/// Everything that the world is given. `agreed` are the seed and the block length of the job.
fn config<K: Kind>(
    kind: &K,
    stage: &Stage<'_>,
    peers: Vec<PeerConfig>,
    agreed: (u64, u32),
    outputs: &Outputs,
) -> RunConfig {
    let run = kind.options();
    let Policies { profile, pieces, sources } = kind.policies();
    let (seed, block_length) = agreed;
    kind.configure(RunConfig {
        peers,
        fabric: stage.role.fabric(),
        profile,
        pieces,
        sources,
        piece_size: run.piece_size,
        block_length,
        memory: run.memory,
        seed,
        start_timeout: run.start_timeout,
        stall_timeout: run.stall_timeout,
        check_only: kind.only_looks(),
        faults: run.fault.clone(),
        trace: outputs.trace(),
        hash_threads: launch::hash_threads(stage.role.launcher()),
        ..RunConfig::bittorrent(Arc::clone(&stage.fs))
    })
}
