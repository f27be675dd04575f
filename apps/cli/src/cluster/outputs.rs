//! The files about what happened, `--trace` and the dumps: proved to be creatable before anything
//! moves, written at the end.

use crate::atomic_file::{self, Pending};
use crate::cluster::args::RunArgs;
use crate::exit::Failure;
use dunlin_base::Rank;
use dunlin_cluster::{PeerReport, PeerState, Report, TraceSink};
use std::path::{Path, PathBuf};

/// The files of one process.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    trace: Option<TraceSink>,
    trace_path: PathBuf,
    tracker: Option<Pending>,
    peers: Vec<(Rank, Pending)>,
}

impl Outputs {
    /// The trace and the tracker's dump, of the process that has the tracker; and the dumps of the
    /// peers in it.
    ///
    /// # Errors
    /// If one of them cannot be made (exit 5).
    pub(crate) fn prepare(
        run: &RunArgs,
        dump_peers: Option<(&Path, Vec<Rank>)>,
    ) -> Result<Outputs, Failure> {
        let trace = run.trace.as_deref().map(|path| {
            TraceSink::create(path).map_err(|error| atomic_file::refused("--trace", path, &error))
        });
        let tracker =
            run.dump_tracker.as_deref().map(|path| Pending::create("--dump-tracker", path));
        let peers = dumps(dump_peers)?;
        let trace_path = run.trace.clone().unwrap_or_default();
        Ok(Outputs { trace: trace.transpose()?, trace_path, tracker: tracker.transpose()?, peers })
    }

    /// The dump of one peer that is a process of its own. Its trace goes to rank 0.
    ///
    /// # Errors
    /// If the dump cannot be made (exit 5).
    pub(crate) fn of_peer(
        run: &RunArgs,
        dump_peers: Option<(&Path, Vec<Rank>)>,
    ) -> Result<Outputs, Failure> {
        let trace = run.trace.as_ref().map(|_| TraceSink::remote());
        let peers = dumps(dump_peers)?;
        Ok(Outputs { trace, peers, ..Outputs::default() })
    }

    /// Where the run writes its trace, if there is to be one.
    pub(crate) fn trace(&self) -> Option<TraceSink> {
        self.trace.clone()
    }

    /// Writes them. Ranks that were lost leave no dump, and a run that was
    /// refused leaves none at all.
    ///
    /// # Errors
    /// If the disk refuses (exit 5).
    pub(crate) fn write(self, report: &Report) -> Result<(), Failure> {
        if let Some(trace) = &self.trace {
            trace
                .flush()
                .map_err(|error| atomic_file::refused("--trace", &self.trace_path, &error))?;
        }
        if report.peers.is_empty() || report.refused.is_some() {
            return Ok(());
        }
        if let Some(file) = self.tracker {
            let dump = report.tracker_dump_json();
            file.write("--dump-tracker", format!("{dump}\n").as_bytes())?;
        }
        for (rank, file) in self.peers {
            let lives = |peer: &&PeerReport| {
                peer.rank == rank && matches!(peer.state, PeerState::Complete | PeerState::Failed)
            };
            if let Some(peer) = report.peers.iter().find(lives) {
                file.write("--dump-peers", format!("{}\n", peer.dump_json()).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// The unfinished twins of the peers' dumps.
fn dumps(peers: Option<(&Path, Vec<Rank>)>) -> Result<Vec<(Rank, Pending)>, Failure> {
    let Some((folder, ranks)) = peers.filter(|(_, ranks)| !ranks.is_empty()) else {
        return Ok(Vec::new());
    };
    std::fs::create_dir_all(folder)
        .map_err(|error| atomic_file::refused("--dump-peers", folder, &error))?;
    let pending = |rank: Rank| {
        let path = folder.join(format!("peer{rank}.json"));
        Ok((rank, Pending::create("--dump-peers", &path)?))
    };
    ranks.into_iter().map(pending).collect()
}
