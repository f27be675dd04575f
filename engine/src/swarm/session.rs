//! Routes inputs to torrents; decides nothing but who is let in. One session is one peer: all its
//! torrents, all its connections.

mod abroad;
mod inputs;
mod offers;

use crate::client::internet::{Internet, ban_key};
use crate::config::Config;
use crate::io::{Event, HangUpReason, LocalError, Output, Reason, Wake};
use crate::stats::Stats;
use crate::swarm::bans::Bans;
use crate::swarm::peer::{AskState, Pieces};
use crate::swarm::timer::Timers;
use crate::swarm::torrent::{Beginning, Happened, Shared, Torrent};
use crate::swarm::turns::Turns;
use dunlin_base::{
    Bitfield, BlockRef, ConnId, Endpoint, FileIndex, InfoHash, PieceIndex, Rng, Time, TorrentId,
};
use dunlin_metainfo::Geometry;
use dunlin_wire::{Handshake, Message};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Connections in a cluster that have not said what they are for; on the internet there are fewer.
const MAX_UNGREETED: usize = 1000;

/// The room that a queue keeps when it is empty; thousands of torrents make longer bursts.
const MAX_KEPT: usize = 64;

/// All torrents and connections of one peer.
#[derive(Debug)]
pub struct Session {
    shared: Shared,
    torrents: BTreeMap<TorrentId, Torrent>,
    by_hash: BTreeMap<InfoHash, TorrentId>,
    conns: BTreeMap<ConnId, TorrentId>,
    /// Incoming connections without a handshake.
    ungreeted: BTreeMap<ConnId, (Endpoint, Time)>,
}

impl Session {
    /// A session of a cluster, without torrents.
    #[must_use]
    pub fn new(config: Config) -> Session {
        Session::begin(config, None)
    }

    /// A session on the internet, without torrents.
    pub(crate) fn abroad(config: Config, net: Internet) -> Session {
        Session::begin(config, Some(Box::new(net)))
    }

    fn begin(config: Config, net: Option<Box<Internet>>) -> Session {
        let rng = Rng::fork(config.seed, u64::from(config.rank.0));
        let shared = Shared {
            config,
            rng,
            out: VecDeque::new(),
            happened: VecDeque::new(),
            stats: Stats::default(),
            timers: Timers::default(),
            banned: Bans::default(),
            to_ban: BTreeSet::new(),
            out_of_memory: false,
            awaits_tracker: false,
            chosen: 0,
            turns: Turns::default(),
            offer_clock: 0,
            net,
        };
        Session {
            shared,
            torrents: BTreeMap::new(),
            by_hash: BTreeMap::new(),
            conns: BTreeMap::new(),
            ungreeted: BTreeMap::new(),
        }
    }

    /// Adds a torrent of which `have` is here; `wants` says whether the rest is wanted.
    pub fn add(
        &mut self,
        now: Time,
        id: TorrentId,
        info_hash: InfoHash,
        geometry: Geometry,
        have: Bitfield,
        wants: bool,
    ) {
        let pieces = geometry.pieces();
        let beginning = Beginning {
            id,
            names: vec![info_hash],
            peer_id: self.shared.config.peer_id,
            geometry,
            have,
            wanted: if wants { Bitfield::full(pieces) } else { Bitfield::new(pieces) },
            order: self.shared.config.pieces,
            abroad: None,
        };
        self.begin_torrent(now, beginning);
    }

    pub(crate) fn begin_torrent(&mut self, now: Time, beginning: Beginning) {
        for name in &beginning.names {
            self.by_hash.insert(*name, beginning.id);
        }
        let torrent = Torrent::new(&mut self.shared, now, beginning);
        self.torrents.insert(torrent.id, torrent);
    }

    /// Forgets a torrent whose connections are closed. What its dials come to concerns nobody any more.
    pub(crate) fn end_torrent(&mut self, id: TorrentId) {
        if let Some(mut torrent) = self.torrents.remove(&id) {
            torrent.forget_dials(&mut self.shared);
        }
        self.by_hash.retain(|_, torrent| *torrent != id);
        self.forget_closed();
    }

    pub(crate) fn torrent(&self, id: TorrentId) -> Option<&Torrent> {
        self.torrents.get(&id)
    }

    pub(crate) fn torrents(&self) -> impl Iterator<Item = &Torrent> {
        self.torrents.values()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    pub(crate) fn timers(&mut self) -> &mut Timers {
        &mut self.shared.timers
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.shared.out.push_back(output);
    }

    pub(crate) fn happened(&mut self) -> Option<Happened> {
        pop(&mut self.shared.happened)
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    pub(crate) fn stats_mut(&mut self) -> &mut Stats {
        &mut self.shared.stats
    }

    /// The next thing to do, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        pop(&mut self.shared.out)
    }

    /// When to call again for the time's sake, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Wake {
        self.shared.timers.next()
    }

