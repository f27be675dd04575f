//! One rank a process, under a launcher: joining the job, and leaving it together. Rank 0 (`lead`)
//! judges what the ranks say, runs the tracker and tells how it went; every other one (`peer`) reads
//! its own part of the plan and nobody else's, and writes its own outputs.

mod lead;
mod peer;

use crate::args::SwarmArgs;
use crate::exit::{Exit, Failure};
use crate::{launch, plan, swarm};
use dunlin_base::Rank;
use dunlin_cluster::mpi::{Launcher, MpiJob};

/// Joins the job that `launcher` started, and runs this process's rank.
///
/// # Errors
/// If there is no job to join, or it has no second rank for a peer (exit 3). Once it is joined, what
/// is wrong is said by rank 0 and ends in an exit code.
pub(crate) fn run(args: &SwarmArgs, launcher: Option<&Launcher>) -> Result<Exit, Failure> {
    let job = MpiJob::join(launcher, args.run.launch.mpi_lib.as_deref()).map_err(Failure::environment)?;
    let (rank, size) = (job.rank(), job.size());
    tracing::info!(library = job.library(), %rank, size, "joined the job");
    if size == 1 {
        // The launcher did not say that it started one process only.
        let _ = job.leave(Exit::Ok.code());
        let here = launch::alone(args.run.launch.fabric, true, || peers_of(args))?;
        return swarm::run_here(args, here);
    }
    Ok(if rank == Rank::TRACKER { lead::run(args, &job) } else { peer::run(args, &job, launcher) })
}

/// How many peers the plan has, if that can be seen from here.
pub(crate) fn peers_of(args: &SwarmArgs) -> Option<u32> {
    plan::glance(&args.plan).map(|glance| glance.highest)
}
