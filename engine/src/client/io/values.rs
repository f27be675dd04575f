//! What commands, events and views of the internet carry: torrents that people add, goals,
//! trackers.

use crate::swarm::rate_limit::Limits;
use dunlin_base::{PeerId, PieceIndex, Rate, TorrentId};
use dunlin_metainfo::{InfoHashes, Torrent};
use dunlin_tracker::AnnounceEvent;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// How much a file is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Not at all: what of it comes with pieces of wanted files is kept out of sight.
    Skip,
    /// After all others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before all others.
    High,
}

/// When a torrent that is complete is done. Whatever is reached first; with nothing set it seeds
/// until somebody stops it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeedGoal {
    /// Bytes given for each thousand bytes of the torrent (1500 is a ratio of 1.5); 0 ends at once.
    pub ratio_permille: Option<u64>,
    /// Time as a seed.
    pub time: Option<Duration>,
}

/// What is known of a torrent when it is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// All of it.
    Metainfo(Arc<Torrent>),
    /// Its name: the rest comes from peers (BEP 9). Of version 2 the piece layers, too (BEP 52).
    Magnet {
        /// The names.
        hashes: InfoHashes,
        /// What people call it, until the real name is known.
        name: Option<String>,
    },
}

/// A torrent that somebody adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddTorrent {
    /// The number it gets; never used before in this process.
    pub torrent: TorrentId,
    /// What is known of it.
    pub source: Source,
    /// Addresses of trackers in tiers (BEP 12), with those of the metainfo.
    pub trackers: Vec<Vec<String>>,
    /// Peers that are known already.
    pub peers: Vec<SocketAddr>,
    /// How much each file is wanted, by index; files beyond its end are wanted as usual.
    pub priorities: Vec<Priority>,
    /// Pieces in order instead of the rarest first.
    pub sequential: bool,
    /// Limits of this torrent, beside those of all together.
    pub limits: Limits,
    /// When it is done after it is complete; `None` ends it as soon as it is complete.
    pub seed: Option<SeedGoal>,
    /// Who we are in its swarm (a new one for each torrent and run).
    pub peer_id: PeerId,
    /// Tells trackers that our addresses are one peer (BEP 7).
    pub key: u32,
    /// It waits until it is told to go on.
    pub paused: bool,
    /// What is here is served, and nothing is ever asked for or written: files that are missing or
    /// wrong stay so. The torrent counts as a seed with whatever it has (BEP 21, "partial seeds").
    pub serve_only: bool,
}

/// A tracker of one torrent, as the engine numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerIndex(pub u32);

/// Where a torrent of the internet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TorrentState {
    /// Its info dictionary, or its piece layers, come from peers.
    Metadata,
    /// Its files are opened and checked.
    Checking,
    /// Something wanted is missing.
    Downloading,
    /// Everything wanted is here.
    Seeding,
    /// Somebody told it to wait.
    Paused,
    /// Our disk is full; it goes on by itself when there is space.
    DiskFull,
    /// It cannot go on: its files cannot be opened or written.
    Failed,
    /// It is complete and its goal is reached.
    Done,
}

/// What became of an announce, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceNews {
    /// The tracker's address, as it was given.
    pub url: Arc<str>,
    /// Why it was announced.
    pub event: AnnounceEvent,
    /// Peers that it gave, or what went wrong.
    pub result: Result<u32, String>,
}

/// What one peer gave and took, for reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTotal {
    /// Its address; `None` counts those together that are not told apart.
    pub address: Option<IpAddr>,
    /// Its program as it says itself (BEP 10), or the beginning of its peer id (BEP 20). A stranger
    /// wrote it.
    pub program: String,
    /// Bytes of payload that came of it, kept or not.
    pub received: u64,
    /// Bytes of payload that it was given.
    pub sent: u64,
}

/// A torrent at a glance, for people and reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentView {
    /// Where it stands.
    pub state: TorrentState,
    /// Its name, once it is known.
    pub name: Option<String>,
    /// Bytes of wanted files.
    pub wanted: u64,
    /// Those of them that are here and verified.
    pub have: u64,
    /// Bytes of payload that came, kept or not.
    pub received: u64,
    /// Bytes of payload that we gave.
    pub sent: u64,
    /// What comes now.
    pub rate_down: Rate,
    /// What goes now.
    pub rate_up: Rate,
    /// Connections that have greeted.
    pub peers: u32,
    /// Those of them that have everything.
    pub seeds: u32,
    /// Peers that we know of.
    pub known: u32,
    /// A piece that came and failed its hash, and has not come right since.
    pub bad_piece: Option<PieceIndex>,
}
