//! Routes inputs to torrents, and refuses connections to torrents that are not here and to banned
//! peers; who is let in besides is for the driver to decide. One session is one peer: all its
//! torrents, all its connections.

mod connections;
mod inputs;
mod superseed;

use crate::stats::Stats;
use crate::swarm::bans::Bans;
use crate::swarm::config::SwarmConfig;
use crate::swarm::context::{DriverEvent, SessionContext};
use crate::swarm::io::{HangUpReason, LocalError, SwarmEvent, SwarmOutput};
use crate::swarm::peer::{AskState, Pieces};
use crate::swarm::rate_limit::Limits;
use crate::swarm::rate_limit::RateLimits;
use crate::swarm::slot_memory::SlotMemory;
use crate::swarm::timer::Timers;
use crate::swarm::torrent::{Torrent, TorrentParams};
use crate::swarm::upload_scheduler::UploadScheduler;
use crate::wake::{Reason, Wake};
use dunlin_base::{
    Bitfield, BlockRef, ConnId, Endpoint, FileIndex, InfoHash, PieceIndex, PieceKey, Rng, Time,
    TorrentId,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Timers that were due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    requests: bool,
    dials: bool,
    choke: bool,
    have: bool,
    rate: bool,
}

/// The room that a queue keeps when it is empty; thousands of torrents make longer bursts.
const MAX_KEPT: usize = 64;

/// All torrents and connections of one peer.
#[derive(Debug)]
pub struct Session {
    context: SessionContext,
    /// Boxed: a node of the map has room for eleven, and is half empty.
    torrents: BTreeMap<TorrentId, Box<Torrent>>,
    by_hash: BTreeMap<InfoHash, TorrentId>,
    conns: BTreeMap<ConnId, TorrentId>,
    /// Incoming connections without a handshake.
    pending: BTreeMap<ConnId, (Endpoint, Time)>,
}

