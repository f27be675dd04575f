//! One run of a swarm in this process: its configuration, and the report that it returns.

use crate::config::{Mode, PeerConfig, PeerContent};
use crate::content::{Content, SharedResources};
use crate::control::RunControl;
use crate::fabric::process::job::Job;
use crate::fabric::virtual_time::VirtualConfig;
use crate::fabric::{RunOutcome, memory, virtual_time};
use crate::fault::{Fault, RankFaults};
use crate::peer::{PeerSetup, RankSetup};
use crate::report::{PeerState, Report, RunError};
use crate::supervision::follow::follow;
use crate::supervision::lead::{LeadTrace, lead};
use crate::trace::TraceSink;
use crate::tracker::Tracker;
use dunlin_base::{PeerId, Rank, Rate};
use dunlin_control::FailedFile;
use dunlin_disk::{Budget, Fs, LockError, OutputLock};
use dunlin_engine::cluster::coordinator::{CoordinatorConfig, RefusalKind};
use dunlin_engine::cluster::{OnConflict, TrackerMap, TrackerOrder};
use dunlin_engine::config::{Config, PieceOrder, Profile, RefreshScope, SourceOrder};
use dunlin_engine::swarm::choker::ChokerKind;
use dunlin_hash::HashPool;
use dunlin_metainfo::CLUSTER_BLOCK_LENGTH;
use dunlin_plan::Pattern;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A rank that sends nothing for so long is dead. Every rank sends something every few seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// A load is asked for again when it is older than this for each rank of the run: as fresh as can
/// be to balance by, and all ranks together answer no more than four thousand times a second.
const LOAD_AGE_A_RANK: Duration = Duration::from_micros(250);
/// In a swarm of more peers than this …
const FEW_PEERS: u32 = 100;
/// … an answer of the tracker names so many of them: everybody's connections to everybody would be
/// their square.
const MEMBERS: usize = 60;
/// Files that all ranks together keep open, where the system allows four times as many descriptors.
const OPEN_FILES: usize = 640;
/// Files that one rank keeps open at least and at most.
const OPEN_FILES_EACH: std::ops::RangeInclusive<usize> = 2..=64;

/// Which fabric carries the frames.
#[derive(Clone, Debug)]
pub enum FabricKind {
    /// Threads over memory.
    Memory,
    /// One thread in virtual time.
    Virtual(VirtualConfig),
    /// One process a rank. `peers` of the run holds only this process's own peer; none at rank 0,
    /// unless that is a peer, too. The report of rank 0 is the whole run's, that of a peer its own.
    Ranks(Job),
}

/// The configuration of a run.
#[derive(Debug)]
pub struct RunConfig {
    /// The peers: rank 1, 2, … in order, without a gap; or from rank 0 on, which is tracker and
    /// peer then.
    pub peers: Vec<PeerConfig>,
    /// The fabric.
    pub fabric: FabricKind,
    /// How peers work.
    pub profile: Profile,
    /// Which piece next.
    pub pieces: PieceOrder,
    /// From whom.
    pub sources: SourceOrder,
    /// In which order the tracker names members.
    pub tracker_order: TrackerOrder,
    /// What the tracker knows.
    pub tracker_map: TrackerMap,
    /// Whom peers serve.
    pub choker: ChokerKind,
    /// A refresh after so many verified pieces; 0 means never.
    pub refresh_every: u32,
    /// What a refresh asks for.
    pub refresh_scope: RefreshScope,
    /// The piece size in bytes, if it is not to follow from the length.
    pub piece_size: Option<u32>,
    /// The longest block between ranks, in bytes.
    pub block_length: u32,
    /// The memory budget in bytes.
    pub memory: u64,
    /// The seed of every random choice.
    pub seed: u64,
    /// How long the start waits for a rank that shows no progress.
    pub start_timeout: Duration,
    /// How long a file waits for a live source.
    pub stall_timeout: Duration,
    /// Ranks that serve no block.
    pub no_share: BTreeSet<Rank>,
    /// Whether another content at a destination may be replaced.
    pub force: bool,
    /// Report what would move, move nothing.
    pub check_only: bool,
    /// What happens when owners disagree.
    pub on_conflict: OnConflict,
    /// What the run does with files.
    pub mode: Mode,
    /// Whether only owners decide the content of a name, not files that are merely at destinations.
    pub owners_only: bool,
    /// The SHA-256 that files must have, by name.
    pub pins: BTreeMap<String, [u8; 32]>,
    /// What a rank sends at most, in bytes a second.
    pub max_rate: Option<Rate>,
    /// Ranks that misbehave.
    pub faults: Vec<Fault>,
    /// Where the trace goes.
    pub trace: Option<TraceSink>,
    /// Where files are.
    pub fs: Arc<dyn Fs>,
    /// Threads that hash.
    pub hash_threads: usize,
}

