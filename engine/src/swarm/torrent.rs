//! The life of one torrent: routes what happens to the part that decides about it.
//!
//! - `connect`: handshakes, who has what, interest;
//! - `fill`: which block to ask of whom (many requests in flight);
//! - `policy`: another way to ask, brought by a driver;
//! - `blocks`: blocks that arrive, are refused or are late;
//! - `verify`: hashing, blame, writing;
//! - `serve`: requests of others, choking;
//! - `slots`: what peers make of their upload slots;
//! - `superseed`: what a seed gives first;
//! - `idle_messages`: messages that change nothing;
//! - `wishes`: what is wanted, and how much, changed at run time;
//! - `limits`: rates.

mod blocks;
mod connect;
mod fill;
mod idle_messages;
mod limits;
mod params;
mod policy;
mod serve;
mod slots;
mod superseed;
mod verify;
mod wishes;

use crate::swarm::address::ban_key;
use crate::swarm::choker::Choker;
use crate::swarm::config::Availability;
use crate::swarm::context::{DriverEvent, SessionContext, Traffic};
use crate::swarm::io::{HangUpReason, SwarmOutput};
use crate::swarm::partials::{Block, Partials, Stage};
use crate::swarm::peer::{AskState, Peer, Pieces};
use crate::swarm::peer_list::PeerList;
use crate::swarm::picker::Picker;
use crate::swarm::priorities::PiecePriorities;
use crate::swarm::rate_limit::RateLimits;
use crate::swarm::smart_ban::SmartBan;
use crate::swarm::superseed::Offers;
use crate::wake::Reason;
pub(crate) use connect::Violation;
use dunlin_base::{
    Bitfield, ConnId, Endpoint, FileIndex, PeerId, PieceIndex, PieceKey, Time, TorrentId,
};
use dunlin_metainfo::Geometry;
pub(crate) use idle_messages::spend;
pub(crate) use limits::Giving;
pub(crate) use params::{SwarmName, TorrentParams};
pub(crate) use policy::{RequestPolicy, Requests};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Time after a full disk before another piece is tried: one piece alone, until one is written.
const DISK_FULL_PAUSE: Duration = Duration::from_secs(1);
/// The pause doubles up to this while the disk stays full: what is fetched to try it is fetched in
/// vain, and a person needs longer than that to make room.
const MAX_FULL_PAUSE: Duration = Duration::from_secs(16);
/// Partial pieces that got no block for so long are spilled when others starve for memory.
const STALE: Duration = Duration::from_secs(2);

/// One torrent.
#[derive(Debug)]
pub(crate) struct Torrent {
    pub(crate) id: TorrentId,
    /// Its names on the wire: of a hybrid one both (BEP 52).
    pub(crate) names: Vec<SwarmName>,
    pub(crate) peer_id: PeerId,
    pub(crate) geometry: Geometry,
    pub(crate) have: Bitfield,
    /// Wanted and not here.
    pub(crate) missing: Bitfield,
    pub(crate) picker: Picker,
    pub(crate) partials: Partials,
    smart_ban: SmartBan,
    /// Pieces that failed with several senders: one peer alone must give them.
    pub(crate) alone: BTreeSet<PieceIndex>,
    pub(crate) peers: BTreeMap<ConnId, Peer>,
    pub(crate) known: PeerList,
    choker: Choker,
    /// What we offer, where we are a seed among cooperating ranks.
    offers: Option<Offers>,
    /// The place of the source that was chosen last, in the tracker's order.
    pub(crate) last_place: Option<u32>,
    /// Pieces that are ours and were not announced yet, and when others last were.
    unsaid: verify::Unsaid,
    /// When a block last arrived, or the torrent was started.
    pub(crate) last_gain: Time,
    paused_until: Time,
    /// The last pause after a full disk; zero since a piece was written.
    full_pause: Duration,
    /// [`DriverEvent::Starved`] was reported, and nothing was asked for or refreshed since.
    starved: bool,
    /// Nothing is asked for or served: what is under way is brought to an end.
    pub(crate) halted: bool,
    /// Its metadata comes later: nothing is known of its pieces (BEP 9).
    pub(crate) awaits_metadata: bool,
    pub(crate) requests: Requests,
    pub(crate) priorities: PiecePriorities,
    pub(crate) rates: RateLimits,
    pub(crate) giving: Giving,
    pub(crate) traffic: Traffic,
    /// What is given in a round of the choker.
    pace: slots::UploadPace,
}

