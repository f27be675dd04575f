//! The carrier over an MPI library that is loaded at run time. No build needs MPI: which library,
//! and which of the three kinds of handles and layouts it has, is found out when the process
//! starts.
//!
//! ```text
//!   drivers and ranks ── frames, commands ──▶ mpi: MpiEndpoint over Transport ──▶ libmpi
//!                     ◀─ frames, events ────       (the only thread that calls it)
//! ```

mod abi;
mod backoff;
#[allow(unsafe_code, reason = "closes what came through exec; the proof is beside it")]
pub(crate) mod descriptors;
mod endpoint;
mod event_loop;
#[allow(unsafe_code, reason = "a library loaded at run time; every use has its proof beside it")]
mod library;
#[cfg(test)]
mod loopback;
#[doc(hidden)]
pub mod measure;
#[allow(unsafe_code, reason = "a library loaded at run time; every use has its proof beside it")]
mod native;
mod remote;
pub(crate) mod stream;
mod tags;
#[cfg(test)]
mod tests;
mod thread;
pub(crate) mod transport;
mod window;

pub use library::LoadError;
pub use thread::MpiStartError;
pub(crate) use thread::start;
#[cfg(test)]
pub(crate) use thread::start_over;
