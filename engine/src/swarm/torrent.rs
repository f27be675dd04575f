//! The life of one torrent: routes what happens to the part of it that decides.
//!
//! Its parts have methods of their own and take plain values:
//!
//! - `connections`: the peers, who has what and is interested, what is sent to them;
//! - `downloads`: what is missing, what is started, what is asked for;
//! - `uploads`: slots, offers, the goal of a seed (`slots`: what peers make of their slots;
//!   `superseed`: what a seed gives first);
//! - `pending_haves`: pieces that are to be announced;
//! - `lifecycle`: whether it goes on;
//! - `idle_messages`: messages that change nothing.
//!
//! What takes several of them is here, by what happens:
//!
//! - `connect`: handshakes, bitfields and HAVEs, the end of a connection;
//! - `fill`: which block to ask of whom, many requests in flight (`policy`: by the policy of a
//!   driver);
//! - `blocks`: blocks that arrive, are refused or are late;
//! - `verify`: hashing, blame, writing;
//! - `serve`: requests of others, rounds of the choker;
//! - `wishes`: what is wanted, and how much, changed at run time;
//! - `limits`: rates and goals that change.

mod blocks;
mod connect;
mod connections;
mod downloads;
mod fill;
mod idle_messages;
mod lifecycle;
mod limits;
mod params;
mod pending_haves;
mod policy;
mod serve;
mod slots;
mod superseed;
mod uploads;
mod verify;
mod wishes;

use crate::swarm::address::ban_key;
use crate::swarm::config::Availability;
use crate::swarm::context::{DriverEvent, SessionContext, Traffic};
use crate::swarm::io::{HangUpReason, SwarmOutput};
use crate::swarm::partials::{Block, Stage};
use crate::swarm::peer::{AskState, Peer, Pieces};
use crate::swarm::policy::Requests;
use crate::swarm::rate_limit::RateLimits;
use crate::swarm::superseed::Offers;
use crate::wake::Reason;
pub(crate) use connect::Violation;
use connections::Connections;
use downloads::Downloads;
use dunlin_base::{
    Bitfield, ConnId, Endpoint, FileIndex, PeerId, PieceIndex, PieceKey, Time, TorrentId,
};
use dunlin_metainfo::Geometry;
pub(crate) use idle_messages::spend;
use lifecycle::Lifecycle;
pub(crate) use params::{SwarmName, TorrentParams};
use pending_haves::PendingHaves;
use std::collections::BTreeMap;
use std::time::Duration;
use uploads::Uploads;

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
    pub(crate) connections: Connections,
    pub(crate) downloads: Downloads,
    pub(crate) uploads: Uploads,
    pending_haves: PendingHaves,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) requests: Requests,
    pub(crate) rates: RateLimits,
    pub(crate) traffic: Traffic,
}

// A session keeps one of these for each torrent, however idle.
const _: () = assert!(size_of::<Torrent>() <= 1152);

impl Torrent {
    /// A torrent with what it begins with. Sizes of bitfields must be those of the geometry.
    pub(crate) fn new(context: &mut SessionContext, now: Time, params: TorrentParams) -> Torrent {
        let TorrentParams { id, names, peer_id, geometry, have, wanted, order, .. } = params;
        let mut missing = Bitfield::new(geometry.pieces());
        wanted.minus(&have).for_each(|piece| {
            missing.set(piece);
        });
        let downloads = Downloads::new(now, order, missing, params.priorities, &mut context.rng);
        let gives = context.config.superseeds && context.config.shares;
        let gives = gives && !downloads.wants_pieces() && have.count() > 0;
        let offers = gives.then(|| Box::new(Offers::new(&mut context.rng, &have)));
        Torrent {
            id,
            names,
            peer_id,
            geometry,
            have,
            connections: Connections::default(),
            downloads,
            uploads: Uploads { offers, ..Uploads::default() },
            pending_haves: PendingHaves::default(),
            lifecycle: Lifecycle::new(params.awaits_metadata),
            requests: params.requests,
            rates: RateLimits::new(params.limits),
            traffic: Traffic::default(),
        }
    }

