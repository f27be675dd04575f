//! Hostile peers as a library: strategies that flood, lie, hold places, send too little or too much
//! or nonsense. A strategy is a state machine over wire messages; it opens no socket, reads no
//! clock and draws every choice from a seed, so the same one runs in virtual time against the
//! engine ([`siege`]) and over real sockets against a running program ([`sockets`]).
//!
//! The crate never attacks anything by itself: whoever uses it names the address.
//!
//! ```
//! use dunlin_base::{InfoHash, Time};
//! use dunlin_hostile::{Kind, Line, Target};
//! use std::sync::Arc;
//!
//! // What a peer sends that takes a place and does nothing with it.
//! let target = Arc::new(Target::of(InfoHash([7; 20]), 10, 16384, 10 * 16384));
//! let mut line = Line::new(Kind::Idle, target, 1);
//! line.opened(Time::ZERO, true);
//! assert_eq!(&line.output()[..20], b"\x13BitTorrent protocol");
//! ```

pub mod fuzzing;
mod line;
pub mod siege;
pub mod sockets;
mod strategy;

/// The world in virtual time that this crate's sieges and the engine's tests share. It is compiled
/// from the engine's tests, which cannot use a crate that uses the engine.
#[allow(missing_docs, reason = "a part of tests")]
#[path = "../../../engine/tests/internet_world/mod.rs"]
pub mod world;

pub use line::{Line, Received};
pub use strategy::{Action, Context, Flood, Incoming, Kind, Receive, Strategy, Target};
