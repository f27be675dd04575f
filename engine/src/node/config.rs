//! What a node is told once.

use crate::io::Limits;
use std::time::Duration;

/// Everything a node is told once. The defaults are those of the field.
#[derive(Clone, Debug)]
pub struct NodeConfig {
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
    /// Connections of one torrent that came by themselves from one address.
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
    /// No tracker is asked more often, whatever it says.
    pub min_announce_interval: Duration,
}

impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            memory: 256 << 20,
            seed: 0,
            client: concat!("dunlin ", env!("CARGO_PKG_VERSION")).to_owned(),
            port: 0,
            connections: 200,
            connections_per_torrent: 100,
            // Several people behind one address are common, a swarm behind one is not.
            connections_per_ip: 8,
            half_open: 32,
            dials_per_second: 30,
            slots: 8,
            // Half a megabyte: what a fast path takes while the next blocks are read.
            upload_window: 32,
            limits: Limits::default(),
            min_announce_interval: Duration::from_secs(300),
        }
    }
}
