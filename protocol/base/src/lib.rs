//! The few nouns everyone shares: time, ids, bitfields, rates, sizes, seeded randomness,
//! and text that can do nothing to a terminal.
//!
//! This crate never asks the operating system anything: time is a number that somebody else
//! passes in, and randomness comes from a seed.
//!
//! ```
//! use dunlin_base::{Bitfield, PieceIndex, Time};
//! use std::time::Duration;
//!
//! let start = Time::ZERO + Duration::from_millis(250);
//! assert_eq!(start.since(Time::ZERO), Duration::from_millis(250));
//! let mut have = Bitfield::new(10);
//! have.set(PieceIndex(9));
//! assert_eq!(have.to_bytes(), [0x00, 0x40]);
//! ```

mod bitfield;
mod hex;
mod ids;
pub mod percent;
mod rate;
mod rng;
mod size;
mod source;
mod text;
mod time;

pub use bitfield::{Bitfield, BitfieldError};
pub use hex::{hex, parse_hex};
pub use ids::{
    BlockRef, ConnId, Endpoint, FileIndex, InfoHash, PeerId, PieceIndex, PieceKey, Rank, TorrentId,
};
pub use rate::{Rate, RateMeter, TokenBucket};
pub use rng::Rng;
pub use size::{SizeError, format_rate, format_size, parse_rate, parse_size};
pub use source::source_of;
pub use text::{is_disguise, plain, plain_json};
pub use time::Time;
