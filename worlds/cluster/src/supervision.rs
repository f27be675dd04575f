//! What watches ranks and their deaths, where ranks are processes: the drivers of rank 0 (`lead`)
//! and of a peer (`follow`), and what a host knows of its own processes.
//!
//! ```text
//!   lead, follow ──▶ job ──▶ same_host: one process's part
//!                              ├── watch: which processes of this host end, and in which order
//!                              ├── run_mark: what the next launch reads of this run
//!                              └── witness: a process that outlives the ranks, and names who died
//!                                           first
//! ```

pub(crate) mod follow;
pub(crate) mod lead;
pub mod run_mark;
pub(crate) mod same_host;
pub mod watch;
pub mod witness;
