//! Ranks as processes: joining a job, the drivers of rank 0 and of a peer, and parting. How frames
//! travel between them is a `carrier`'s business: MPI, or TCP.
//!
//! ```text
//!   job: joining, hello, welcome, leaving     lead, follow: the drivers of rank 0 and of a peer
//!                      │  orders ▼   ▲ words, frames  │
//!                      └──────── carrier: mpi, tcp ───┘
//! ```

pub(crate) mod carrier;
pub(crate) mod envelope;
mod follow;
mod job;
mod launcher;
mod lead;
mod session;

pub use crate::fabric::tcp::{KeyFileError, KeySource, WireFlags, WireUp, WireUpError};
pub use crate::run_mark::LastRun;
pub use dunlin_links::towards;
pub(crate) use follow::follow;
pub(crate) use job::News;
pub use job::{Beside, Dismissed, Job, JoinError, Welcome};
pub use launcher::Launcher;
pub(crate) use launcher::Maker;
pub(crate) use lead::{LeadTrace, lead};
pub use session::Hello;
pub(crate) use session::Session;

/// The name of this host.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
