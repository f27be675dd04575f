//! Ranks as processes: joining a job and leaving it. What drives the ranks of a job is
//! `supervision`'s business, how frames travel between them that of a `carrier`: MPI, or TCP.
//!
//! ```text
//!   job: joining, hello, welcome, leaving     supervision: the drivers of rank 0 and of a peer
//!                      │  commands ▼   ▲ events, frames │
//!                      └──────── carrier: mpi, tcp ─────┘
//! ```

pub(crate) mod carrier;
pub(crate) mod job;
pub(crate) mod launcher;
pub(crate) mod message;
pub(crate) mod packet;
pub(crate) mod session;

pub use crate::supervision::run_mark::LastRun;
pub use crate::supervision::same_host::SameHostRank;
pub use crate::supervision::watch::host_name;
pub use job::{Dismissed, Job, SilentRoot, Welcome};
pub use launcher::Launcher;
pub use session::Hello;
