//! What a session is given once by whoever drives it: plain values. The core never asks which world
//! it runs in; what differs between worlds is one of these.

use crate::config::ChokerKind;
use crate::swarm::choker::SLOTS;
use crate::swarm::peer::{MAX_QUEUED, UPLOAD_WINDOW};
use crate::swarm::sources::SourceOrder;
use std::time::Duration;

/// Where it is known from what a peer has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Availability {
    /// From its bitfield and its HAVEs (BEP 3).
    #[default]
    Announced,
    /// From the tracker alone; what peers announce counts for nothing.
    Reported,
    /// From nowhere: everybody may be asked for everything.
    Assumed,
}

/// When peers receive a HAVE for a piece that is new here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HaveRule {
    /// At once (BEP 3).
    #[default]
    Each,
    /// At once, but pieces that come in a crowd together: among many peers most messages are HAVEs.
    Crowds,
    /// Never; nor does a bitfield name what is here.
    Never,
}

/// For how long a peer is not asked again for a piece that it refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RejectRule {
    /// Until the tracker's next answer.
    #[default]
    UntilRefresh,
    /// Until its next unchoke or the next round of our choker. A reject that comes with a choke is
    /// about the choke (BEP 6) and is not remembered.
    UntilUnchoked,
}

/// Upload slots of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadRules {
    /// Peers that are served at a time, the optimistic one included; at least 1.
    pub slots: usize,
    /// Blocks on their way to one peer; at least 1.
    pub window: usize,
    /// Whether slots move on by time as well, and peers that take far less than others have slots
    /// of their own (practice of the internet).
    pub rotates: bool,
}

impl Default for UploadRules {
    fn default() -> UploadRules {
        UploadRules { slots: SLOTS, window: UPLOAD_WINDOW, rotates: false }
    }
}

/// Requests to one peer, and messages of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRules {
    /// Requests that it keeps for us, until it states another number (BEP 10, `reqq`).
    pub queue: u32,
    /// A peer that gives nothing for so long is snubbed; `None` follows what its path takes.
    pub patience: Option<Duration>,
    /// For how long a refusal counts.
    pub rejects: RejectRule,
    /// Whether messages that change nothing are counted, and too many of them end the connection.
    pub counts_idle_messages: bool,
    /// Whether a block that was never asked for ends the connection at once. Programs in use send a
    /// few.
    pub strict: bool,
}

impl Default for PeerRules {
    fn default() -> PeerRules {
        PeerRules {
            queue: MAX_QUEUED as u32,
            patience: None,
            rejects: RejectRule::UntilRefresh,
            counts_idle_messages: false,
            strict: true,
        }
    }
}

/// What follows when a peer sends wrong data, and how many peers counters name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanRules {
    /// For how long nothing is requested from it; `None` is for as long as the session lasts.
    pub lifetime: Option<Duration>,
    /// Peers that are banned at a time, and remembered; at least 1.
    pub most: usize,
    /// Whether it is still served. Cooperating ranks are: the cause is a bad disk or bad memory,
    /// and its owner wants right files like all others. Strangers are shut out.
    pub serves: bool,
    /// Peers that a counter names; further ones are not counted.
    pub named: usize,
}

impl Default for BanRules {
    fn default() -> BanRules {
        BanRules { lifetime: None, most: usize::MAX, serves: true, named: usize::MAX }
    }
}

/// Everything a session is given once.
#[derive(Clone, Debug)]
pub struct SwarmConfig {
    /// From whom.
    pub sources: SourceOrder,
    /// Whom to serve.
    pub choker: ChokerKind,
    /// Where it is known from what a peer has.
    pub availability: Availability,
    /// When peers receive a HAVE.
    pub haves: HaveRule,
    /// Whether we serve anybody.
    pub shares: bool,
    /// Whether a seed offers pieces one by one instead of announcing them (BEP 16, by BEP 6's
    /// suggest), and what peers suggest is something that they have.
    pub superseeds: bool,
    /// Upload slots of each torrent.
    pub uploads: UploadRules,
    /// What holds for each peer.
    pub peers: PeerRules,
    /// Peers that sent wrong data.
    pub bans: BanRules,
    /// The memory budget of the process, in bytes: pieces above a quarter of it are streamed.
    pub memory: u64,
}

impl SwarmConfig {
    /// Whether a piece of so many bytes is hashed in order and written block by block.
    #[must_use]
    pub fn streamed(&self, piece_bytes: u32) -> bool {
        u64::from(piece_bytes) > self.memory / 4
    }
}
