//! The swarm table of a public tracker (BEP 3, 7, 15, 21, 23, 48): who takes part in what, in
//! little memory, and a random part of it for whoever asks.
//!
//! The table is cut into shards by info-hash, and no shard knows of another: whoever runs a tracker
//! may give each a lock of its own. Torrents and addresses come from strangers, so they are found
//! by keyed hashes whose key nobody else knows. There is no clock and no lock here.

mod access;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod peers;
mod shard;
mod shares;
mod sip;

pub use access::{Access, AccessError, HashList};
pub use shard::{Announce, Full, Room, Shard, Totals, shard_of};
pub use shares::MAX_PER_SOURCE;

/// Peers in an answer if the question does not say how many (BEP 3).
pub const DEFAULT_WANTED: usize = 50;
/// Peers in an answer over HTTP.
pub const MAX_WANTED_HTTP: usize = 82;

#[cfg(test)]
mod tests;