impl RunConfig {
    /// A run with the defaults of the course format, without peers.
    #[must_use]
    pub fn course(fs: Arc<dyn Fs>) -> RunConfig {
        RunConfig {
            profile: Profile::Course,
            pieces: PieceOrder::Sequential,
            sources: SourceOrder::ROUND_ROBIN,
            ..RunConfig::bittorrent(fs)
        }
    }

    /// A run with the defaults for real files, without peers.
    #[must_use]
    pub fn bittorrent(fs: Arc<dyn Fs>) -> RunConfig {
        RunConfig {
            peers: Vec::new(),
            fabric: FabricKind::Memory,
            profile: Profile::BitTorrent,
            pieces: PieceOrder::Rarest,
            sources: SourceOrder::FASTEST,
            tracker_order: TrackerOrder::Arrival,
            tracker_map: TrackerMap::Swarm,
            choker: ChokerKind::Cooperative,
            refresh_every: 10,
            refresh_scope: RefreshScope::File,
            piece_size: None,
            block_length: CLUSTER_BLOCK_LENGTH,
            memory: 256 << 20,
            seed: 1,
            start_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(60),
            no_share: BTreeSet::new(),
            force: false,
            check_only: false,
            on_conflict: OnConflict::Refuse,
            mode: Mode::Swarm,
            owners_only: false,
            pins: BTreeMap::new(),
            max_rate: None,
            faults: Vec::new(),
            trace: None,
            fs,
            hash_threads: 2,
        }
    }
}

/// Runs a swarm until everyone has what it wanted, or a stated reason why not.
#[must_use]
pub fn run(mut config: RunConfig, control: &RunControl) -> Report {
    let fs = Arc::clone(&config.fs);
    if let Err(error) = check_ranks(&config) {
        return Report { errors: vec![error], ..Report::default() };
    }
    let mut made = BTreeSet::new();
    let locks = match lock_outputs(&mut config, &fs, &mut made) {
        Ok(locks) => locks,
        Err(error) => {
            remove_empty(&*fs, &made);
            if let FabricKind::Ranks(job) = &config.fabric {
                job.refuse(&error);
            }
            return Report { errors: vec![error], ..Report::default() };
        }
    };
    let (trace, checked) = (config.trace.clone(), config.check_only);
    if let FabricKind::Ranks(job) = &config.fabric {
        job.set_patience(config.stall_timeout);
    }
    let ended = drive(config, control);
    control.forget_progress();
    drop(locks);
    let mut report = report(ended, control, checked);
    if !report.ok() {
        remove_empty(&*fs, &made);
    }
    if let Some(Err(error)) = trace.map(|trace| trace.flush()) {
        report.errors.push(RunError::Disk(format!("the trace could not be written: {error}")));
    }
    report
}

/// The ranks of a run are 1, 2, … (or 0, 1, …) without a gap; of a job only this process's own is
/// here.
fn check_ranks(config: &RunConfig) -> Result<(), RunError> {
    let ranks = config.peers.iter().map(|peer| peer.rank);
    let (right, text) = match &config.fabric {
        FabricKind::Ranks(job) => {
            let only_tracks = job.rank() == Rank::TRACKER && config.peers.is_empty();
            let own = Some(job.rank()).filter(|_| !only_tracks);
            (ranks.eq(own), "a process of a job runs its own rank and no other")
        }
        FabricKind::Memory | FabricKind::Virtual(_) => {
            let first = config.peers.first().map_or(1, |peer| peer.rank.0.min(1));
            (
                ranks.eq((first..).map(Rank).take(config.peers.len())),
                "the ranks of a run must be 1, 2, 3, … without a gap, or 0, 1, 2, …",
            )
        }
    };
    if right { Ok(()) } else { Err(RunError::Input(text.to_owned())) }
}

