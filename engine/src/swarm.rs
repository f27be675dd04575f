//! The core: torrents and connections, which piece next, from whom, whom to serve. What only the internet
//! or only a cluster needs is decided by their drivers ([`crate::client`], [`crate::cluster`]).

mod bans;
pub mod choker;
pub mod partials;
pub mod peer;
pub mod peer_list;
pub mod picker;
pub mod rate_limit;
pub mod requests;
pub mod session;
pub mod smart_ban;
pub mod sources;
pub mod timer;
pub(crate) mod torrent;
pub mod turns;
