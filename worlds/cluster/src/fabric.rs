//! What carries frames between ranks, and the drivers that run the ranks over it.

pub(crate) mod join;
pub mod memory;
pub mod mpi;
pub mod process;
pub(crate) mod rank_threads;
pub mod tcp;
pub mod virtual_time;

use crate::report::{PeerReport, RunError};
use crate::tracker::Tracker;
use dunlin_base::Time;

/// What a driver gives back when the run is over.
#[derive(Default)]
pub(crate) struct RunOutcome {
    pub(crate) peers: Vec<PeerReport>,
    pub(crate) tracker: Option<Tracker>,
    pub(crate) at: Time,
    pub(crate) errors: Vec<RunError>,
}
