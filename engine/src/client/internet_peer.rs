//! What there is to know of a peer of the internet besides: who it says it is, what it can do, and
//! what it said before we knew the torrent.

use super::MAX_QUEUED;
use crate::swarm::rate_limit::Bucket;
use crate::swarm::torrent::Patience;
use bytes::Bytes;
use dunlin_base::{InfoHash, PeerId, Rate, Time};

/// Requests that a peer of the internet keeps, if it does not say (BEP 10, `reqq`).
pub(crate) const DEFAULT_QUEUE: usize = 250;
/// `have` messages that are kept while the torrent is not known: more are pieces that we do not know of
/// until the peer says them again.
pub(super) const MAX_EARLY: usize = 10_000;

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

impl Early {
    /// It has these besides. Returns whether that can be: a torrent has one number of pieces.
    pub(crate) fn has_bits(&mut self, bits: &Bytes) -> bool {
        match self {
            Early::All => {}
            Early::Silent | Early::None => *self = Early::Bits(bits.clone()),
            Early::Bits(known) if known.len() != bits.len() => return false,
            Early::Bits(known) => {
                let both = known.iter().zip(bits).map(|(known, more)| known | more);
                *self = Early::Bits(both.collect());
            }
        }
        true
    }
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
    /// Its program, as it says.
    pub(crate) client: Option<String>,
    /// Payload that came of it, kept or not.
    pub(crate) received: u64,
    /// Bytes of the info dictionary, as it says.
    pub(crate) metadata_size: Option<u32>,
    /// Where it listens.
    pub(crate) port: Option<u16>,
    /// Requests that it keeps for us.
    pub(crate) queue: usize,
    /// What it may have of metadata at a time.
    pub(crate) metadata: Bucket,
    /// Pieces of metadata that it was given.
    pub(crate) metadata_given: u32,
    /// Ranges of hashes that were looked for because it asked.
    pub(crate) hashes_asked: u32,
    /// When payload last moved, either way.
    pub(crate) moved: Option<Time>,
    /// Messages that change nothing which it may still send.
    pub(crate) patience: Patience,
    /// When the choker first saw it in its present slot.
    pub(crate) slot_since: Option<Time>,
    /// What it had got in its slot when the choker last looked.
    pub(crate) given_before: u64,
    /// How often it had a slot and took nothing, since it last took anything.
    pub(crate) wasted: u32,
    /// Whether it took far less than it could have when the choker last looked at a slot of it.
    pub(crate) slow: Option<bool>,
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
            client: None,
            received: 0,
            metadata_size: None,
            port: None,
            queue: MAX_QUEUED,
            metadata: Bucket::new(Some(METADATA_RATE)),
            metadata_given: 0,
            hashes_asked: 0,
            moved: None,
            patience: Patience::new(Time::ZERO),
            slot_since: None,
            given_before: 0,
            wasted: 0,
            slow: None,
            early: Early::Silent,
            early_haves: Vec::new(),
        }
    }
}

impl Abroad {
    /// Whether it has said of as many pieces as are kept that it has them, too early.
    pub(crate) fn has_many_early(&self) -> bool {
        self.early_haves.len() >= MAX_EARLY
    }

    /// It has this piece, which nobody can check yet.
    pub(crate) fn has_early(&mut self, piece: u32) {
        if self.early_haves.len() < MAX_EARLY {
            self.early_haves.push(piece);
        }
    }
}
