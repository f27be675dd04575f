//! What only a session on the internet does: dialling within its limits, letting strangers in, and signs
//! of life.

use super::Session;
use crate::client::internet::{Internet, ban_key, source_of};
use crate::io::{HangUpReason, Limits, Output, Reason};
use crate::swarm::torrent::Torrent;
use dunlin_base::{ConnId, Endpoint, Time, TorrentId};
use std::time::Duration;

/// How often connections are looked at for signs of life.
const ROUNDS: Duration = Duration::from_secs(5);
/// A stranger must have said what it came for by then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// Strangers of one source that wait: more are no swarm but a flood.
const STRANGERS_OF_ONE: usize = 32;
/// Strangers that wait. When there are more, whoever waits longest goes: who has something to say has
/// said it by then.
const STRANGERS: usize = 256;
/// When so many wait, whoever has just gone does not come in again before others.
const BUSY: usize = STRANGERS / 4;
/// Of so many connections of a torrent …
const SHARES: usize = 5;
/// … so many may have come by themselves: nobody can fill all places from outside.
const INCOMING_SHARES: usize = 4;

impl Session {
    /// What only a session on the internet has.
    pub(crate) fn net(&self) -> Option<&Internet> {
        self.shared.net.as_deref()
    }

    /// Other limits of all torrents together.
    pub(crate) fn limit(&mut self, now: Time, limits: Limits) {
        if let Some(net) = &mut self.shared.net {
            net.limit(now, limits);
        }
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.with(now, id, |torrent, shared| torrent.go_on(shared, now));
        }
    }

    /// Where we listen from now on.
    pub(crate) fn listen(&mut self, port: u16) {
        if let Some(net) = &mut self.shared.net {
            net.port = port;
        }
    }

    /// Forgets connections that a torrent has closed.
    pub(crate) fn tidy(&mut self) {
        self.forget_closed();
    }

    /// Hangs up on a peer.
    pub(crate) fn hang_up(&mut self, now: Time, id: TorrentId, conn: ConnId, reason: HangUpReason) {
        self.with(now, id, |torrent, shared| torrent.hang_up(shared, now, conn, reason));
        self.conns.remove(&conn);
    }

    /// A peer has sent something that is wrong and harms nobody; sent too often, it ends the connection.
    pub(crate) fn tolerate(&mut self, now: Time, id: TorrentId, conn: ConnId, what: &'static str) {
        let over = self.with(now, id, |torrent, _| {
            torrent.peers.get_mut(&conn).and_then(|peer| peer.tolerate(what).err())
        });
        if let Some(what) = over.flatten() {
            self.hang_up(now, id, conn, HangUpReason::Violation(what));
        }
    }

    /// A peer was caught lying about something else than blocks.
    pub(crate) fn convict(&mut self, now: Time, id: TorrentId, conn: ConnId) {
        self.with(now, id, |torrent, shared| {
            if let Some(peer) = torrent.peers.get(&conn) {
                shared.to_ban.insert(ban_key(peer.remote));
            }
        });
    }

    /// Strangers that wait are sent away.
    pub(crate) fn turn_away(&mut self) {
        while let Some((conn, _)) = self.ungreeted.pop_first() {
            self.shared.out.push_back(Output::HangUp { conn, reason: HangUpReason::Stopping });
        }
    }

    /// Dials whom it may, torrent by torrent in turns.
    pub(crate) fn dial_abroad(&mut self, now: Time) {
        let Some(net) = self.shared.net.as_mut() else { return };
        if !std::mem::take(&mut net.look) {
            return;
        }
        while self.may_dial(now) {
            let last = self.shared.net.as_ref().map_or(TorrentId(0), |net| net.last_dialled);
            let mut ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
            let first = ids.iter().position(|id| *id > last).unwrap_or(0);
            ids.rotate_left(first);
            let next = ids.into_iter().find_map(|id| {
                let remote = self.torrents.get(&id)?.next_dial(&mut self.shared, now)?;
                Some((id, remote))
            });
            let Some((id, remote)) = next else { return };
            if let Some(net) = &mut self.shared.net {
                net.last_dialled = id;
                net.dialled.1 += 1;
            }
            if let Some(torrent) = self.torrents.get_mut(&id) {
                torrent.dial(&mut self.shared, remote);
            }
        }
    }

    fn may_dial(&mut self, now: Time) -> bool {
        let Some(net) = &mut self.shared.net else { return false };
        let (since, _) = net.dialled;
        if now.since(since) >= Duration::from_secs(1) {
            net.dialled = (now, 0);
        }
        if net.free() == 0 || net.dialling >= net.config.half_open {
            return false;
        }
        let (since, count) = net.dialled;
        let may = count < net.config.dials_per_second;
        if !may {
            self.shared.timers.by(Reason::Dial, since + Duration::from_secs(1));
        }
        may
    }

    /// A stranger is gone that had not greeted.
    pub(super) fn forgets_stranger(&mut self, now: Time, conn: ConnId) -> bool {
        let Some((remote, _)) = self.ungreeted.remove(&conn) else { return false };
        if let Some(net) = &mut self.shared.net {
            net.knocks(now, remote);
        }
        true
    }

    /// Whether a stranger may wait to say what it came for. Where there are too many, of its source or in
    /// all, the one that waits longest makes room.
    pub(super) fn makes_room(&mut self, now: Time, remote: Endpoint) -> bool {
        let Some(net) = &mut self.shared.net else { return true };
        if self.ungreeted.len() >= BUSY && net.has_just_knocked(now, remote) {
            return false;
        }
        let source = source_of(remote);
        let waiting = self.ungreeted.iter().map(|(conn, (other, since))| (*since, *conn, *other));
        let same = waiting.clone().filter(|(.., other)| source_of(*other) == source);
        let oldest = if same.clone().count() >= STRANGERS_OF_ONE {
            same.min()
        } else if self.ungreeted.len() >= STRANGERS {
            waiting.min()
        } else {
            None
        };
        if let Some((_, conn, _)) = oldest {
            self.forgets_stranger(now, conn);
            self.shared.out.push_back(Output::HangUp { conn, reason: HangUpReason::Crowded });
        }
        true
    }

    /// Why a stranger that came for this torrent is not let in, if it is not.
    pub(super) fn refuses(
        &mut self,
        now: Time,
        id: TorrentId,
        remote: Endpoint,
    ) -> Option<HangUpReason> {
        let waits = self.shared.net.as_mut().is_some_and(|net| net.has_just_gone(now, remote));
        let refused = self.has_no_place(now, id, remote, waits);
        // Who waits is not sent further back by every try: others may be behind its address.
        if let Some(net) = self.shared.net.as_mut().filter(|_| refused.is_some() && !waits) {
            net.goes(now, remote);
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
        let net = self.shared.net.as_ref()?;
        let (full, limit) = (net.free() == 0, net.config.connections_per_torrent);
        let of_one = net.config.connections_per_ip;
        let Some(torrent) = self.torrents.get(&id) else {
            return Some(HangUpReason::UnknownTorrent);
        };
        if torrent.halted {
            return Some(HangUpReason::UnknownTorrent);
        }
        let source = source_of(remote);
        let most = (limit * INCOMING_SHARES / SHARES).max(1);
        let incoming = torrent.peers.values().filter(|peer| peer.abroad.incoming).count();
        let crowded = torrent.peers.len() >= limit || full || incoming >= most;
        // Of its own source's places it may have one, and of others' only when its turn has come.
        let spare = if torrent.places_of(source) >= of_one {
            torrent.own_spare(now, source)
        } else if crowded && waits {
            None
        } else if torrent.peers.len() >= limit || full {
            torrent.spare(now, source, false).or_else(|| self.spare_of_others(now, id, full))
        } else if incoming >= most {
            torrent.spare(now, source, true)
        } else {
            return None;
        };
        let Some(spare) = spare else { return Some(HangUpReason::Crowded) };
        let reason = HangUpReason::Crowded;
        self.with_conn(now, spare, |torrent, shared| torrent.hang_up(shared, now, spare, reason));
        self.conns.remove(&spare);
        None
    }

    /// A connection of another torrent that makes room, where all torrents together are `full`: of the
    /// one that has most of them.
    fn spare_of_others(&self, now: Time, id: TorrentId, full: bool) -> Option<ConnId> {
        let mut others: Vec<&Torrent> =
            self.torrents.values().filter(|torrent| full && torrent.id != id).collect();
        others.sort_by_key(|torrent| (std::cmp::Reverse(torrent.peers.len()), torrent.id));
        others.into_iter().find_map(|torrent| torrent.idle_spare(now))
    }

    /// Connections are looked at again before long.
    pub(super) fn watch_idle(&mut self, now: Time) {
        if self.shared.net.is_some() {
            self.shared.timers.by(Reason::Idle, now + ROUNDS);
        }
    }

    /// Gives signs of life, and hangs up on whoever gives none.
    pub(super) fn keep_alive(&mut self, now: Time) {
        let late = |(conn, (_, since)): (&ConnId, &(Endpoint, Time))| {
            (now.since(*since) >= HANDSHAKE_TIMEOUT).then_some(*conn)
        };
        let late: Vec<ConnId> = self.ungreeted.iter().filter_map(late).collect();
        for conn in late {
            self.forgets_stranger(now, conn);
            self.shared.out.push_back(Output::HangUp { conn, reason: HangUpReason::Dead });
        }
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            self.with(now, id, |torrent, shared| torrent.keep_alive(shared, now));
        }
        self.forget_closed();
        if !self.ungreeted.is_empty() || !self.conns.is_empty() {
            self.watch_idle(now);
        }
    }

    pub(super) fn is_greeted(&self, conn: ConnId) -> bool {
        let torrent = self.conns.get(&conn).and_then(|id| self.torrents.get(id));
        torrent.and_then(|torrent| torrent.peers.get(&conn)).is_some_and(|peer| peer.handshaken)
    }

    /// Hangs up where neither side wants anything of the other, now that it is known.
    pub(super) fn drop_if_useless(&mut self, now: Time, conn: ConnId) {
        if self.shared.net.is_none() {
            return;
        }
        let dropped = self.with_conn(now, conn, |torrent, shared| {
            let useless = torrent.is_useless(conn);
            if useless {
                torrent.hang_up(shared, now, conn, HangUpReason::Useless);
            }
            useless
        });
        if dropped == Some(true) {
            self.conns.remove(&conn);
        }
    }
}