    /// Runs `f` on a torrent, then bans whoever it caught.
    pub(crate) fn with<R>(
        &mut self,
        now: Time,
        id: TorrentId,
        f: impl FnOnce(&mut Torrent, &mut Shared) -> R,
    ) -> Option<R> {
        let result = f(self.torrents.get_mut(&id)?, &mut self.shared);
        self.ban_liars(now);
        self.offer(now);
        Some(result)
    }

    fn with_conn<R>(
        &mut self,
        now: Time,
        conn: ConnId,
        f: impl FnOnce(&mut Torrent, &mut Shared) -> R,
    ) -> Option<R> {
        let id = *self.conns.get(&conn)?;
        self.with(now, id, f)
    }

    fn ban_liars(&mut self, now: Time) {
        while let Some(remote) = self.shared.to_ban.pop_first() {
            let Some(ends) = self.shared.banned.insert(now, remote) else { continue };
            if ends != Time::NEVER {
                self.shared.timers.by(Reason::Dial, ends);
            }
            self.shared.stats.ban(remote);
            self.shared.event(Event::Banned { remote });
            for torrent in self.torrents.values_mut() {
                torrent.ban(&mut self.shared, now, remote);
            }
            self.forget_closed();
        }
    }

    fn forget_closed(&mut self) {
        let torrents = &self.torrents;
        self.conns.retain(|conn, id| {
            torrents.get(id).is_some_and(|torrent| torrent.peers.contains_key(conn))
        });
    }

    fn shuts_out(&self, remote: Endpoint) -> bool {
        self.shared.is_banned(remote) && !self.shared.config.serves_liars()
    }

    /// A dial came through.
    pub fn connected(&mut self, now: Time, id: TorrentId, conn: ConnId, remote: Endpoint) {
        let torrent = self.torrents.get_mut(&id);
        let halted = torrent.as_ref().is_some_and(|torrent| torrent.halted);
        if let Some(torrent) = torrent {
            torrent.dial_is_over(&mut self.shared, remote);
        }
        let banned = self.shuts_out(remote).then_some(HangUpReason::Banned);
        if let Some(reason) = banned.or(halted.then_some(HangUpReason::Stopping)) {
            self.shared.out.push_back(Output::HangUp { conn, reason });
            return;
        }
        let stands = self.with(now, id, |torrent, shared| {
            let stands = torrent.connected(shared, now, conn, remote, false);
            if stands {
                torrent.greet(shared, conn);
            }
            stands
        });
        match stands {
            Some(true) => {
                self.conns.insert(conn, id);
                self.watch_idle(now);
            }
            Some(false) => {}
            None => self
                .shared
                .out
                .push_back(Output::HangUp { conn, reason: HangUpReason::UnknownTorrent }),
        }
    }

    /// Somebody connected to us.
    pub fn incoming(&mut self, now: Time, conn: ConnId, remote: Endpoint) {
        self.shared.banned.expire(now);
        let reason = if self.shuts_out(remote) {
            HangUpReason::Banned
        } else if !self.makes_room(now, remote) || self.ungreeted.len() >= MAX_UNGREETED {
            HangUpReason::Crowded
        } else {
            self.ungreeted.insert(conn, (remote, now));
            self.watch_idle(now);
            return;
        };
        self.shared.out.push_back(Output::HangUp { conn, reason });
    }

    /// A handshake: of a dial of ours, or of a stranger who now says what he came for.
    pub fn handshake(&mut self, now: Time, conn: ConnId, handshake: &Handshake) {
        if let Some((remote, _)) = self.ungreeted.remove(&conn) {
            let Some(id) = self.by_hash.get(&handshake.info_hash).copied() else {
                if let Some(net) = &mut self.shared.net {
                    net.knocks(now, remote);
                }
                let reason = HangUpReason::UnknownTorrent;
                self.shared.out.push_back(Output::HangUp { conn, reason });
                return;
            };
            // It may have been banned, by another connection of its, after this one was made.
            let banned = self.shuts_out(remote).then_some(HangUpReason::Banned);
            if let Some(reason) = banned.or_else(|| self.refuses(now, id, remote)) {
                self.shared.out.push_back(Output::HangUp { conn, reason });
                return;
            }
            let stands = self.with(now, id, |torrent, shared| {
                let stands = torrent.connected(shared, now, conn, remote, true);
                if let Some(peer) = torrent.peers.get_mut(&conn) {
                    peer.abroad.name = Some(handshake.info_hash);
                }
                stands
            });
            if stands != Some(true) {
                return;
            }
            self.conns.insert(conn, id);
        }
        let mut refused = None;
        self.try_conn(now, conn, |torrent, shared| {
            if !torrent.names.contains(&handshake.info_hash) {
                return Err("handshake of another torrent");
            }
            if torrent.peers.get(&conn).is_some_and(|peer| peer.handshaken) {
                return Err("a second handshake");
            }
            if torrent.abroad.is_some() {
                refused = torrent.recognise(shared, now, conn, handshake).err();
            }
            if refused.is_none() {
                torrent.on_handshake(shared, conn, handshake);
            }
            Ok(())
        });
        if let Some(reason) = refused {
            self.with_conn(now, conn, |t, shared| t.hang_up(shared, now, conn, reason));
        }
        self.forget_closed();
    }

