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
pub(crate) mod job;
pub(crate) mod launcher;
mod lead;
pub(crate) mod session;

pub use crate::run_mark::LastRun;
pub use crate::watch::host_name;
pub(crate) use follow::follow;
pub use job::{Beside, Dismissed, Job, SilentRoot, Welcome};
pub use launcher::Launcher;
pub(crate) use lead::{LeadTrace, lead};
pub use session::Hello;