impl Torrent {
    /// A torrent with what it begins with. Sizes of bitfields must be those of the geometry.
    pub(crate) fn new(shared: &mut SessionContext, now: Time, params: TorrentParams) -> Torrent {
        let TorrentParams { id, names, peer_id, geometry, have, wanted, order, .. } = params;
        let mut missing = Bitfield::new(geometry.pieces());
        wanted.minus(&have).for_each(|piece| {
            missing.set(piece);
        });
        let mut picker = Picker::new(order, geometry.pieces());
        picker.open_all(missing.ones(), &mut shared.rng);
        let gives = shared.config.superseeds && shared.config.shares;
        let gives = gives && missing.count() == 0 && have.count() > 0;
        let offers = gives.then(|| Offers::new(&mut shared.rng, &have));
        Torrent {
            id,
            names,
            peer_id,
            geometry,
            have,
            missing,
            picker,
            partials: Partials::default(),
            smart_ban: SmartBan::default(),
            alone: BTreeSet::new(),
            peers: BTreeMap::new(),
            known: PeerList::default(),
            choker: Choker::default(),
            offers,
            last_place: None,
            unsaid: verify::Unsaid::default(),
            last_gain: now,
            paused_until: Time::ZERO,
            full_pause: Duration::ZERO,
            starved: false,
            halted: false,
            awaits_metadata: params.awaits_metadata,
            requests: params.requests,
            priorities: params.priorities,
            rates: RateLimits::new(params.limits),
            giving: Giving::default(),
            traffic: Traffic::default(),
            pace: slots::UploadPace::default(),
        }
    }

    /// Whether something is wanted that is not here.
    pub(crate) fn downloads(&self) -> bool {
        self.missing.count() > 0
    }

    /// Asks for whatever may be asked for now. Called after everything that may have changed it.
    pub(crate) fn fill(&mut self, shared: &mut SessionContext, now: Time) {
        self.fill_from(shared, now, None);
    }

    /// The same, where only `only` has become able to give more than before: a HAVE or a block must not
    /// cost a look at every peer.
    pub(crate) fn fill_from(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        only: Option<ConnId>,
    ) {
        if !self.downloads() || self.halted {
            return;
        }
        if now < self.paused_until {
            // The wake-up may have been for an earlier pause.
            shared.timers.by(Reason::Dial, self.paused_until);
            return;
        }
        if shared.requests_held {
            return;
        }
        match self.requests {
            Requests::Pipelined => self.fill_many(shared, now, only),
            Requests::Policy(_) => {
                self.with_policy(|policy, torrent| policy.fill(torrent, shared, now));
            }
        }
    }

    /// Whether nobody in the swarm gives a wanted piece.
    pub(crate) fn starves(&self) -> bool {
        self.starved && self.downloads()
    }

    /// Whether anybody that we are connected to has a missing piece, or may have one, that it has not
    /// refused. Files that come one after another may have their turn yet.
    pub(crate) fn is_offered(&self) -> bool {
        self.peers.values().any(|peer| {
            let rejected = self.known.get(peer.remote).map(|known| &known.rejected);
            let refused = |piece| rejected.is_some_and(|rejected| rejected.contains(&piece));
            let unknown = peer.pieces == Pieces::Unknown;
            self.missing.ones().any(|piece| (unknown || peer.pieces.has(piece)) && !refused(piece))
        })
    }