    /// Asks for whatever may be asked for now. Called after everything that may have changed it.
    pub(crate) fn fill(&mut self, context: &mut SessionContext, now: Time) {
        self.fill_from(context, now, None);
    }

    /// The same, where only `only` has become able to give more than before: a HAVE or a block must
    /// not cost a look at every peer.
    pub(crate) fn fill_from(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        only: Option<ConnId>,
    ) {
        if !self.downloads.wants_pieces() || self.lifecycle.is_halted() {
            return;
        }
        if let Some(until) = self.downloads.disk_pause.ends(now) {
            // The wake-up may have been for an earlier pause.
            context.timers.by(Reason::Dial, until);
            return;
        }
        if context.requests_held {
            return;
        }
        match self.requests {
            Requests::Pipelined => self.fill_many(context, now, only),
            Requests::Policy(_) => {
                self.with_policy(context, |policy, swarm| policy.fill(swarm, now));
            }
        }
    }

    /// Nobody in the swarm gives a wanted piece. Said once, until something changes.
    pub(crate) fn starve(&mut self, context: &mut SessionContext) {
        if !std::mem::replace(&mut self.downloads.starved, true) {
            context.notify(DriverEvent::Starved { torrent: self.id });
        }
    }

    /// Takes the tracker's answer: members in its order with their loads, and who has what, if it
    /// names that. `own` is who we are among them.
    pub(crate) fn refreshed(
        &mut self,
        context: &mut SessionContext,
        own: Endpoint,
        members: &[(Endpoint, u64)],
        owners: Option<&[(Endpoint, Bitfield)]>,
    ) {
        self.downloads.starved = false;
        let pieces = self.geometry.pieces();
        let owners = owners.filter(|owners| owners.iter().all(|(_, field)| field.len() == pieces));
        let picker = &mut self.downloads.picker;
        let none = Bitfield::new(pieces);
        let piece_length = u64::from(self.geometry.piece_length().max(1));
        let owed: BTreeMap<Endpoint, u64> = self
            .connections
            .peers
            .values()
            .map(|peer| (peer.remote, peer.window.in_flight() + peer.planned))
            .collect();
        let under_way =
            |remote| owed.get(&remote).map_or(0, |bytes: &u64| bytes.div_ceil(piece_length));
        self.connections.known.refresh(own, members, owners, under_way, |before, after| {
            let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
            after.minus(before).for_each(|piece| picker.inc_availability(piece));
            before.minus(after).for_each(|piece| picker.dec_availability(piece));
        });
        if context.config.availability == Availability::Reported {
            let conns: Vec<ConnId> = self.connections.peers.keys().copied().collect();
            for conn in conns {
                self.take_tracker_pieces(context, conn);
            }
        }
    }

    /// Requests and offers whose time is over.
    pub(crate) fn expire(&mut self, context: &mut SessionContext, now: Time) {
        self.expire_requests(context, now);
        let SessionContext { upload_scheduler, timers, .. } = &mut *context;
        self.uploads.expire_offers(&mut self.connections, upload_scheduler, timers, now);
        self.with_policy(context, |policy, swarm| policy.timeout(swarm, now));
    }

    /// Nobody may be asked for what this file still lacks: it has failed.
    pub(crate) fn abandon(&mut self, context: &mut SessionContext, now: Time, file: FileIndex) {
        for raw in self.geometry.file_pieces(file) {
            let piece = PieceIndex(raw);
            let stage = self.downloads.partials.get(piece).map(|partial| partial.stage);
            let stored = matches!(stage, Some(Stage::Storing { .. }));
            if stored || !self.downloads.missing.has(piece) {
                continue;
            }
            self.drop_partial(context, piece);
            self.downloads.picker.close(piece);
            self.downloads.no_longer_missing(&mut self.connections, &mut context.out, piece);
        }
        self.fill(context, now);
    }

