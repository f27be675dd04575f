//! What carries frames between ranks, and the drivers that run the ranks over it.

pub mod memory;
pub mod mpi;
pub mod process;
mod ranks;
pub(crate) mod tcp;
pub mod virtual_time;

use crate::content::Content;
use crate::peer::PeerSetup;
use crate::report::{PeerReport, RunError};
use crate::tracker::Tracker;
use dunlin_base::Time;
use std::sync::Arc;

/// One peer rank, ready to run. Ranks are 1, 2, … in order.
pub(crate) struct Seat {
    pub(crate) setup: PeerSetup,
    pub(crate) content: Arc<Content>,
}

/// What a driver gives back when the run is over.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) peers: Vec<PeerReport>,
    pub(crate) tracker: Option<Tracker>,
    pub(crate) at: Time,
    pub(crate) errors: Vec<RunError>,
}
