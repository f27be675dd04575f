//! What all torrents of a session share, and what the core reports to its driver.

use crate::stats::Stats;
use crate::swarm::address::ban_key;
use crate::swarm::bans::Bans;
use crate::swarm::config::SwarmConfig;
use crate::swarm::io::{LocalError, SwarmEvent, SwarmOutput};
use crate::swarm::peer::Peer;
use crate::swarm::rate_limit::{RateLimits, both_pass};
use crate::swarm::slot_memory::SlotMemory;
use crate::swarm::timer::Timers;
use crate::swarm::upload_scheduler::UploadScheduler;
use crate::wake::Reason;
use dunlin_base::{ConnId, Endpoint, PieceIndex, RateMeter, Rng, Time, TorrentId};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// What the world is to do, in order.
pub(crate) type Outputs = VecDeque<SwarmOutput>;

/// What all torrents of a session share.
#[derive(Debug)]
pub(crate) struct SessionContext {
    pub(crate) config: SwarmConfig,
    pub(crate) rng: Rng,
    pub(crate) out: Outputs,
    pub(crate) events: VecDeque<DriverEvent>,
    pub(crate) stats: Stats,
    pub(crate) timers: Timers,
    pub(crate) banned: Bans,
    /// Peers that are to be banned: their connections are still to be closed.
    pub(crate) to_ban: BTreeSet<Endpoint>,
    /// A reservation failed; nothing is reserved until there is memory again.
    pub(crate) out_of_memory: bool,
    /// Nothing is requested until the driver goes on.
    pub(crate) requests_held: bool,
    /// Counts choices of sources.
    pub(crate) chosen: u64,
    /// Whom to offer something next.
    pub(crate) upload_scheduler: UploadScheduler,
    /// The share of the torrent that last had its turn: who begins later begins there.
    pub(crate) offer_clock: u128,
    /// What all torrents together may take and give.
    pub(crate) rates: RateLimits,
    pub(crate) slot_memory: SlotMemory,
    /// Dials under way.
    pub(crate) dialling: usize,
    /// Connections that stand.
    pub(crate) connected: usize,
    /// Somebody may be dialled who could not be before.
    pub(crate) dials_possible: bool,
}

impl SessionContext {
    /// Whether nothing is asked of this peer any more.
    pub(crate) fn is_banned(&self, remote: Endpoint) -> bool {
        self.banned.bars(remote)
    }

    /// The peer is banned as soon as the present step is over.
    pub(crate) fn ban(&mut self, remote: Endpoint) {
        self.to_ban.insert(ban_key(remote));
    }

    pub(crate) fn send(&mut self, conn: ConnId, message: dunlin_wire::Message) {
        self.out.push_back(SwarmOutput::Send { conn, message });
    }

    /// Whether a torrent with the limits `own` may ask for a block now; otherwise there is a
    /// wake-up for when it may.
    pub(crate) fn may_take(&mut self, own: &mut RateLimits, now: Time) -> bool {
        let passes = both_pass(&mut own.down, &mut self.rates.down, now);
        self.or_wake(passes)
    }

    /// Whether a torrent with the limits `own` may give a block now; otherwise there is a wake-up
    /// for when it may.
    pub(crate) fn may_give(&mut self, own: &mut RateLimits, now: Time) -> bool {
        let passes = both_pass(&mut own.up, &mut self.rates.up, now);
        self.or_wake(passes)
    }

    fn or_wake(&mut self, passes: Result<(), Time>) -> bool {
        match passes {
            Ok(()) => true,
            Err(at) => {
                self.timers.by(Reason::Rate, at);
                false
            }
        }
    }

    /// A block was asked for.
    pub(crate) fn takes(&mut self, own: &mut RateLimits, bytes: u32) {
        own.down.take(bytes);
        self.rates.down.take(bytes);
    }

    /// A block that was asked for will not come.
    pub(crate) fn gives_back(&mut self, own: &mut RateLimits, bytes: u32) {
        own.down.give_back(bytes);
        self.rates.down.give_back(bytes);
    }

    /// A block is given.
    pub(crate) fn gives(&mut self, own: &mut RateLimits, bytes: u32) {
        own.up.take(bytes);
        self.rates.up.take(bytes);
    }

    /// A block that was to be given is not: a peer that takes its requests back must not use up
    /// what others may have.
    pub(crate) fn not_given(&mut self, own: &mut RateLimits, bytes: u32) {
        own.up.give_back(bytes);
        self.rates.up.give_back(bytes);
    }

    /// What the app may show.
    pub(crate) fn event(&mut self, event: SwarmEvent) {
        self.out.push_back(SwarmOutput::Event(event));
    }

    /// What the driver acts on.
    pub(crate) fn notify(&mut self, event: DriverEvent) {
        self.events.push_back(event);
    }
}

/// What the core reports to whoever drives it.
#[derive(Clone, Debug)]
pub(crate) enum DriverEvent {
    /// A piece is verified and on disk.
    PieceDone { torrent: TorrentId, piece: PieceIndex },
    /// Nobody in the swarm gives a wanted piece.
    Starved { torrent: TorrentId },
    /// Our disk fails.
    DiskFailed { torrent: TorrentId, piece: PieceIndex, error: LocalError },
    /// A block that a peer asked for could not be read.
    ServeFailed { torrent: TorrentId, error: LocalError },
    /// A connection is gone, with the peer as it was last.
    Gone { torrent: TorrentId, conn: ConnId, peer: Box<Peer> },
}

/// Payload that moved, in bytes.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// What came, kept or not.
    pub(crate) received: RateMeter,
    /// What was given.
    pub(crate) sent: RateMeter,
    /// Pieces that matched their hash.
    pub(crate) kept: u64,
    /// What came twice or was never asked for.
    pub(crate) redundant: u64,
    /// Pieces that did not match their hash.
    pub(crate) corrupt: u64,
}

impl Default for Traffic {
    fn default() -> Traffic {
        let meter = || RateMeter::new(METER);
        Traffic { received: meter(), sent: meter(), kept: 0, redundant: 0, corrupt: 0 }
    }
}

/// Rates that people see are averaged over so long.
const METER: Duration = Duration::from_secs(4);
