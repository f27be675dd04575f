//! Ranks as processes that talk over TCP: wired up from rank, size, rank 0's address and the job's
//! key, whoever started them. It stands the death of any rank, and takes in who comes late or comes
//! back.
//!
//! ```text
//!   r3, r3-download, r3-upload ── orders ──▶ Board: a Pair for each rank ── Queue ──▶ lines ──▶ sealed links
//!                              ◀─ frames ──          who is linked, dialled, dead  ◀── lines ◀──
//!   wire_up, key_file: finding the job     dial: whom, and where     carrier: joining, orders, the end
//! ```
//!
//! Everything that is sent is sealed by `dunlin_links` with keys that follow from the job's key:
//! whoever has none gets nothing, and what is changed, replayed or left out on its way ends the link.

mod board;
mod carrier;
mod dial;
mod key_file;
mod lines;
mod pair;
mod queue;
pub(crate) mod talk;
#[cfg(test)]
mod tests;
mod wire_up;

pub(crate) use carrier::Tcp;
pub use key_file::KeyFileError;
pub use wire_up::{KeySource, TcpStartError, WireFlags, WireUp, WireUpError};
