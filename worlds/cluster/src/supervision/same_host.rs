//! The ranks of one host: what each is told of the others, who watches whom, and the mark that each
//! leaves on disk while it runs.

use super::{Job, News, Welcome, lock};
use crate::fabric::process::session::Process;
use crate::run_mark::{Ending, RunMark};
use crate::watch::{self, Neighbour, Watch};
use crate::witness::Witness;
use dunlin_base::Rank;
use dunlin_disk::Fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A rank on the same host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    /// The rank.
    pub rank: Rank,
    /// The name of its host, as it calls itself.
    pub host: String,
    /// Whether it sees the same files at the same paths as this one.
    pub same_files: bool,
    /// The folder where its wanted files go, absolute.
    pub state: Option<PathBuf>,
}

impl Welcome {
    /// The lowest rank below `rank` that writes into the folder `dest`, too; an absolute path.
    #[must_use]
    pub fn lower_in(&self, rank: Rank, dest: &Path) -> Option<Rank> {
        let same = |one: &&Beside| one.same_files && one.state.as_deref() == Some(dest);
        let lower = self.neighbours.iter().filter(same).map(|one| one.rank);
        lower.filter(|other| *other < rank).min()
    }
}

impl Job {
    /// Begins to watch the processes of this host, and leaves a mark of the run where outputs go.
    pub(in crate::fabric::process) fn begin_watching(&self, fs: Option<&Arc<dyn Fs>>) {
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
    pub(in crate::fabric::process) fn end_mark(&self, how: Ending) {
        if let Some(mark) = self.state().mark.take() {
            mark.end(how);
        }
    }
}

/// What a rank is told of those on its host.
pub(super) fn beside(neighbours: &[Process]) -> Vec<Beside> {
    let mount = watch::mount_id();
    let one = |process: &Process| Beside {
        rank: process.rank,
        host: process.host.clone(),
        same_files: process.mount == mount,
        state: process.mark.clone(),
    };
    neighbours.iter().map(one).collect()
}

pub(super) fn process_of(one: &Neighbour, host: &str) -> Process {
    Process {
        rank: one.rank,
        host: host.to_owned(),
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
