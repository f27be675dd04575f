//! What a peer and a public tracker say to each other, whatever carries it (BEP 3, 7, 15, 23, 31,
//! 48): the values that the codecs for HTTP and UDP, the rules of the announcer and the swarm table
//! share.

use bytes::Bytes;
use dunlin_base::{InfoHash, PeerId};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use thiserror::Error;

/// Why a peer announces itself (BEP 3, BEP 21). `Paused` stands in every announce of a peer that
/// wants nothing more though something is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnnounceEvent {
    /// It is time again.
    #[default]
    None,
    /// The first one to this tracker.
    Started,
    /// The whole torrent has just become complete.
    Completed,
    /// It leaves.
    Stopped,
    /// It is a partial seed.
    Paused,
}

/// An announce. Counters are bytes of payload since `Started` was sent to this tracker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// The torrent; of a hybrid one each hash is announced by itself (BEP 52).
    pub info_hash: InfoHash,
    /// Who announces.
    pub peer_id: PeerId,
    /// Where it listens; the same for TCP and uTP.
    pub port: u16,
    /// Bytes given.
    pub uploaded: u64,
    /// Bytes taken and kept.
    pub downloaded: u64,
    /// Bytes that are missing of the whole torrent; never 0 while its length is not known.
    pub left: u64,
    /// Bytes thrown away because a hash was wrong.
    pub corrupt: u64,
    /// Bytes that came twice.
    pub redundant: u64,
    /// Why.
    pub event: AnnounceEvent,
    /// Tells the tracker that two addresses are one peer (BEP 7).
    pub key: u32,
    /// How many peers are wanted; `None` leaves it to the tracker.
    pub num_want: Option<u32>,
    /// What the tracker gave the last time as `tracker id`.
    pub tracker_id: Option<Bytes>,
}

/// A tracker's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Time until the next regular announce; `None` if it did not say.
    pub interval: Option<Duration>,
    /// No announce is wanted sooner.
    pub min_interval: Option<Duration>,
    /// To be sent back the next time.
    pub tracker_id: Option<Bytes>,
    /// Seeds.
    pub complete: Option<u32>,
    /// Leechers.
    pub incomplete: Option<u32>,
    /// How often the torrent was completed.
    pub downloaded: Option<u32>,
    /// Peers. What makes no sense as an address (port 0) is left out.
    pub peers: Vec<SocketAddr>,
    /// Peers that are given by name (BEP 3, the form with dictionaries): host and port.
    pub named_peers: Vec<(String, u16)>,
    /// Our own address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// Something people should read.
    pub warning: Option<String>,
}

/// When a tracker that refuses may be asked again (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryIn {
    /// After so long.
    After(Duration),
    /// Never in this run.
    Never,
}

/// Why an announce came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnnounceFailure {
    /// The tracker says no.
    #[error("the tracker refuses: {reason}")]
    Refused {
        /// Its words.
        reason: String,
        /// When it may be asked again, if it says so.
        retry: Option<RetryIn>,
    },
    /// It could not be reached, or did not answer in time.
    #[error("{0}")]
    Unreachable(String),
    /// What it answered makes no sense.
    #[error("the tracker's answer makes no sense: {0}")]
    Malformed(String),
    /// The address is one that we do not speak to.
    #[error("{0}")]
    Unsupported(String),
}

/// What a tracker knows of one torrent (BEP 48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeCounts {
    /// Seeds.
    pub complete: u32,
    /// How often it was completed.
    pub downloaded: u32,
    /// Leechers, partial seeds among them.
    pub incomplete: u32,
    /// Leechers that still want something (BEP 21), where the tracker says so.
    pub downloaders: Option<u32>,
}