    /// Nobody in the swarm gives a wanted piece. Said once, until something changes.
    pub(crate) fn starve(&mut self, shared: &mut SessionContext) {
        if !std::mem::replace(&mut self.starved, true) {
            shared.notify(DriverEvent::Starved { torrent: self.id });
        }
    }

    /// Takes the tracker's answer: members in its order with their loads, and who has what, if it names
    /// that. `own` is who we are among them.
    pub(crate) fn refreshed(
        &mut self,
        shared: &mut SessionContext,
        own: Endpoint,
        members: &[(Endpoint, u64)],
        owners: Option<&[(Endpoint, Bitfield)]>,
    ) {
        self.starved = false;
        let pieces = self.geometry.pieces();
        let owners = owners.filter(|owners| owners.iter().all(|(_, field)| field.len() == pieces));
        let picker = &mut self.picker;
        let none = Bitfield::new(pieces);
        let piece_length = u64::from(self.geometry.piece_length().max(1));
        let owed: BTreeMap<Endpoint, u64> = self
            .peers
            .values()
            .map(|peer| (peer.remote, peer.window.in_flight() + peer.planned))
            .collect();
        let under_way =
            |remote| owed.get(&remote).map_or(0, |bytes: &u64| bytes.div_ceil(piece_length));
        self.known.refresh(own, members, owners, under_way, |before, after| {
            let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
            after.minus(before).for_each(|piece| picker.gained(piece));
            before.minus(after).for_each(|piece| picker.lost(piece));
        });
        if shared.config.availability == Availability::Reported {
            let conns: Vec<ConnId> = self.peers.keys().copied().collect();
            for conn in conns {
                self.take_tracker_pieces(shared, conn);
            }
        }
    }

    /// Requests and offers whose time is over.
    pub(crate) fn expire(&mut self, shared: &mut SessionContext, now: Time) {
        self.expire_requests(shared, now);
        self.expire_offers(shared, now);
        self.with_policy(|policy, torrent| policy.timeout(torrent, shared, now));
    }

    /// Nobody may be asked for what this file still lacks: it has failed.
    pub(crate) fn abandon(&mut self, shared: &mut SessionContext, now: Time, file: FileIndex) {
        for raw in self.geometry.file_pieces(file) {
            let piece = PieceIndex(raw);
            let stage = self.partials.get(piece).map(|partial| partial.stage);
            let stored = matches!(stage, Some(Stage::Storing { .. }));
            if stored || !self.missing.has(piece) {
                continue;
            }
            self.drop_partial(shared, piece);
            self.picker.close(piece);
            self.no_longer_missing(shared, piece);
        }
        self.fill(shared, now);
    }

