//! The configuration of a client.

use crate::client::extension::Extension;
use crate::swarm::rate_limit::Limits;
use std::time::Duration;

/// Connections of one torrent on the internet, dialled and accepted, unless configured otherwise
/// (practice: half of all).
const CONNECTIONS_PER_TORRENT: usize = 100;
/// Those that came by themselves from one source: several people behind one address are common, a
/// swarm behind one is not.
const CONNECTIONS_PER_SOURCE: usize = 8;
/// Dials under way at a time: cheap routers forget connections where more are half open (practice).
const HALF_OPEN: usize = 32;
/// Dials within a second: a list of peers is tried within seconds, and nobody takes it for a flood.
const DIALS_PER_SECOND: u32 = 30;
/// Peers of one torrent on the internet that are served at a time (practice: 4 to 8).
const UPLOAD_SLOTS: usize = 8;

/// A source that sent wrong data is banned for so long: addresses get other owners, and who sends
/// wrong data again is banned again.
pub(super) const BAN_LIFETIME: Duration = Duration::from_secs(3600);
/// Sources that are banned at a time; with more, the ban that ends first ends at once.
pub(super) const MAX_BANS: usize = 1000;
/// Peers that counters name: strangers come by the thousand.
pub(super) const MAX_NAMED: usize = 4096;

/// The configuration of a client. The defaults are those of the field.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The memory budget of the process, in bytes: pieces above a quarter of it are streamed.
    pub memory: u64,
    /// The seed of every random choice.
    pub seed: u64,
    /// Our program's name and version, as other peers show it (BEP 10, `v`).
    pub client: String,
    /// Where we listen; 0 if nowhere.
    pub port: u16,
    /// Connections of all torrents together.
    pub connections: usize,
    /// Connections of one torrent.
    pub connections_per_torrent: usize,
    /// Connections of one torrent that came by themselves from one source: an IPv4 address, or a
    /// /64 of IPv6.
    pub connections_per_ip: usize,
    /// Dials under way at a time.
    pub half_open: usize,
    /// Dials within a second.
    pub dials_per_second: u32,
    /// Peers of one torrent that are served at a time.
    pub slots: usize,
    /// Blocks on their way to one peer.
    pub upload_window: usize,
    /// Limits of all torrents together.
    pub limits: Limits,
    /// Extensions besides those that every client knows (BEP 10); up to 200 get a number.
    pub extensions: Vec<Extension>,
    /// No tracker is asked more often, whatever it says.
    pub min_announce_interval: Duration,
}

impl Default for ClientConfig {
    fn default() -> ClientConfig {
        ClientConfig {
            memory: 256 << 20,
            seed: 0,
            client: concat!("dunlin ", env!("CARGO_PKG_VERSION")).to_owned(),
            port: 0,
            connections: 200,
            connections_per_torrent: CONNECTIONS_PER_TORRENT,
            connections_per_ip: CONNECTIONS_PER_SOURCE,
            half_open: HALF_OPEN,
            dials_per_second: DIALS_PER_SECOND,
            slots: UPLOAD_SLOTS,
            // Half a megabyte: what a fast path takes while the next blocks are read.
            upload_window: 32,
            limits: Limits::default(),
            extensions: Vec::new(),
            min_announce_interval: Duration::from_secs(300),
        }
    }
}
