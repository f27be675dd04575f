//! One rank a process: joining the job, and leaving it together. Rank 0 (`lead`)
//! judges what the ranks say, runs the tracker and tells how it went; every other one (`peer`) reads
//! its own part of the plan and nobody else's, and writes its own outputs.

mod lead;
mod peer;

use crate::cluster::args::SwarmArgs;
use crate::cluster::parsers::Fabric;
use crate::cluster::{launch, plan, swarm};
use crate::exit::{Exit, Failure};
use dunlin_base::Rank;
use dunlin_cluster::process::Launcher;

/// Joins the job that this process is one rank of, and runs that.
///
/// # Errors
/// If there is no job to join, or it has no second rank for a peer (exit 3). Once it is joined, what
/// is wrong is said by rank 0 and ends in an exit code.
pub(crate) fn run(args: &SwarmArgs, launcher: Option<&Launcher>) -> Result<Exit, Failure> {
    let said = &args.run.launch;
    let job = launch::join(said, args.run.start_timeout, launcher, &serde_json::Value::Null)?;
    let (rank, size) = (job.rank(), job.size());
    tracing::info!(over = job.carrier(), %rank, size, "joined the job");
    if size == 1 && said.fabric != Fabric::Tcp {
        // The launcher did not say that it started one process only.
        let _ = job.leave(Exit::Ok.code());
        let here = launch::alone(said.fabric, true, || peers_of(args))?;
        return swarm::run_here(args, here);
    }
    Ok(if rank == Rank::TRACKER { lead::run(args, &job) } else { peer::run(args, &job, launcher) })
}

/// How many peers the plan has, if that can be seen from here.
pub(crate) fn peers_of(args: &SwarmArgs) -> Option<u32> {
    plan::glance(args.plan()).map(|glance| glance.highest)
}