    /// A message.
    pub fn message(&mut self, now: Time, conn: ConnId, message: &Message) {
        if self.forgets_stranger(now, conn) {
            let reason = HangUpReason::Violation("a message before the handshake");
            self.shared.out.push_back(Output::HangUp { conn, reason });
            return;
        }
        self.try_conn(now, conn, |torrent, shared| {
            if torrent.peers.get(&conn).is_some_and(|peer| !peer.handshaken) {
                return Err("a message before the handshake");
            }
            torrent.heard(now, conn);
            if shared.net.is_some() {
                torrent.bear(now, conn, message)?;
            }
            torrent.on_message(shared, now, conn, message)
        });
        self.drop_if_useless(now, conn);
    }

    /// Payload is parked.
    pub fn block(&mut self, now: Time, conn: ConnId, block: BlockRef) {
        if !self.conns.contains_key(&conn) {
            self.shared.out.push_back(Output::Drop { conn, block });
            return;
        }
        self.try_conn(now, conn, |torrent, shared| {
            torrent.heard(now, conn);
            torrent.on_block(shared, now, conn, block)?;
            torrent.fill_from(shared, now, Some(conn));
            Ok(())
        });
    }

    /// Runs `f` on the torrent of a connection; a breach of the protocol closes the connection.
    fn try_conn(
        &mut self,
        now: Time,
        conn: ConnId,
        f: impl FnOnce(&mut Torrent, &mut Shared) -> Result<(), &'static str>,
    ) {
        let breach = self.with_conn(now, conn, |torrent, shared| {
            let Err(what) = f(torrent, shared) else { return false };
            if let Some(peer) = torrent.peers.get(&conn)
                && let Some(net) = &mut shared.net
                && net.breached(now, peer.remote)
            {
                shared.to_ban.insert(ban_key(peer.remote));
            }
            torrent.hang_up(shared, now, conn, HangUpReason::Violation(what));
            true
        });
        if breach == Some(true) {
            self.conns.remove(&conn);
        }
    }

    /// The bytes of a connection make no sense.
    pub fn malformed(&mut self, now: Time, conn: ConnId) {
        if self.forgets_stranger(now, conn) {
            let reason = HangUpReason::Violation("no handshake");
            self.shared.out.push_back(Output::HangUp { conn, reason });
            return;
        }
        if self.shared.net.is_some() && !self.is_greeted(conn) {
            // Something else than BitTorrent answers there: no breach of a protocol that it never spoke.
            let reason = HangUpReason::Violation("no handshake");
            self.with_conn(now, conn, |t, shared| t.hang_up(shared, now, conn, reason));
            self.conns.remove(&conn);
            return;
        }
        self.try_conn(now, conn, |_, _| Err("malformed bytes"));
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, now: Time, conn: ConnId) {
        self.forgets_stranger(now, conn);
        self.with_conn(now, conn, |torrent, shared| torrent.disconnected(shared, now, conn));
        self.conns.remove(&conn);
    }

    /// A peer is gone for good: nobody dials it again.
    pub fn departed(&mut self, now: Time, remote: Endpoint) {
        for torrent in self.torrents.values_mut() {
            torrent.departed(&mut self.shared, now, remote);
        }
        self.forget_closed();
    }

    /// A block was sent.
    pub fn sent(&mut self, now: Time, conn: ConnId, block: BlockRef) {
        self.with_conn(now, conn, |torrent, shared| torrent.sent(shared, now, conn, block));
    }

    /// A block could not be read.
    pub fn serve_failed(&mut self, now: Time, conn: ConnId, block: BlockRef, error: &LocalError) {
        tracing::debug!(%error, ?block, "a block could not be served");
        if let Some(torrent) = self.conns.get(&conn).copied() {
            let error = error.clone();
            self.shared.happened.push_back(Happened::ServeFailed { torrent, error });
        }
        self.not_served(now, conn, block);
    }

    /// A block will not be sent.
    pub fn not_served(&mut self, now: Time, conn: ConnId, block: BlockRef) {
        self.with_conn(now, conn, |torrent, shared| torrent.not_served(shared, now, conn, block));
    }