/// Hands the run to its fabric's driver.
fn drive(config: RunConfig, control: &RunControl) -> RunOutcome {
    let (seed, trace) = (config.seed, config.trace.clone());
    let (coordinator, scope) = (coordinator_config(&config), config.refresh_scope);
    match config.fabric.clone() {
        FabricKind::Memory => memory::run(
            rank_setups(config, control),
            Tracker::new(coordinator, scope, trace),
            control,
        ),
        FabricKind::Virtual(world) => {
            let rank_setups = rank_setups(config, control);
            virtual_time::run(
                rank_setups,
                Tracker::new(coordinator, scope, trace),
                control,
                world,
                seed,
            )
        }
        FabricKind::Ranks(job) if job.rank() == Rank::TRACKER => {
            let trace = trace.map(|all| LeadTrace { own: TraceSink::remote(), all });
            let own = trace.as_ref().map(|trace| trace.own.clone());
            let fs = Arc::clone(&config.fs);
            let peers = config.peers.len();
            let config = RunConfig { trace: own.clone(), ..config };
            let rank_setup = (peers > 0).then(|| rank_setups(config, control).pop()).flatten();
            lead(&job, Tracker::new(coordinator, scope, own), control, trace, rank_setup, &fs)
        }
        FabricKind::Ranks(job) => {
            let fs = Arc::clone(&config.fs);
            let mut rank_setups = rank_setups(config, control);
            match rank_setups.pop() {
                Some(rank_setup) => follow(&job, rank_setup, control, trace.as_ref(), &fs),
                None => RunOutcome::default(),
            }
        }
    }
}

/// One lock for each folder that is written to. The folders that are made for that go to `made`. In
/// [`Mode::Place`] a rank whose folder cannot be locked wants nothing more, for that reason.
fn lock_outputs(
    config: &mut RunConfig,
    fs: &Arc<dyn Fs>,
    made: &mut BTreeSet<PathBuf>,
) -> Result<Vec<OutputLock>, RunError> {
    let writes = |peer: &PeerConfig| match &peer.content {
        PeerContent::Files { placement: Some(placement), .. } if placement.mirrors => None,
        PeerContent::Files { dest, wants, .. } if !wants.is_empty() => Some(dest.clone()),
        _ => None,
    };
    let mut roots: BTreeSet<PathBuf> = config.peers.iter().filter_map(writes).collect();
    if config.check_only {
        roots.clear();
    }
    let mut locks = Vec::new();
    for root in &roots {
        let missing: Vec<&Path> = root
            .ancestors()
            .take_while(|above| !above.as_os_str().is_empty() && fs.metadata(above).is_err())
            .collect();
        made.extend(missing.iter().map(|folder| folder.to_path_buf()));
        match OutputLock::acquire(fs, root) {
            Ok(lock) => locks.push(lock),
            Err(error) if config.mode == Mode::Place => {
                refuse_wants(config, root, &error.to_string());
                continue;
            }
            Err(error @ LockError::Held { .. }) => return Err(RunError::Input(error.to_string())),
            Err(error @ LockError::Io { .. }) => return Err(RunError::Disk(error.to_string())),
        }
        // The lock made these folders; files that are written into them later last only if they do.
        for parent in missing.iter().filter_map(|folder| folder.parent()) {
            let here = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            if let Err(error) = fs.sync_dir(here) {
                tracing::debug!(folder = %here.display(), %error, "a folder cannot be synced");
            }
        }
    }
    Ok(locks)
}

/// Takes their wants from the ranks that write into this folder.
fn refuse_wants(config: &mut RunConfig, root: &Path, reason: &str) {
    for peer in &mut config.peers {
        if let PeerContent::Files { dest, wants, placement: Some(placement), .. } =
            &mut peer.content
            && dest == root
        {
            let failed = |want: Pattern| FailedFile {
                name: want.as_str().to_owned(),
                reason: reason.to_owned(),
            };
            placement.refused.extend(wants.drain(..).map(failed));
        }
    }
}

/// Removes folders that a run has made and left empty, the deepest first.
fn remove_empty(fs: &dyn Fs, made: &BTreeSet<PathBuf>) {
    for folder in made.iter().rev() {
        // A folder that is not empty, or gone already, is as it should be.
        let _ = fs.remove_dir(folder);
    }
}

fn coordinator_config(config: &RunConfig) -> CoordinatorConfig {
    let by_load = config.sources.needs_loads();
    let first = config.peers.first().map_or(Rank(1), |peer| peer.rank.min(Rank(1)));
    let peers = match &config.fabric {
        FabricKind::Ranks(job) => job.size().saturating_sub(first.0),
        FabricKind::Memory | FabricKind::Virtual(_) => config.peers.len() as u32,
    };
    CoordinatorConfig {
        first,
        peers,
        placing: config.mode == Mode::Place,
        owners_only: config.owners_only,
        pins: config.pins.clone(),
        members: if peers > FEW_PEERS { MEMBERS } else { 0 },
        order: config.tracker_order,
        map: config.tracker_map,
        on_conflict: config.on_conflict,
        force: config.force,
        check_only: config.check_only,
        loads: by_load || config.tracker_order == TrackerOrder::LeastBusy,
        load_min_age: LOAD_AGE_A_RANK * peers,
        start_timeout: config.start_timeout,
        silence: SILENCE,
        seed: config.seed,
    }
}

