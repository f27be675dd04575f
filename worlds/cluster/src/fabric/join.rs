//! Joining a job over one of the carriers: the only place that knows both the job and what carries
//! it.

use super::mpi::{self, MpiStartError};
use super::process::job::{Job, SilentRoot};
use super::process::launcher::Launcher;
use super::tcp::{TcpCarrier, TcpStartError, WireUp};
use serde_json::Value;
use std::path::Path;

/// Why a process could not join its job. The environment is to blame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// MPI did not start.
    #[error(transparent)]
    Mpi(#[from] MpiStartError),
    /// TCP did not start.
    #[error(transparent)]
    Tcp(#[from] TcpStartError),
    /// Rank 0 sent nothing.
    #[error(transparent)]
    Silent(#[from] SilentRoot),
}

impl Job {
    /// Joins a job of MPI: loads the library, starts MPI on a thread of its own, and waits for the
    /// first message of rank 0. `work` is opaque here; rank 0's counts for all.
    ///
    /// # Errors
    /// [`JoinError`]: no library, one that does not fit, or no message.
    pub fn join_mpi(
        launcher: Option<&Launcher>,
        library: Option<&Path>,
        work: &Value,
    ) -> Result<Job, JoinError> {
        Job::join_with(work, |clock, events, failed| {
            Ok(mpi::start(launcher, library, clock, events, failed)?)
        })
    }

    /// Joins a job over TCP: rank 0 listens, everyone else connects to it and waits for its first
    /// message. `work` is opaque here; rank 0's counts for all.
    ///
    /// # Errors
    /// [`JoinError`]: no key, no place to listen at, no rank 0, or no message.
    pub fn join_tcp(wire: &WireUp, work: &Value) -> Result<Job, JoinError> {
        Job::join_with(work, |clock, events, _failed| Ok(TcpCarrier::start(wire, clock, events)?))
    }
}
