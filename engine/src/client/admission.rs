//! Who is let in, and whom we dial, within the limits of a client: dials take turns by torrent,
//! incoming connections share the places by source.

use super::Client;
use super::eviction;
use crate::swarm::address::source_of;
use crate::swarm::io::HangUpReason;
use crate::swarm::torrent::Torrent;
use crate::wake::Reason;
use dunlin_base::{ConnId, Endpoint, Time, TorrentId};
use std::time::Duration;

/// Connections of one source that wait for their handshake: more are no swarm but a flood.
const STRANGERS_OF_ONE: usize = 32;
/// Connections that wait for their handshake. When there are more, the one that waits longest goes:
/// an honest peer has sent its handshake by then.
const STRANGERS: usize = 256;
/// When so many wait, a source that has just gone does not come in again before others.
const BUSY: usize = STRANGERS / 4;
/// Of so many connections of a torrent …
const SHARES: usize = 5;
/// … so many may have come by themselves: nobody can fill all places from outside.
const INCOMING_SHARES: usize = 4;

impl Client {
    /// Hangs up on all connections that wait for their handshake.
    pub(super) fn reject_all_pending(&mut self) {
        while let Some(conn) = self.session.pending().keys().next().copied() {
            self.session.reject_pending(conn, HangUpReason::Stopping);
        }
    }

    /// Connections and dials that may be added.
    fn free_connections(&self) -> usize {
        self.internet.config.connections.saturating_sub(self.session.connections())
    }

    /// Dials whom it may, torrent by torrent in turns.
    pub(super) fn dial(&mut self, now: Time) {
        let possible = self.session.take_dials_possible();
        if !std::mem::take(&mut self.internet.dials_possible) && !possible {
            return;
        }
        while self.may_dial(now) {
            let last = self.internet.last_dialled;
            let mut ids: Vec<TorrentId> =
                self.session.torrents().map(|torrent| torrent.id).collect();
            let first = ids.iter().position(|id| *id > last).unwrap_or(0);
            ids.rotate_left(first);
            let next = ids.into_iter().find_map(|id| Some((id, self.next_dial(now, id)?)));
            let Some((id, remote)) = next else { return };
            self.internet.last_dialled = id;
            self.internet.dialled.1 += 1;
            self.session.dial(id, remote);
        }
    }

    /// Whom a torrent dials next.
    fn next_dial(&mut self, now: Time, id: TorrentId) -> Option<Endpoint> {
        let limit = self.internet.config.connections_per_torrent;
        let internet = &self.torrents.get(&id)?.internet;
        let peers = &self.peers;
        self.session.look(id, |torrent, context| {
            let dialling = torrent.connections.dials();
            if torrent.lifecycle.is_halted() || torrent.connections.peers.len() + dialling >= limit
            {
                return None;
            }
            let alone = dialling == 0 && internet.is_alone(torrent, peers, now);
            internet.candidates.next(torrent, context, now, alone)
        })?
    }

    fn may_dial(&mut self, now: Time) -> bool {
        let (since, _) = self.internet.dialled;
        if now.since(since) >= Duration::from_secs(1) {
            self.internet.dialled = (now, 0);
        }
        let config = &self.internet.config;
        if self.free_connections() == 0 || self.session.dials() >= config.half_open {
            return false;
        }
        let (since, count) = self.internet.dialled;
        let may = count < config.dials_per_second;
        if !may {
            self.session.timers().by(Reason::Dial, since + Duration::from_secs(1));
        }
        may
    }

    /// Whether a connection may wait for its handshake. Where there are too many, of its source or
    /// in all, the one that waits longest makes room.
    pub(super) fn makes_room(&mut self, now: Time, remote: Endpoint) -> bool {
        let pending = self.session.pending();
        if pending.len() >= BUSY && self.internet.has_just_knocked(now, remote) {
            return false;
        }
        let source = source_of(remote);
        let waiting = pending.iter().map(|(conn, (other, since))| (*since, *conn, *other));
        let same = waiting.clone().filter(|(.., other)| source_of(*other) == source);
        let oldest = if same.clone().count() >= STRANGERS_OF_ONE {
            same.min()
        } else if pending.len() >= STRANGERS {
            waiting.min()
        } else {
            None
        };
        if let Some((_, conn, remote)) = oldest {
            self.internet.knocks(now, remote);
            self.session.reject_pending(conn, HangUpReason::Crowded);
        }
        true
    }

    /// Why a connection that came for this torrent is not let in, if it is not.
    pub(super) fn refuses(
        &mut self,
        now: Time,
        id: TorrentId,
        remote: Endpoint,
    ) -> Option<HangUpReason> {
        let waits = self.internet.has_just_gone(now, remote);
        let refused = self.has_no_place(now, id, remote, waits);
        // A source that waits is not sent further back by every try: others may be behind its
        // address.
        if refused.is_some() && !waits {
            self.internet.goes(now, remote);
        }
        refused
    }

    fn has_no_place(
        &mut self,
        now: Time,
        id: TorrentId,
        remote: Endpoint,
        waits: bool,
    ) -> Option<HangUpReason> {
        let (full, limit) =
            (self.free_connections() == 0, self.internet.config.connections_per_torrent);
        let of_one = self.internet.config.connections_per_ip;
        let Some(torrent) =
            self.session.torrent(id).filter(|torrent| !torrent.lifecycle.is_halted())
        else {
            return Some(HangUpReason::UnknownTorrent);
        };
        let source = source_of(remote);
        let most = (limit * INCOMING_SHARES / SHARES).max(1);
        let incoming = torrent.connections.peers.values().filter(|peer| peer.incoming).count();
        let crowded = torrent.connections.peers.len() >= limit || full || incoming >= most;
        // Of its own source's places it may have one, and of others' only when its turn has come.
        let victim = if eviction::incoming_of(torrent, source) >= of_one {
            eviction::own_victim(torrent, now, source)
        } else if crowded && waits {
            None
        } else if torrent.connections.peers.len() >= limit || full {
            eviction::victim(torrent, now, source, false)
                .or_else(|| self.victim_of_others(now, id, full))
        } else if incoming >= most {
            eviction::victim(torrent, now, source, true)
        } else {
            return None;
        };
        let Some(victim) = victim else { return Some(HangUpReason::Crowded) };
        self.session.hang_up(now, victim, HangUpReason::Crowded);
        None
    }

    /// A connection of another torrent that makes room, where all torrents together are `full`: of
    /// the one that has most of them.
    fn victim_of_others(&self, now: Time, id: TorrentId, full: bool) -> Option<ConnId> {
        let mut others: Vec<&Torrent> =
            self.session.torrents().filter(|torrent| full && torrent.id != id).collect();
        others.sort_by_key(|torrent| {
            (std::cmp::Reverse(torrent.connections.peers.len()), torrent.id)
        });
        others.into_iter().find_map(|torrent| eviction::idle_victim(torrent, now))
    }
}