    /// Takes a started piece back: what it holds is dropped, what was asked for is cancelled. The piece
    /// is open again.
    pub(crate) fn drop_partial(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
        let Some(partial) = self.partials.get(piece) else { return };
        if matches!(partial.stage, Stage::Storing { .. }) {
            return;
        }
        let stage = partial.stage;
        self.cancel_piece(shared, piece);
        self.unplan(piece);
        match stage {
            // The answer is under way; until it comes the piece cannot be started again.
            Stage::Reserving | Stage::Abandoned => {
                self.partials.set_stage(piece, Stage::Abandoned);
                return;
            }
            Stage::Spilled => {}
            _ => shared.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece })),
        }
        self.reopen_piece(piece);
    }

    /// A started piece is no longer started: it may be, if it is still wanted.
    fn reopen_piece(&mut self, piece: PieceIndex) {
        self.partials.remove(piece);
        if self.missing.has(piece) {
            self.picker.open(piece);
        }
    }

    /// Others starve for memory: what makes no progress goes to its part file.
    pub(crate) fn spill(&mut self, shared: &mut SessionContext, now: Time) {
        let stale: Vec<PieceIndex> = self
            .partials
            .iter()
            .filter(|(_, partial)| {
                partial.stage == Stage::Active
                    && partial.stream_blocks.is_none()
                    && now.since(partial.progress) >= STALE
            })
            .map(|(piece, _)| piece)
            .collect();
        for piece in stale {
            self.cancel_piece(shared, piece);
            self.unplan(piece);
            if self.partials.get(piece).is_some_and(|partial| partial.held() > 0) {
                self.partials.set_stage(piece, Stage::Spilled);
                shared.out.push_back(SwarmOutput::Spill(PieceKey { torrent: self.id, piece }));
            } else {
                self.drop_partial(shared, piece);
            }
        }
    }

    /// Everything that is half here goes to its part file, or is dropped.
    pub(super) fn spill_all(&mut self, shared: &mut SessionContext) {
        let begun: Vec<PieceIndex> = self
            .partials
            .iter()
            .filter(|(_, partial)| matches!(partial.stage, Stage::Active | Stage::Reserving))
            .map(|(piece, _)| piece)
            .collect();
        for piece in begun {
            let spills = self.partials.get(piece).is_some_and(|partial| {
                partial.stage == Stage::Active
                    && partial.held() > 0
                    && partial.stream_blocks.is_none()
            });
            if spills {
                self.cancel_piece(shared, piece);
                self.unplan(piece);
                self.partials.set_stage(piece, Stage::Spilled);
                shared.out.push_back(SwarmOutput::Spill(PieceKey { torrent: self.id, piece }));
            } else {
                self.drop_partial(shared, piece);
            }
        }
    }

    /// Closes a connection and takes back everything that hung on it.
    pub(crate) fn hang_up(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        reason: HangUpReason,
    ) {
        // Whoever is gone already is not hung up on again, whatever is still told of it.
        if self.peers.contains_key(&conn) {
            shared.out.push_back(SwarmOutput::HangUp { conn, reason });
            self.disconnected(shared, now, conn);
        }
    }

    /// Hangs up everywhere.
    pub(crate) fn hang_up_all(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        reason: HangUpReason,
    ) {
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            self.hang_up(shared, now, conn, reason);
        }
    }

    /// Brings everything to an end that is under way: nobody is connected, nothing is asked for, what
    /// is half here goes to its part file.
    pub(crate) fn halt(&mut self, shared: &mut SessionContext, now: Time, reason: HangUpReason) {
        self.halted = true;
        self.hang_up_all(shared, now, reason);
        self.spill_all(shared);
    }

    /// It goes on.
    pub(crate) fn resume(&mut self, shared: &mut SessionContext, now: Time) {
        self.halted = false;
        shared.dials_possible = true;
        self.fill(shared, now);
    }

    /// Whether nothing of it is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.partials.iter().all(|(_, partial)| partial.stage == Stage::Spilled)
    }

    /// A peer was caught lying: nothing is asked of it any more. On the internet `remote` stands for
    /// every port of its address ([`ban_key`]).
    pub(crate) fn ban(&mut self, shared: &mut SessionContext, now: Time, remote: Endpoint) {
        let theirs = |(_, peer): &(&ConnId, &Peer)| ban_key(peer.remote) == remote;
        let conns: Vec<ConnId> = self.peers.iter().filter(theirs).map(|(conn, _)| *conn).collect();
        for conn in conns {
            if shared.config.serves_banned() {
                self.distrust(shared, conn);
            } else {
                self.hang_up(shared, now, conn, HangUpReason::Banned);
            }
        }
        if self.known.get(remote).is_some_and(|known| known.conn.is_none()) {
            self.forget(remote);
        }
        self.unreachable(remote);
        // What it gave of unverified pieces is worth nothing.
        let tainted: Vec<PieceIndex> = self
            .partials
            .iter()
            .filter(|(_, partial)| matches!(partial.stage, Stage::Active | Stage::Spilled))
            .filter(|(_, partial)| {
                let theirs =
                    |block: &Block| matches!(block, Block::Held(from) if ban_key(*from) == remote);
                partial.blocks.iter().any(theirs)
            })
            .map(|(piece, _)| piece)
            .collect();
        for piece in tainted {
            self.drop_partial(shared, piece);
        }
        self.fill(shared, now);
    }

    /// Nothing is known of this peer any more.
    pub(crate) fn forget(&mut self, remote: Endpoint) {
        if let Some(owned) = self.known.remove(remote).and_then(|known| known.owned) {
            owned.ones().for_each(|piece| self.picker.lost(piece));
        }
    }

    /// A peer is gone for good.
    pub(crate) fn departed(&mut self, shared: &mut SessionContext, now: Time, remote: Endpoint) {
        if let Some(conn) = self.known.get(remote).and_then(|known| known.conn) {
            self.hang_up(shared, now, conn, HangUpReason::Dead);
        }
        self.forget(remote);
        self.fill(shared, now);
    }

    /// Whether any source that is alive could still give something: it is connected and chokes us.
    pub(crate) fn is_choked_by_somebody(&self) -> bool {
        self.peers
            .values()
            .any(|peer| peer.is_established() && peer.am_interested && peer.peer_choking)
    }

    /// The first wanted piece that is not here, for messages.
    pub(crate) fn first_missing(&self, file: FileIndex) -> Option<PieceIndex> {
        self.geometry.file_pieces(file).map(PieceIndex).find(|piece| self.missing.has(*piece))
    }

    /// Checks all invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub(crate) fn check(&self) {
        self.picker.check();
        self.check_offers();
        self.partials.check(&self.geometry);
        assert!(self.missing.ones().all(|piece| !self.have.has(piece)));
        for (piece, partial) in self.partials.iter() {
            let given_up = partial.stage == Stage::Abandoned;
            assert!(given_up || self.missing.has(piece), "{piece:?} is started and not wanted");
            assert!(!self.picker.is_open(piece), "{piece:?} is started and open");
        }
        for piece in self.missing.ones() {
            assert!(
                self.picker.is_open(piece) || self.partials.get(piece).is_some(),
                "{piece:?} is missing, not open and not started"
            );
        }
        let mut planned: BTreeMap<ConnId, u64> = BTreeMap::new();
        for (piece, partial) in self.partials.iter() {
            for (index, block) in (0u32..).zip(&partial.blocks) {
                let range = self.geometry.block(piece, index);
                match block {
                    Block::Open => {
                        if let Some(conn) = partial.planned {
                            *planned.entry(conn).or_default() += u64::from(range.len);
                        }
                    }
                    Block::Held(_) => {}
                    Block::Asked(first, second) => {
                        for conn in std::iter::once(first).chain(second) {
                            let peer = &self.peers[conn];
                            assert!(
                                peer.asks.iter().any(|ask| {
                                    ask.block == range && ask.state == AskState::Live
                                }),
                                "{range:?} is asked of {conn:?}, which does not know"
                            );
                        }
                    }
                }
            }
        }
        let serving = self.peers.values().flat_map(|peer| &peer.serving);
        assert_eq!(self.giving.on_its_way, serving.map(|block| u64::from(block.len)).sum::<u64>());
        for (conn, peer) in &self.peers {
            peer.check();
            assert_eq!(self.known.get(peer.remote).and_then(|known| known.conn), Some(*conn));
            assert_eq!(peer.planned, planned.get(conn).copied().unwrap_or(0), "{conn:?}");
            let owed: u64 = peer
                .asks
                .iter()
                .filter(|ask| ask.state != AskState::Cancelled)
                .map(|ask| u64::from(ask.block.len))
                .sum();
            assert_eq!(peer.window.in_flight(), owed, "{conn:?}");
            if let Pieces::Some(field) = &peer.pieces {
                let useful = field.ones().filter(|piece| self.missing.has(*piece)).count();
                assert_eq!(peer.useful as usize, useful, "{conn:?}");
            }
        }
    }
}