impl Session {
    /// A session without torrents. Every random choice comes from `rng`.
    pub(crate) fn new(config: SwarmConfig, limits: Limits, rng: Rng) -> Session {
        let banned = Bans::new(config.bans);
        let context = SessionContext {
            config,
            rng,
            out: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
            timers: Timers::default(),
            banned,
            to_ban: BTreeSet::new(),
            out_of_memory: false,
            requests_held: false,
            chosen: 0,
            upload_scheduler: UploadScheduler::default(),
            offer_clock: 0,
            rates: RateLimits::new(limits),
            slot_memory: SlotMemory::default(),
            dialling: 0,
            connected: 0,
            dials_possible: false,
        };
        Session {
            context,
            torrents: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            conns: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// Adds a torrent.
    pub(crate) fn add(&mut self, now: Time, params: TorrentParams) {
        for name in &params.names {
            self.by_hash.insert(name.info_hash, params.id);
        }
        let torrent = Torrent::new(&mut self.context, now, params);
        self.torrents.insert(torrent.id, Box::new(torrent));
    }

    /// Forgets a torrent whose connections are closed. What its dials come to concerns nobody any
    /// more.
    pub(crate) fn end_torrent(&mut self, id: TorrentId) {
        if let Some(mut torrent) = self.torrents.remove(&id) {
            torrent.connections.forget_dials(&mut self.context.dialling);
        }
        self.by_hash.retain(|_, torrent| *torrent != id);
        self.forget_closed();
    }

    pub(crate) fn torrent(&self, id: TorrentId) -> Option<&Torrent> {
        self.torrents.get(&id).map(Box::as_ref)
    }

    pub(crate) fn torrents(&self) -> impl Iterator<Item = &Torrent> {
        self.torrents.values().map(Box::as_ref)
    }

    /// Connections that stand, and dials that are under way, of all torrents.
    pub(crate) fn connections(&self) -> usize {
        self.context.connected + self.context.dialling
    }

    /// Dials that are under way.
    pub(crate) fn dials(&self) -> usize {
        self.context.dialling
    }

    /// Whether somebody may be dialled who could not be before, since this was asked last.
    pub(crate) fn take_dials_possible(&mut self) -> bool {
        std::mem::take(&mut self.context.dials_possible)
    }

    /// The torrent of a connection.
    pub(crate) fn torrent_of(&self, conn: ConnId) -> Option<TorrentId> {
        self.conns.get(&conn).copied()
    }

    /// The torrent with this name.
    pub(crate) fn find(&self, info_hash: &InfoHash) -> Option<TorrentId> {
        self.by_hash.get(info_hash).copied()
    }

    pub(crate) fn timers(&mut self) -> &mut Timers {
        &mut self.context.timers
    }

    pub(crate) fn push(&mut self, output: SwarmOutput) {
        self.context.out.push_back(output);
    }

    pub(crate) fn next_event(&mut self) -> Option<DriverEvent> {
        pop(&mut self.context.events)
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.context.stats
    }

    pub(crate) fn stats_mut(&mut self) -> &mut Stats {
        &mut self.context.stats
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<SwarmOutput> {
        pop(&mut self.context.out)
    }

    /// When to call again for the time's sake, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Wake {
        self.context.timers.next()
    }

    /// Runs `f` on a torrent, then bans the peers that it caught.
    pub(crate) fn with<R>(
        &mut self,
        now: Time,
        id: TorrentId,
        f: impl FnOnce(&mut Torrent, &mut SessionContext) -> R,
    ) -> Option<R> {
        let result = f(self.torrents.get_mut(&id)?, &mut self.context);
        self.ban_marked(now);
        self.offer(now);
        Some(result)
    }

    pub(crate) fn with_conn<R>(
        &mut self,
        now: Time,
        conn: ConnId,
        f: impl FnOnce(&mut Torrent, &mut SessionContext) -> R,
    ) -> Option<R> {
        let id = *self.conns.get(&conn)?;
        self.with(now, id, f)
    }

    fn ban_marked(&mut self, now: Time) {
        while let Some(remote) = self.context.to_ban.pop_first() {
            let Some(ends) = self.context.banned.insert(now, remote) else { continue };
            if ends != Time::NEVER {
                self.context.timers.by(Reason::Dial, ends);
            }
            self.context.stats.ban(remote, self.context.config.bans.named);
            self.context.event(SwarmEvent::Banned { remote });
            for torrent in self.torrents.values_mut() {
                torrent.ban(&mut self.context, now, remote);
            }
            self.forget_closed();
        }
    }

    /// Forgets connections that a torrent has closed.
    pub(crate) fn forget_closed(&mut self) {
        let torrents = &self.torrents;
        self.conns.retain(|conn, id| {
            torrents.get(id).is_some_and(|torrent| torrent.connections.peers.contains_key(conn))
        });
    }

    /// Whether nobody may connect from there.
    pub(crate) fn shuts_out(&self, remote: Endpoint) -> bool {
        self.context.is_banned(remote) && !self.context.config.bans.serves
    }

    /// A peer is gone for good: nobody dials it again.
    pub fn departed(&mut self, now: Time, remote: Endpoint) {
        for torrent in self.torrents.values_mut() {
            torrent.departed(&mut self.context, now, remote);
        }
        self.forget_closed();
    }

    /// A block was sent.
    pub fn sent(&mut self, now: Time, conn: ConnId, block: BlockRef) {
        self.with_conn(now, conn, |torrent, context| torrent.sent(context, now, conn, block));
    }

    /// A block could not be read.
    pub fn serve_failed(&mut self, now: Time, conn: ConnId, block: BlockRef, error: &LocalError) {
        tracing::debug!(%error, ?block, "a block could not be served");
        if let Some(torrent) = self.conns.get(&conn).copied() {
            let error = error.clone();
            self.context.notify(DriverEvent::ServeFailed { torrent, error });
        }
        self.not_served(now, conn, block);
    }

    /// A block will not be sent.
    pub fn not_served(&mut self, now: Time, conn: ConnId, block: BlockRef) {
        self.with_conn(now, conn, |torrent, context| torrent.not_served(context, now, conn, block));
    }

    /// The memory for a piece is there.
    pub fn reserved(&mut self, now: Time, id: TorrentId, piece: PieceIndex) {
        // A session that gets memory no longer stands in the queue for more: what was refused
        // before must be asked for again, or nobody would ever call us.
        let waited = std::mem::take(&mut self.context.out_of_memory);
        let known = self.with(now, id, |torrent, context| torrent.reserved(context, now, piece));
        if known.is_none() {
            self.push(SwarmOutput::Release(PieceKey { torrent: id, piece }));
        }
        if waited {
            self.memory_free(now);
        }
    }

    /// There is memory again.
    pub fn memory_free(&mut self, now: Time) {
        self.context.out_of_memory = false;
        // The torrent that is furthest behind comes first: its turn would not come otherwise.
        let mut ids: Vec<(Time, TorrentId)> =
            self.torrents.iter().map(|(id, torrent)| (torrent.downloads.last_gain, *id)).collect();
        ids.sort_unstable();
        for (_, id) in ids {
            self.with(now, id, |torrent, context| torrent.fill(context, now));
        }
    }

    /// Others starve for memory.
    pub fn memory_wanted(&mut self, now: Time) {
        for torrent in self.torrents.values_mut() {
            torrent.spill(&mut self.context, now);
        }
    }

    /// Nobody gives what this file lacks.
    pub(crate) fn abandon(&mut self, now: Time, id: TorrentId, file: FileIndex) {
        self.with(now, id, |torrent, context| torrent.abandon(context, now, file));
    }

    /// Takes the session's own timers that are due, for [`Session::timeout`].
    pub(crate) fn take_due(&mut self, now: Time) -> Due {
        let timers = &mut self.context.timers;
        Due {
            requests: timers.take(Reason::Request, now),
            dials: timers.take(Reason::Dial, now),
            choke: timers.take(Reason::Choke, now),
            have: timers.take(Reason::Have, now),
            rate: timers.take(Reason::Rate, now),
        }
    }

    /// Does what is due. `dial` is called for each torrent when peers may be dialled again.
    pub(crate) fn timeout(
        &mut self,
        now: Time,
        due: Due,
        mut dial: impl FnMut(&mut Torrent, &mut SessionContext),
    ) {
        let Due { requests, dials, choke, have, rate } = due;
        if dials {
            // A peer that was banned may be dialled again.
            self.expire_bans(now);
            if let Some(ends) = self.context.banned.next() {
                self.context.timers.by(Reason::Dial, ends);
            }
            self.context.dials_possible = true;
        }
        if !requests && !dials && !choke && !rate && !have {
            return;
        }
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.with(now, id, |torrent, context| {
                if choke {
                    torrent.rechoke(context, now);
                }
                if have {
                    torrent.announce_crowd(context, now);
                }
                if requests {
                    torrent.expire(context, now);
                }
                if dials {
                    dial(torrent, context);
                }
                if requests || dials {
                    torrent.fill(context, now);
                }
                if rate {
                    torrent.go_on(context, now);
                }
            });
        }
    }

    /// Other limits of all torrents together.
    pub(crate) fn limit(&mut self, now: Time, limits: Limits) {
        self.context.rates.set(now, limits);
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.with(now, id, |torrent, context| torrent.go_on(context, now));
        }
    }

