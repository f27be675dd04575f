//! Ranks as processes that communicate over TCP: wired up from rank, size, rank 0's address and the
//! job's key, whoever started them. It stands the death of any rank, and lets ranks in that come
//! late or come back.
//!
//! ```text
//!   r3, r3-download, r3-upload ─ frames ─▶ LinkTable ─ RankLinks of each rank ─▶ link_tasks ─▶ links
//!                              ◀ frames ─  (linked, dialled, dead)         ◀─ link_tasks ◀─
//!
//!   wire_up, key_file: finding the job
//!   dial: which rank, and where
//!   carrier: joining, commands, the end
//! ```
//!
//! Everything that is sent is sealed by `dunlin_links` with keys that follow from the job's key: a
//! party without it reads nothing, and what is changed, replayed or left out on its way ends the
//! link.

mod carrier;
mod dial;
mod key_file;
pub(crate) mod link_protocol;
mod link_table;
mod link_tasks;
mod queue;
mod rank_links;
#[cfg(test)]
mod tests;
mod wire_up;

pub(crate) use carrier::TcpCarrier;
pub use key_file::KeyFileError;
pub use wire_up::{KeySource, TcpStartError, WireFlags, WireUp, WireUpError};
