//! The ranks of one host: what each learns of the others, who watches whom, and the mark that each
//! leaves on disk while it runs.

use super::run_mark::{Ending, RunMark};
use super::watch::{self, Neighbour, Watch};
use super::witness::Witness;
use crate::fabric::process::session::RankProcess;
use crate::lock::lock;
use dunlin_base::Rank;
use dunlin_disk::Fs;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A rank on the same host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SameHostRank {
    /// The rank.
    pub rank: Rank,
    /// The name of its host, as it calls itself.
    pub host: String,
    /// Whether it sees the same files at the same paths as this one.
    pub same_files: bool,
    /// The folder where its wanted files go, absolute.
    pub state: Option<PathBuf>,
}

/// Which run of which rank a process is.
pub(crate) struct OwnRun<'a> {
    /// The rank.
    pub(crate) rank: Rank,
    /// The name of the job, for people who read the mark.
    pub(crate) job: &'a str,
    /// The folder for the mark, and the file system that it is on; `None` for a rank that writes no
    /// files.
    pub(crate) place: Option<(&'a Path, &'a Arc<dyn Fs>)>,
}

/// What a process does for the ranks of its host: it watches their processes, keeps the mark of its
/// own run, and starts the witness of the host if it is the lowest rank there. It also remembers
/// which ranks of the job are dead.
#[derive(Default)]
pub(crate) struct HostWatch {
    watch: Option<Watch>,
    mark: Option<RunMark>,
    /// A thread of its own starts the witness, and puts it here.
    witness: Arc<Mutex<Option<Witness>>>,
    dead: BTreeSet<Rank>,
}

impl HostWatch {
    /// Begins to watch the processes of this host, and leaves the mark of this run. `died` is
    /// called for each process that ends, on a thread of its own.
    pub(crate) fn begin(
        &mut self,
        own: &OwnRun<'_>,
        processes: &[RankProcess],
        died: Box<dyn Fn(Rank) + Send>,
    ) {
        let OwnRun { rank, job, place } = *own;
        self.mark = match place {
            Some((folder, fs)) => RunMark::begin(fs, folder, rank, job).ok(),
            // It leaves nothing for the next launch, but the witness sees whether the rank died.
            None => RunMark::begin_temporary(rank, job).ok(),
        };
        let others = processes.iter().filter(|one| one.rank != rank);
        self.watch = Watch::start(others.map(neighbour_of).collect(), died).ok();
        let mount = watch::mount_id();
        let same_files: Vec<&RankProcess> =
            processes.iter().filter(|one| one.mount == mount).collect();
        if same_files.first().is_some_and(|lowest| lowest.rank == rank) {
            self.start_witness(same_files.into_iter().map(neighbour_of).collect());
        }
    }

    /// Starts the witness of this host. The run does not wait for it: it takes as long as a process
    /// takes to start.
    fn start_witness(&self, all: Vec<Neighbour>) {
        let place = Arc::downgrade(&self.witness);
        let start = move || match Witness::spawn(&all) {
            Ok(witness) => {
                if let Some(place) = place.upgrade() {
                    *lock(&place) = Some(witness);
                }
            }
            Err(error) => tracing::debug!(%error, "there is no witness of this host's ranks"),
        };
        if let Err(error) = std::thread::Builder::new().name("call-witness".into()).spawn(start) {
            tracing::debug!(%error, "there is no witness of this host's ranks");
        }
    }

    /// A rank of the job is dead; false if that was known.
    pub(crate) fn mark_dead(&mut self, rank: Rank) -> bool {
        let new = self.dead.insert(rank);
        if let Some(mark) = self.mark.as_ref().filter(|_| new) {
            mark.died(rank);
        }
        new
    }

    /// A rank that was dead has been started again.
    pub(crate) fn mark_alive(&mut self, rank: Rank) {
        self.dead.remove(&rank);
    }

    /// The ranks of the job that are dead.
    pub(crate) fn dead(&self) -> &BTreeSet<Rank> {
        &self.dead
    }

    /// The rank's run has ended in order.
    pub(crate) fn end_mark(&mut self, how: Ending) {
        if let Some(mark) = self.mark.take() {
            mark.end(how);
        }
    }

    /// Ends the watching. What this returns ends threads when it is dropped, which may wait: it
    /// must be dropped outside of every lock.
    #[must_use]
    pub(crate) fn stop(&mut self) -> impl Sized + use<> {
        (self.watch.take(), lock(&self.witness).take())
    }
}

/// What a rank learns of those on its host.
pub(crate) fn same_host(processes: &[RankProcess]) -> Vec<SameHostRank> {
    let mount = watch::mount_id();
    let one = |process: &RankProcess| SameHostRank {
        rank: process.rank,
        host: process.host.clone(),
        same_files: process.mount == mount,
        state: process.mark.clone(),
    };
    processes.iter().map(one).collect()
}

/// What others learn of this process.
pub(crate) fn process_of(one: &Neighbour, host: &str) -> RankProcess {
    RankProcess {
        rank: one.rank,
        host: host.to_owned(),
        node: watch::node_id(),
        mount: watch::mount_id(),
        pid: one.pid,
        started: one.started,
        mark: one.mark.clone(),
    }
}

fn neighbour_of(process: &RankProcess) -> Neighbour {
    let RankProcess { rank, pid, started, mark, .. } = process;
    Neighbour { rank: *rank, pid: *pid, started: *started, mark: mark.clone() }
}