    /// Takes a started piece back: what it holds is dropped, what was asked for is cancelled. The
    /// piece is open again.
    pub(crate) fn drop_partial(&mut self, context: &mut SessionContext, piece: PieceIndex) {
        let Some(partial) = self.downloads.partials.get(piece) else { return };
        if matches!(partial.stage, Stage::Storing { .. }) {
            return;
        }
        let stage = partial.stage;
        self.downloads.cancel_piece(&mut self.connections, &self.geometry, &mut context.out, piece);
        self.downloads.unplan(&mut self.connections, &self.geometry, piece);
        match stage {
            // The answer is under way; until it comes the piece cannot be started again.
            Stage::Reserving | Stage::Abandoned => {
                self.downloads.partials.set_stage(piece, Stage::Abandoned);
                return;
            }
            Stage::Spilled => {}
            _ => context.out.push_back(SwarmOutput::Release(PieceKey { torrent: self.id, piece })),
        }
        self.downloads.reopen_piece(piece);
    }

    /// Others starve for memory: what makes no progress goes to its part file.
    pub(crate) fn spill(&mut self, context: &mut SessionContext, now: Time) {
        let stale: Vec<PieceIndex> = self
            .downloads
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
            self.downloads.cancel_piece(
                &mut self.connections,
                &self.geometry,
                &mut context.out,
                piece,
            );
            self.downloads.unplan(&mut self.connections, &self.geometry, piece);
            if self.downloads.partials.get(piece).is_some_and(|partial| partial.held() > 0) {
                self.downloads.partials.set_stage(piece, Stage::Spilled);
                context.out.push_back(SwarmOutput::Spill(PieceKey { torrent: self.id, piece }));
            } else {
                self.drop_partial(context, piece);
            }
        }
    }

    /// Everything that is half here goes to its part file, or is dropped.
    pub(super) fn spill_all(&mut self, context: &mut SessionContext) {
        let begun: Vec<PieceIndex> = self
            .downloads
            .partials
            .iter()
            .filter(|(_, partial)| matches!(partial.stage, Stage::Active | Stage::Reserving))
            .map(|(piece, _)| piece)
            .collect();
        for piece in begun {
            let spills = self.downloads.partials.get(piece).is_some_and(|partial| {
                partial.stage == Stage::Active
                    && partial.held() > 0
                    && partial.stream_blocks.is_none()
            });
            if spills {
                self.downloads.cancel_piece(
                    &mut self.connections,
                    &self.geometry,
                    &mut context.out,
                    piece,
                );
                self.downloads.unplan(&mut self.connections, &self.geometry, piece);
                self.downloads.partials.set_stage(piece, Stage::Spilled);
                context.out.push_back(SwarmOutput::Spill(PieceKey { torrent: self.id, piece }));
            } else {
                self.drop_partial(context, piece);
            }
        }
    }

    /// Closes a connection and takes back everything that hung on it.
    pub(crate) fn hang_up(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        reason: HangUpReason,
    ) {
        // A connection that is gone is not closed again, whatever is still reported of it.
        if self.connections.peers.contains_key(&conn) {
            context.out.push_back(SwarmOutput::HangUp { conn, reason });
            self.disconnected(context, now, conn);
        }
    }

    /// Hangs up everywhere.
    pub(crate) fn hang_up_all(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        reason: HangUpReason,
    ) {
        let conns: Vec<ConnId> = self.connections.peers.keys().copied().collect();
        for conn in conns {
            self.hang_up(context, now, conn, reason);
        }
    }

    /// Brings everything to an end that is under way: nobody is connected, nothing is asked for,
    /// what is half here goes to its part file.
    pub(crate) fn halt(&mut self, context: &mut SessionContext, now: Time, reason: HangUpReason) {
        self.lifecycle.halt();
        self.hang_up_all(context, now, reason);
        self.spill_all(context);
    }

    /// It goes on.
    pub(crate) fn resume(&mut self, context: &mut SessionContext, now: Time) {
        self.lifecycle.resume();
        context.dials_possible = true;
        self.fill(context, now);
    }

    /// A peer was caught lying: nothing is asked of it any more. On the internet `remote` stands
    /// for every port of its address ([`ban_key`]).
    pub(crate) fn ban(&mut self, context: &mut SessionContext, now: Time, remote: Endpoint) {
        let theirs = |(_, peer): &(&ConnId, &Peer)| ban_key(peer.remote) == remote;
        let conns: Vec<ConnId> =
            self.connections.peers.iter().filter(theirs).map(|(conn, _)| *conn).collect();
        for conn in conns {
            if context.config.bans.serves {
                self.distrust(context, conn);
            } else {
                self.hang_up(context, now, conn, HangUpReason::Banned);
            }
        }
        if self.connections.known.get(remote).is_some_and(|known| known.conn.is_none()) {
            self.forget(remote);
        }
        self.unreachable(remote);
        // What it gave of unverified pieces is worth nothing.
        let tainted: Vec<PieceIndex> = self
            .downloads
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
            self.drop_partial(context, piece);
        }
        self.fill(context, now);
    }

    /// Nothing is known of this peer any more.
    pub(crate) fn forget(&mut self, remote: Endpoint) {
        if let Some(owned) = self.connections.known.remove(remote).and_then(|known| known.owned) {
            owned.ones().for_each(|piece| self.downloads.picker.dec_availability(piece));
        }
    }

    /// A peer is gone for good.
    pub(crate) fn departed(&mut self, context: &mut SessionContext, now: Time, remote: Endpoint) {
        if let Some(conn) = self.connections.known.get(remote).and_then(|known| known.conn) {
            self.hang_up(context, now, conn, HangUpReason::Dead);
        }
        self.forget(remote);
        self.fill(context, now);
    }

    /// Checks all invariants.
    ///
    /// # Panics
    /// If one does not hold.
    pub(crate) fn check(&self) {
        self.downloads.picker.check();
        self.uploads.check_offers(&self.connections, &self.have);
        self.downloads.partials.check(&self.geometry);
        assert!(self.downloads.missing.ones().all(|piece| !self.have.has(piece)));
        for (piece, partial) in self.downloads.partials.iter() {
            let given_up = partial.stage == Stage::Abandoned;
            assert!(
                given_up || self.downloads.missing.has(piece),
                "{piece:?} is started and not wanted"
            );
            assert!(!self.downloads.picker.is_open(piece), "{piece:?} is started and open");
        }
        for piece in self.downloads.missing.ones() {
            assert!(
                self.downloads.picker.is_open(piece)
                    || self.downloads.partials.get(piece).is_some(),
                "{piece:?} is missing, not open and not started"
            );
        }
        let mut planned: BTreeMap<ConnId, u64> = BTreeMap::new();
        for (piece, partial) in self.downloads.partials.iter() {
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
                            let peer = &self.connections.peers[conn];
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
        let serving = self.connections.peers.values().flat_map(|peer| &peer.serving);
        assert_eq!(
            self.uploads.giving.on_its_way,
            serving.map(|block| u64::from(block.len)).sum::<u64>()
        );
        for (conn, peer) in &self.connections.peers {
            peer.check();
            assert_eq!(
                self.connections.known.get(peer.remote).and_then(|known| known.conn),
                Some(*conn)
            );
            assert_eq!(peer.planned, planned.get(conn).copied().unwrap_or(0), "{conn:?}");
            let owed: u64 = peer
                .asks
                .iter()
                .filter(|ask| ask.state != AskState::Cancelled)
                .map(|ask| u64::from(ask.block.len))
                .sum();
            assert_eq!(peer.window.in_flight(), owed, "{conn:?}");
            if let Pieces::Some(field) = &peer.pieces {
                let useful =
                    field.ones().filter(|piece| self.downloads.missing.has(*piece)).count();
                assert_eq!(peer.useful as usize, useful, "{conn:?}");
            }
        }
    }
}
