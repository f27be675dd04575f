//! The core: torrents and connections, which piece next, from whom, whom to serve. What only the
//! internet or only a cluster needs is decided by their drivers ([`crate::client`],
//! [`crate::cluster`]), which give plain values ([`config::SwarmConfig`]) and act on what the core
//! reports.

pub(crate) mod address;
mod bans;
pub mod choker;
pub mod config;
pub(crate) mod context;
pub(crate) mod io;
pub(crate) mod outputs;
pub mod partials;
pub(crate) mod patience;
pub mod peer;
pub mod peer_list;
pub mod picker;
pub(crate) mod policy;
pub(crate) mod priorities;
#[doc(hidden)]
pub mod probe;
pub mod rate_limit;
pub mod requests;
pub mod session;
pub(crate) mod slot_memory;
pub mod smart_ban;
pub mod sources;
pub(crate) mod superseed;
pub mod timer;
pub(crate) mod torrent;
pub mod upload_scheduler;