fn rank_setups(config: RunConfig, control: &RunControl) -> Vec<RankSetup> {
    let budget = Budget::new(config.memory);
    // Links, locks, folders and the rest need three quarters of what there is, where that is
    // little.
    let allowed = dunlin_disk::allow_descriptors(OPEN_FILES * 4).unwrap_or(OPEN_FILES);
    let each = OPEN_FILES.min(allowed / 4) / config.peers.len().max(1);
    let shared = Arc::new(SharedResources {
        fs: Arc::clone(&config.fs),
        pool: HashPool::new(config.hash_threads),
        budget: Arc::clone(&budget),
        piece_size: config.piece_size,
        block_length: config.block_length,
        open_files: each.clamp(*OPEN_FILES_EACH.start(), *OPEN_FILES_EACH.end()),
        force: config.force,
        stop: control.stop_flag(),
    });
    let engine = |rank: Rank| Config {
        rank,
        peer_id: PeerId::of_rank(rank),
        profile: config.profile,
        pieces: config.pieces,
        sources: config.sources,
        choker: config.choker,
        tracker_pieces: config.tracker_map == TrackerMap::Pieces,
        shares: !config.no_share.contains(&rank),
        refresh_every: config.refresh_every,
        refresh_scope: config.refresh_scope,
        stall_timeout: config.stall_timeout,
        block_length: config.block_length,
        placing: config.mode == Mode::Place,
        memory: config.memory,
        seed: config.seed,
    };
    let rank_setup = |mut peer: PeerConfig| {
        let refused = match &mut peer.content {
            PeerContent::Files { placement: Some(placement), .. } => {
                std::mem::take(&mut placement.refused)
            }
            _ => Vec::new(),
        };
        let setup = PeerSetup {
            refused,
            config: engine(peer.rank),
            faults: RankFaults::of(peer.rank, &config.faults),
            budget: Arc::clone(&budget),
            trace: config.trace.clone(),
            progress: control.progress_cell(peer.rank),
            max_rate: config.max_rate,
        };
        let shares = setup.config.shares;
        let shared = Arc::clone(&shared);
        let content = Arc::new(Content::new(peer.rank, peer.content, shares, shared));
        RankSetup { setup, content }
    };
    config.peers.into_iter().map(rank_setup).collect()
}

fn report(ended: RunOutcome, control: &RunControl, checked: bool) -> Report {
    let mut report = Report {
        seconds: ended.at.as_secs_f64(),
        bytes_moved: ended.peers.iter().map(|peer| peer.bytes_moved).sum(),
        bytes_linked: ended.peers.iter().map(|peer| peer.bytes_linked).sum(),
        peers: ended.peers,
        interrupted: control.interrupted(),
        checked,
        errors: control.take_errors(),
        ..Report::default()
    };
    report.errors.extend(ended.errors);
    let Some(tracker) = ended.tracker else { return report };
    let outcome = tracker.coordinator().outcome();
    report.bytes_wanted = outcome.bytes_wanted;
    report.bytes_missing =
        outcome.plan.iter().fold(0, |sum: u64, planned| sum.saturating_add(planned.bytes));
    report.plan = outcome.plan.clone();
    report.differs = outcome.differs.clone();
    report.notes = outcome.notes.clone();
    report.returned = outcome.returned.clone();
    if checked {
        report.ungiven = outcome.failed.clone();
    }
    report.never_began = outcome.refusal.is_some();
    report.conflict = outcome.refusal.as_ref().and_then(|refusal| refusal.conflict.clone());
    match &outcome.refusal {
        Some(refusal) if refusal.kind == RefusalKind::NoSpace => {
            report.errors.push(RunError::Disk(refusal.text.clone()));
        }
        refusal => report.refused = refusal.as_ref().map(|refusal| refusal.text.clone()),
    }
    report.tracker_dump = tracker.coordinator().dump();
    let states: BTreeMap<Rank, PeerState> = outcome
        .absent
        .iter()
        .map(|rank| (*rank, PeerState::Absent))
        .chain(outcome.dead.iter().map(|rank| (*rank, PeerState::Dead)))
        .collect();
    for peer in &mut report.peers {
        if let Some(state) = states.get(&peer.rank) {
            peer.state = *state;
        }
    }
    report
}
