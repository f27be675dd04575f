//! What a client keeps of a peer besides what the core does: who it is by its own account, what it
//! can do, and what it announced before the torrent's metadata was here.

use crate::swarm::rate_limit::Bucket;
use bytes::Bytes;
use dunlin_base::{PeerId, Rate, Time};
use std::collections::BTreeMap;

/// `have` messages that are kept while the torrent is not known: more are pieces that we do not
/// know of until the peer says them again.
const MAX_EARLY: usize = 10_000;

/// Metadata for one peer: 4 MB at a time, so that nobody can make us keep all of it many times
/// over.
const METADATA_RATE: Rate = Rate(40_000_000);

/// What a peer said it has before we knew how many pieces there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Early {
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
    pub(super) fn has_bits(&mut self, bits: &Bytes) -> bool {
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
pub(super) struct InternetPeer {
    /// Its id, from its handshake.
    pub(super) peer_id: Option<PeerId>,
    /// When anything last came of it.
    pub(super) heard: Time,
    /// When we last gave a sign of life.
    pub(super) alive: Time,
    /// Both speak the extension protocol (BEP 10).
    pub(super) extended: bool,
    /// Its extension handshake has come.
    pub(super) introduced: bool,
    /// The connection is of version 2: hashes may be asked for (BEP 52).
    pub(super) v2: bool,
    /// Its numbers of extensions that we know, too.
    pub(super) extension_ids: BTreeMap<&'static str, u8>,
    /// It wants nothing (BEP 21).
    pub(super) upload_only: bool,
    /// Its program, by its own account.
    pub(super) client: Option<String>,
    /// Bytes of the info dictionary, by its own account.
    pub(super) metadata_size: Option<u32>,
    /// Where it listens.
    pub(super) port: Option<u16>,
    /// What it may have of metadata at a time.
    pub(super) metadata: Bucket,
    /// Pieces of metadata that it was given.
    pub(super) metadata_given: u32,
    /// Ranges of hashes that were looked for because it asked.
    pub(super) hashes_asked: u32,
    /// What it announced before the metadata was here.
    pub(super) early: Early,
    /// Pieces of which it announced too early that it has them.
    pub(super) early_haves: Vec<u32>,
    /// It has announced what it has, too early.
    pub(super) announced: bool,
}

impl InternetPeer {
    /// A peer that has sent nothing yet.
    pub(super) fn new(now: Time) -> InternetPeer {
        InternetPeer {
            peer_id: None,
            heard: now,
            alive: now,
            extended: false,
            introduced: false,
            v2: false,
            extension_ids: BTreeMap::new(),
            upload_only: false,
            client: None,
            metadata_size: None,
            port: None,
            metadata: Bucket::new(Some(METADATA_RATE)),
            metadata_given: 0,
            hashes_asked: 0,
            early: Early::Silent,
            early_haves: Vec::new(),
            announced: false,
        }
    }

    /// Its number of an extension; 0 if it has none.
    pub(super) fn extension_id(&self, name: &str) -> u8 {
        self.extension_ids.get(name).copied().unwrap_or(0)
    }

    /// Whether it has said of as many pieces as are kept that it has them, too early.
    pub(super) fn has_many_early(&self) -> bool {
        self.early_haves.len() >= MAX_EARLY
    }

    /// It has this piece, which nobody can check yet.
    pub(super) fn has_early(&mut self, piece: u32) {
        if self.early_haves.len() < MAX_EARLY {
            self.early_haves.push(piece);
        }
    }

    /// # Panics
    /// If more is kept of it than may be.
    pub(super) fn check(&self) {
        assert!(self.early_haves.len() <= MAX_EARLY);
    }
}
