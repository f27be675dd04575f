//! From the work to what the world is told of a run.

use super::spec::{Task, Work};
use crate::exit::Failure;
use dunlin_base::Rank;
use dunlin_cluster::process::host_name;
use dunlin_cluster::{FabricKind, LinkRates, PeerConfig, RunConfig, TraceSink, VirtualConfig};
use dunlin_disk::Fs;
use dunlin_engine::cluster::OnConflict;
use dunlin_engine::config::{PieceOrder, Profile, SourceOrder};
use dunlin_metainfo::CLUSTER_BLOCK_LENGTH;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// What differs from run to run of the same work.
pub(super) struct Told {
    /// The ranks of this process.
    pub(super) peers: Vec<PeerConfig>,
    /// Over what they talk.
    pub(super) fabric: FabricKind,
    /// The seed of every random choice.
    pub(super) seed: u64,
    /// Where the trace goes.
    pub(super) trace: Option<TraceSink>,
    /// Where files are.
    pub(super) fs: Arc<dyn Fs>,
    /// Threads that hash in this process.
    pub(super) hash_threads: usize,
}

/// Everything that the world is told.
pub(super) fn config(work: &Work, told: Told) -> RunConfig {
    let options = &work.options;
    let run = &options.run;
    let profile = run.profile.unwrap_or(Profile::Cluster);
    let (pieces, sources) = match profile {
        Profile::Course => (PieceOrder::Sequential, SourceOrder::RoundRobin),
        _ => (PieceOrder::Rarest, SourceOrder::Fastest),
    };
    RunConfig {
        peers: told.peers,
        fabric: told.fabric,
        profile,
        pieces: run.pieces.unwrap_or(pieces),
        sources: run.sources.unwrap_or(sources),
        piece_size: run.piece_size,
        block_length: run.block_size.unwrap_or(CLUSTER_BLOCK_LENGTH),
        memory: run.memory,
        seed: told.seed,
        start_timeout: run.start_timeout,
        stall_timeout: run.stall_timeout,
        check_only: options.looks_only(),
        on_conflict: OnConflict::FailName,
        placing: true,
        owners_only: matches!(work.task, Task::Cast(_)),
        pins: work.pins(),
        max_rate: options.max_rate,
        faults: run.fault.clone(),
        trace: told.trace,
        hash_threads: told.hash_threads,
        ..RunConfig::bittorrent(told.fs)
    }
}

/// Virtual time with the links that were asked for.
pub(super) fn virtual_config(work: &Work) -> VirtualConfig {
    let links = work.options.link_rate.as_ref().map_or_else(LinkRates::default, |said| LinkRates {
        all: Some(said.all),
        of: said.of.clone(),
    });
    VirtualConfig { links, ..VirtualConfig::default() }
}

/// Refuses faults of ranks that the job does not have.
///
/// # Errors
/// A wrong command line (exit 2).
pub(super) fn check_faults(work: &Work, size: u32) -> Result<(), Failure> {
    let unknown = work.options.run.fault.iter().find(|fault| fault.rank().0 >= size);
    unknown.map_or(Ok(()), |fault| {
        Err(Failure::usage(format!(
            "--fault for rank {}: no such rank; this job has ranks 0 to {}",
            fault.rank(),
            Rank(size.saturating_sub(1))
        )))
    })
}

/// Where hash lists of earlier runs are kept for this host; `None` if they are not to be believed, or
/// there is no place for them.
pub(super) fn cache(work: &Work, lookup: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if work.options.no_cache || work.options.verify_only {
        return None;
    }
    let given = |name| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = given("XDG_CACHE_HOME").or_else(|| Some(given("HOME")?.join(".cache")))?;
    // A home that many hosts share: their inodes mean nothing to each other.
    Some(base.join("dunlin").join(format!("hashes-{}", host_name())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command};
    use clap::Parser;

    fn work(options: &str) -> Work {
        let words = format!("dunlin cast a b {options}");
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        let command: Command = Args::try_parse_from(&words).unwrap().command;
        Work::given(&command, words).unwrap()
    }

    #[test]
    fn hash_lists_are_kept_where_caches_belong() {
        let host = host_name();
        let cases = [
            ("", "XDG_CACHE_HOME=/x HOME=/h", Some("/x/dunlin")),
            ("", "XDG_CACHE_HOME=x HOME=/h", Some("/h/.cache/dunlin")),
            ("", "HOME=/h", Some("/h/.cache/dunlin")),
            ("", "", None),
            ("--no-cache", "HOME=/h", None),
            ("--verify-only", "HOME=/h", None),
        ];
        for (options, environment, expected) in cases {
            let lookup = |name: &str| {
                let pairs = environment.split(' ').filter_map(|pair| pair.split_once('='));
                pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            };
            let expected = expected.map(|base| PathBuf::from(format!("{base}/hashes-{host}")));
            assert_eq!(cache(&work(options), lookup), expected, "{options} {environment}");
        }
    }

    #[test]
    fn a_fault_needs_its_rank() {
        assert!(check_faults(&work("--fault mute=2"), 3).is_ok());
        assert!(check_faults(&work("--fault mute=3"), 3).is_err());
    }
}