    /// Hangs up everywhere.
    pub fn stop(&mut self, now: Time) {
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.with(now, id, |torrent, context| {
                torrent.downloads.missing = Bitfield::new(torrent.geometry.pieces());
                let conns: Vec<ConnId> = torrent.connections.peers.keys().copied().collect();
                for conn in conns {
                    torrent.hang_up(context, now, conn, HangUpReason::Stopping);
                }
            });
            if let Some(mut torrent) = self.torrents.remove(&id) {
                torrent.connections.forget_dials(&mut self.context.dialling);
            }
        }
        self.conns.clear();
        self.by_hash.clear();
    }

    /// Nothing is requested until [`Session::release_requests`].
    pub(crate) fn hold_requests(&mut self) {
        self.context.requests_held = true;
    }

    /// Requests go on, if they were held back.
    pub(crate) fn release_requests(&mut self, now: Time) {
        if std::mem::take(&mut self.context.requests_held) {
            let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
            for id in ids {
                self.with(now, id, |torrent, context| torrent.fill(context, now));
            }
        }
    }

    /// The first piece of a file that is still missing.
    pub(crate) fn first_missing(&self, id: TorrentId, file: FileIndex) -> Option<PieceIndex> {
        let torrent = self.torrents.get(&id)?;
        torrent.downloads.first_missing(&torrent.geometry, file)
    }

    /// Checks all invariants; tests call it after every step.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.context.upload_scheduler.check();
        self.context.banned.check();
        self.context.slot_memory.check();
        let peers = self.torrents.values().map(|torrent| torrent.connections.peers.len());
        assert_eq!(self.context.connected, peers.sum::<usize>());
        let dials = self.torrents.values().map(|torrent| torrent.connections.dials());
        assert_eq!(self.context.dialling, dials.sum::<usize>());
        for (conn, id) in &self.conns {
            assert!(
                self.torrents[id].connections.peers.contains_key(conn),
                "{conn:?} of {id:?} is unknown"
            );
        }
        for (id, torrent) in &self.torrents {
            torrent.check();
            for (conn, peer) in &torrent.connections.peers {
                assert_eq!(self.conns.get(conn), Some(id));
                if self.context.is_banned(peer.remote) {
                    assert!(!self.shuts_out(peer.remote), "{conn:?} leads to a liar");
                    assert_eq!(peer.pieces, Pieces::Unknown, "{conn:?}");
                    let live = peer.asks.iter().any(|ask| ask.state != AskState::Cancelled);
                    assert!(!live, "something is asked of the liar at {conn:?}");
                }
            }
        }
    }
}

/// Takes the first of a queue; the room of a long burst is given back with the last.
pub(crate) fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let next = queue.pop_front();
    if queue.is_empty() && queue.capacity() > MAX_KEPT {
        queue.shrink_to(MAX_KEPT);
    }
    next
}
