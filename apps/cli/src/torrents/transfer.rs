//! The commands `get` and `seed`: torrents from files and links, a world that moves them, and what
//! is shown of it. How anything moves is the business of the engine and its world.

mod beside;
mod faults;
mod goal;
mod progress;
mod run;
mod show;
mod source;

use crate::exit::{Exit, Failure};
use crate::torrents::args::transfer::{GetArgs, NetArgs, SeedArgs};
use dunlin_disk::{Existing, Fs, LockError, OutputLock, RealFs};
use dunlin_engine::client::ClientConfig;
use dunlin_net::{NetConfig, NewTorrent, Port};
use run::TransferJob;
use source::TorrentSource;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where to listen without --port: the field's first port.
const FIRST_PORT: u16 = 6881;

/// Fetches torrents.
///
/// # Errors
/// Whatever keeps it from running to its report.
pub(crate) fn get(options: &GetArgs) -> Result<Exit, Failure> {
    let existing = if options.force { Existing::Replace } else { Existing::Refuse };
    let wanted = source::load(&options.torrents)?;
    let seed = goal::of_get(options.seed, &options.net);
    let folder = folder(&options.out, true)?;
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let (mut new, mut locks) = (Vec::new(), Vec::new());
    for (number, wanted) in (0..).zip(&wanted) {
        locks.push(OutputLock::acquire_for(&fs, &folder, wanted.hash()).map_err(not_ours)?);
        let mut add = source::add(wanted, number, &options.net)?;
        add.seed = seed;
        add.sequential = options.sequential;
        if let Some(metainfo) = wanted.metainfo() {
            add.priorities = source::priorities(wanted, metainfo, &options.select)?;
        }
        new.push(NewTorrent { add, folder: folder.clone(), existing });
    }
    let patience = options.stall_timeout.0;
    let done = run(&options.net, new, wanted, &options.select, patience, true);
    drop(locks);
    done
}

fn not_ours(error: LockError) -> Failure {
    match &error {
        LockError::Held { .. } => Failure::input(error),
        LockError::Io { .. } => Failure::disk(error),
    }
}

/// Seeds torrents, and plain data.
///
/// # Errors
/// Whatever keeps it from running to its report.
pub(crate) fn seed(options: &SeedArgs) -> Result<Exit, Failure> {
    let goal = goal::of_seed(&options.net);
    let mut all = Vec::new();
    let mut new = Vec::new();
    for (number, given) in (0..).zip(&options.torrents) {
        let (wanted, folder) = source::load_or_make(given, &options.data, &options.net)?;
        let mut add = source::add(&wanted, number, &options.net)?;
        (add.seed, add.serve_only) = (Some(goal), true);
        let folder = self::folder(&folder, false)?;
        new.push(NewTorrent { add, folder, existing: Existing::Read });
        all.push(wanted);
    }
    run(&options.net, new, all, &[], None, false)
}

/// The folder, absolute, so that nothing depends on where we stand; made if `make`.
fn folder(folder: &Path, make: bool) -> Result<std::path::PathBuf, Failure> {
    let named = |error: std::io::Error| {
        Failure::disk(format!("{}: {error}; check the folder", folder.display()))
    };
    if make {
        std::fs::create_dir_all(folder).map_err(named)?;
    }
    std::fs::canonicalize(folder).map_err(named)
}

fn run(
    options: &NetArgs,
    new: Vec<NewTorrent>,
    wanted: Vec<TorrentSource>,
    select: &[dunlin_plan::Pattern],
    patience: Option<Duration>,
    fetches: bool,
) -> Result<Exit, Failure> {
    let job = TransferJob {
        config: config(options)?,
        new,
        wanted,
        select: select.to_vec(),
        patience,
        fetches,
        json: options.json,
        quiet: options.quiet,
    };
    run::run(job)
}

fn config(options: &NetArgs) -> Result<NetConfig, Failure> {
    let seed = source::random_number()?;
    let client = ClientConfig {
        memory: options.memory,
        seed,
        connections: options.max_peers.max(1),
        connections_per_torrent: options.max_peers.div_ceil(2).max(1),
        limits: dunlin_engine::io::Limits { down: options.limit_down, up: options.limit_up },
        ..ClientConfig::default()
    };
    let port = match options.port {
        Some(port) => Port::Exactly(port),
        None => Port::From(FIRST_PORT),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(NetConfig {
        client,
        bind: options.bind.clone().unwrap_or_default(),
        port,
        fs: Arc::new(RealFs),
        hash_threads: cores,
        trackers: dunlin_net::tracker_client::TrackerConfig::default(),
    })
}
