//! Ranks as processes that a launcher started, over an MPI library that is loaded at run time. No
//! build needs MPI: which library, and which of the three kinds of handles and layouts it speaks,
//! is found out when the process starts.
//!
//! ```text
//!   tracker, r3, r3-download, r3-upload ── orders ──▶ mpi: Station over Transport ──▶ libmpi
//!                                       ◀─ frames ──       (the only thread that calls it)
//!   lead, follow: the drivers of rank 0 and of a peer     job: joining and leaving together
//! ```

mod abi;
#[allow(unsafe_code, reason = "closes what came through exec; the proof is beside it")]
pub(crate) mod descriptors;
pub(crate) mod envelope;
mod follow;
mod job;
mod launcher;
mod lead;
#[allow(unsafe_code, reason = "a library loaded at run time; every use has its proof beside it")]
mod library;
mod link;
#[cfg(test)]
mod loopback;
#[doc(hidden)]
pub mod measure;
#[allow(unsafe_code, reason = "a library loaded at run time; every use has its proof beside it")]
mod native;
mod pump;
mod session;
mod station;
pub(crate) mod stream;
mod tags;
#[cfg(test)]
mod tests;
mod transport;

pub use crate::run_mark::LastRun;
pub(crate) use follow::follow;
pub use job::{Dismissed, JoinError, MpiJob, Welcome};
pub use launcher::Launcher;
pub(crate) use lead::{LeadTrace, lead};
pub use library::LoadError;
pub use session::Hello;
