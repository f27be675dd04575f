//! What there is to know of a peer of the internet besides: who it says it is, what it can do, and
//! what it said before we knew the torrent.

use super::MAX_QUEUED;
use crate::rate_limit::Bucket;
use bytes::Bytes;
use dunlin_base::{InfoHash, PeerId, Rate, Time};

/// Requests that a peer of the internet keeps, if it does not say (BEP 10, `reqq`).
pub(crate) const DEFAULT_QUEUE: usize = 250;
/// `have` messages that are kept while the torrent is not known: more are pieces that we do not know of
/// until the peer says them again.
const MAX_EARLY: usize = 10_000;

/// Metadata for one peer: 4 MB at a time, so that nobody can make us keep all of it many times over.
const METADATA_RATE: Rate = Rate(40_000_000);

/// What a peer said it has before we knew how many pieces there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Early {
    /// Nothing yet.
    #[default]
    Silent,
    /// Everything.
    All,
    /// Nothing at all.
    None,
    /// These.
    Bits(Bytes),
}

/// A peer of the internet.
#[derive(Clone, Debug)]
pub(crate) struct Abroad {
    /// It connected to us.
    pub(crate) incoming: bool,
    /// The torrent's name that it asked for.
    pub(crate) name: Option<InfoHash>,
    /// Who it says it is.
    pub(crate) peer_id: Option<PeerId>,
    /// When anything last came of it.
    pub(crate) heard: Time,
    /// When we last gave a sign of life.
    pub(crate) alive: Time,
    /// Both speak the extension protocol (BEP 10).
    pub(crate) extended: bool,
    /// Its extension handshake has come.
    pub(crate) introduced: bool,
    /// The connection is of version 2: hashes may be asked for (BEP 52).
    pub(crate) v2: bool,
    /// Its number for metadata; 0 if it has none.
    pub(crate) ut_metadata: u8,
    /// Its number for `upload_only`; 0 if it has none.
    pub(crate) upload_only_id: u8,
    /// It wants nothing (BEP 21).
    pub(crate) upload_only: bool,
    /// Bytes of the info dictionary, as it says.
    pub(crate) metadata_size: Option<u32>,
    /// Where it listens.
    pub(crate) port: Option<u16>,
    /// Requests that it keeps for us.
    pub(crate) queue: usize,
    /// What it may have of metadata at a time.
    pub(crate) metadata: Bucket,
    /// Pieces of metadata and ranges of hashes that it asked for.
    pub(crate) served: u32,
    /// What it said too early.
    pub(crate) early: Early,
    /// Pieces that it said it has too early.
    pub(crate) early_haves: Vec<u32>,
}

impl Default for Abroad {
    fn default() -> Abroad {
        Abroad {
            incoming: false,
            name: None,
            peer_id: None,
            heard: Time::ZERO,
            alive: Time::ZERO,
            extended: false,
            introduced: false,
            v2: false,
            ut_metadata: 0,
            upload_only_id: 0,
            upload_only: false,
            metadata_size: None,
            port: None,
            queue: MAX_QUEUED,
            metadata: Bucket::new(Some(METADATA_RATE)),
            served: 0,
            early: Early::Silent,
            early_haves: Vec::new(),
        }
    }
}

impl Abroad {
    /// It has this piece, which nobody can check yet.
    pub(crate) fn has_early(&mut self, piece: u32) {
        if self.early_haves.len() < MAX_EARLY {
            self.early_haves.push(piece);
        }
    }
}