    /// The memory for a piece is there.
    pub fn reserved(&mut self, now: Time, id: TorrentId, piece: PieceIndex) {
        // Whoever gets memory no longer stands in the queue for more: what was refused before must be
        // asked for again, or nobody would ever call us.
        let waited = std::mem::take(&mut self.shared.out_of_memory);
        let known = self.with(now, id, |torrent, shared| torrent.reserved(shared, now, piece));
        if known.is_none() {
            self.push(Output::Release { torrent: id, piece });
        }
        if waited {
            self.memory_free(now);
        }
    }

    /// There is memory again.
    pub fn memory_free(&mut self, now: Time) {
        self.shared.out_of_memory = false;
        // Whoever is furthest behind comes first: its turn would not come otherwise.
        let mut ids: Vec<(Time, TorrentId)> =
            self.torrents.iter().map(|(id, torrent)| (torrent.last_gain, *id)).collect();
        ids.sort_unstable();
        for (_, id) in ids {
            self.with(now, id, |torrent, shared| torrent.fill(shared, now));
        }
    }

    /// Others starve for memory.
    pub fn memory_wanted(&mut self, now: Time) {
        for torrent in self.torrents.values_mut() {
            torrent.spill(&mut self.shared, now);
        }
    }

    /// Nobody gives what this file lacks.
    pub(crate) fn abandon(&mut self, now: Time, id: TorrentId, file: FileIndex) {
        self.with(now, id, |torrent, shared| torrent.abandon(shared, now, file));
    }

    /// The session's own timers that are due.
    pub fn timeout(&mut self, now: Time) {
        let requests = self.shared.timers.take(Reason::Request, now);
        let dial = self.shared.timers.take(Reason::Dial, now);
        let choke = self.shared.timers.take(Reason::Choke, now);
        let have = self.shared.timers.take(Reason::Have, now);
        let rate = self.shared.timers.take(Reason::Rate, now);
        let idle = self.shared.timers.take(Reason::Idle, now);
        if idle {
            self.keep_alive(now);
        }
        if dial {
            // Whoever was banned may be dialled again.
            self.shared.banned.expire(now);
            if let Some(ends) = self.shared.banned.next() {
                self.shared.timers.by(Reason::Dial, ends);
            }
            self.shared.look_for_peers();
        }
        if !requests && !dial && !choke && !rate && !have {
            return;
        }
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.with(now, id, |torrent, shared| {
                if choke {
                    torrent.rechoke(shared, now);
                }
                if have {
                    torrent.announce_crowd(shared, now);
                }
                if requests || dial {
                    torrent.on_timers(shared, now, requests, dial);
                }
                if rate {
                    torrent.go_on(shared, now);
                }
            });
        }
    }

    /// Hangs up everywhere.
    pub fn stop(&mut self, now: Time) {
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.with(now, id, |torrent, shared| {
                torrent.missing = Bitfield::new(torrent.geometry.pieces());
                let conns: Vec<ConnId> = torrent.peers.keys().copied().collect();
                for conn in conns {
                    torrent.hang_up(shared, now, conn, HangUpReason::Stopping);
                }
            });
            self.torrents.remove(&id);
        }
        self.conns.clear();
        self.by_hash.clear();
    }

    /// Course profile: nothing is requested until the tracker has answered.
    pub(crate) fn await_tracker(&mut self) {
        self.shared.awaits_tracker = true;
    }

    /// Course profile: requests go on, if they were held back.
    pub(crate) fn tracker_answered(&mut self, now: Time) {
        if std::mem::take(&mut self.shared.awaits_tracker) {
            let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
            for id in ids {
                self.with(now, id, |torrent, shared| torrent.fill(shared, now));
            }
        }
    }

    /// The first piece of a file that is still missing.
    pub(crate) fn first_missing(&self, id: TorrentId, file: FileIndex) -> Option<PieceIndex> {
        self.torrents.get(&id)?.first_missing(file)
    }

    /// Checks all invariants; tests call it after every step.
    ///
    /// # Panics
    /// If one does not hold.
    pub fn check(&self) {
        self.shared.turns.check();
        self.shared.banned.check();
        if let Some(net) = &self.shared.net {
            net.check();
            let peers = self.torrents.values().map(|torrent| torrent.peers.len());
            assert_eq!(net.connected, peers.sum::<usize>());
            let dials = self.torrents.values().map(Torrent::dials);
            assert_eq!(net.dialling, dials.sum::<usize>());
        }
        for (conn, id) in &self.conns {
            assert!(self.torrents[id].peers.contains_key(conn), "{conn:?} of {id:?} is unknown");
        }
        for (id, torrent) in &self.torrents {
            torrent.check();
            for (conn, peer) in &torrent.peers {
                assert_eq!(self.conns.get(conn), Some(id));
                if self.shared.is_banned(peer.remote) {
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
fn pop<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let next = queue.pop_front();
    if queue.is_empty() && queue.capacity() > MAX_KEPT {
        queue.shrink_to(MAX_KEPT);
    }
    next
}
