//! The engine decides: sessions, torrents, peers, and the two sides of a cluster.
//!
//! It never touches a socket, a file, a clock, a thread, a lock or the environment, and payload never
//! passes through it. [`io`] is the whole contract. The same compiled engine runs on the internet, in a
//! cluster and in virtual time.
//!
//! ```
//! use dunlin_base::{Rank, Time};
//! use dunlin_control::{Control, Register};
//! use dunlin_engine::cluster::member::Member;
//! use dunlin_engine::config::{Config, PieceOrder, Profile, RefreshScope, SourceOrder};
//! use dunlin_engine::io::{Input, Output};
//! use dunlin_engine::swarm::choker::ChokerKind;
//! use std::time::Duration;
//!
//! let mut member = Member::new(Config {
//!     rank: Rank(1),
//!     peer_id: dunlin_base::PeerId::of_rank(Rank(1)),
//!     profile: Profile::BitTorrent,
//!     pieces: PieceOrder::Rarest,
//!     sources: SourceOrder::FASTEST,
//!     choker: ChokerKind::Cooperative,
//!     tracker_pieces: false,
//!     shares: true,
//!     refresh_every: 10,
//!     refresh_scope: RefreshScope::File,
//!     stall_timeout: Duration::from_secs(60),
//!     block_length: 512 << 10,
//!     placing: false,
//!     memory: 64 << 20,
//!     seed: 1,
//! });
//! member.handle(Time::ZERO, Input::Checked(Box::new(Register::default())));
//! while let Some(output) = member.poll() {
//!     assert!(matches!(output, Output::SendControl(Control::Register(_))));
//! }
//! ```

pub mod client;
pub mod cluster;
pub mod config;
pub mod io;
pub mod stats;
pub mod swarm;
pub mod tracker;
mod wake;
