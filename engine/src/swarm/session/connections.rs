//! Connections of a session, from the first packet to the end: who may send its handshake, for
//! which torrent it is, and what a breach of the protocol leads to.

use super::Session;
use crate::swarm::context::SessionContext;
use crate::swarm::io::{HangUpReason, SwarmOutput};
use crate::swarm::torrent::{Torrent, Violation};
use dunlin_base::{BlockRef, ConnId, Endpoint, InfoHash, Time, TorrentId};
use dunlin_wire::{Handshake, Message};
use std::collections::BTreeMap;

/// Incoming connections that wait for their handshake. A driver may allow fewer.
const MAX_PENDING: usize = 1000;

impl Session {
    /// Ends the bans whose time has come.
    pub(crate) fn expire_bans(&mut self, now: Time) {
        self.context.banned.expire(now);
    }

    /// A dial came through. Returns whether the connection stays.
    pub(crate) fn connected(
        &mut self,
        now: Time,
        id: TorrentId,
        conn: ConnId,
        remote: Endpoint,
    ) -> bool {
        let torrent = self.torrents.get_mut(&id);
        let halted = torrent.as_ref().is_some_and(|torrent| torrent.lifecycle.is_halted());
        if let Some(torrent) = torrent {
            torrent.connections.dial_is_over(&mut self.context.dialling, remote);
        }
        let banned = self.shuts_out(remote).then_some(HangUpReason::Banned);
        if let Some(reason) = banned.or(halted.then_some(HangUpReason::Stopping)) {
            self.context.out.push_back(SwarmOutput::HangUp { conn, reason });
            return false;
        }
        let stays = self.with(now, id, |torrent, context| {
            let stays = torrent.connected(context, now, conn, remote, false);
            if stays {
                torrent.greet(&mut context.out, conn);
            }
            stays
        });
        match stays {
            Some(true) => _ = self.conns.insert(conn, id),
            Some(false) => {}
            None => {
                let reason = HangUpReason::UnknownTorrent;
                self.context.out.push_back(SwarmOutput::HangUp { conn, reason });
            }
        }
        stays == Some(true)
    }

    /// A peer connected to us. Returns whether it may send its handshake.
    pub(crate) fn incoming(&mut self, now: Time, conn: ConnId, remote: Endpoint) -> bool {
        self.expire_bans(now);
        let reason = if self.shuts_out(remote) {
            HangUpReason::Banned
        } else if self.pending.len() >= MAX_PENDING {
            HangUpReason::Crowded
        } else {
            self.pending.insert(conn, (remote, now));
            return true;
        };
        self.context.out.push_back(SwarmOutput::HangUp { conn, reason });
        false
    }

    /// Connections that wait for their handshake: where they lead, and since when they wait.
    pub(crate) fn pending(&self) -> &BTreeMap<ConnId, (Endpoint, Time)> {
        &self.pending
    }

    /// Hangs up on a connection that waits for its handshake; returns where it led, if it did.
    pub(crate) fn reject_pending(
        &mut self,
        conn: ConnId,
        reason: HangUpReason,
    ) -> Option<Endpoint> {
        let (remote, _) = self.pending.remove(&conn)?;
        self.context.out.push_back(SwarmOutput::HangUp { conn, reason });
        Some(remote)
    }

    /// A connection is no longer awaited, because it is gone; returns where it led, if it was.
    pub(crate) fn forget_pending(&mut self, conn: ConnId) -> Option<Endpoint> {
        self.pending.remove(&conn).map(|(remote, _)| remote)
    }

    /// The torrent that a waiting connection is for is known. Returns whether the connection stays.
    pub(crate) fn accept(
        &mut self,
        now: Time,
        conn: ConnId,
        id: TorrentId,
        info_hash: InfoHash,
    ) -> bool {
        let Some(remote) = self.forget_pending(conn) else { return false };
        let stays = self.with(now, id, |torrent, context| {
            let stays = torrent.connected(context, now, conn, remote, true);
            let name = torrent.names.iter().position(|name| name.info_hash == info_hash);
            if let (Some(peer), Some(name)) = (torrent.connections.peers.get_mut(&conn), name) {
                peer.name = name as u8;
            }
            stays
        });
        if stays != Some(true) {
            return false;
        }
        self.conns.insert(conn, id);
        true
    }

    /// A handshake: of a dial of ours, or of a connection that states with it what it is for.
    pub(crate) fn handshake(&mut self, now: Time, conn: ConnId, handshake: &Handshake) {
        if let Some((remote, _)) = self.pending.get(&conn).copied() {
            let Some(id) = self.find(&handshake.info_hash) else {
                self.reject_pending(conn, HangUpReason::UnknownTorrent);
                return;
            };
            // It may have been banned, by another connection of its, after this one was made.
            if self.shuts_out(remote) {
                self.reject_pending(conn, HangUpReason::Banned);
                return;
            }
            if !self.accept(now, conn, id, handshake.info_hash) {
                return;
            }
        }
        match self.check_handshake(conn, handshake) {
            Ok(()) => {
                self.with_conn(now, conn, |torrent, context| {
                    torrent.on_handshake(context, conn, handshake);
                });
            }
            Err(what) => self.violated(now, conn, what),
        }
        self.forget_closed();
    }

    /// Whether a handshake may come now, and for this torrent.
    pub(crate) fn check_handshake(
        &self,
        conn: ConnId,
        handshake: &Handshake,
    ) -> Result<(), Violation> {
        let torrent = self.conns.get(&conn).and_then(|id| self.torrents.get(id));
        let Some(torrent) = torrent else { return Ok(()) };
        if torrent.names.iter().all(|name| name.info_hash != handshake.info_hash) {
            return Err("handshake of another torrent");
        }
        if torrent.connections.peers.get(&conn).is_some_and(|peer| peer.is_established()) {
            return Err("a second handshake");
        }
        Ok(())
    }

    /// A message.
    pub(crate) fn message(&mut self, now: Time, conn: ConnId, message: &Message) {
        let reason = HangUpReason::Violation("a message before the handshake");
        if self.reject_pending(conn, reason).is_some() {
            return;
        }
        let result = self.try_message(now, conn, message);
        if let Err(what) = result {
            self.violated(now, conn, what);
        }
    }

    /// The same of a connection that does not wait for its handshake: what a breach of the protocol
    /// leads to is the caller's business.
    pub(crate) fn try_message(
        &mut self,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let result = self.with_conn(now, conn, |torrent, context| {
            torrent.connections.may_send(torrent.geometry.pieces(), now, conn, message)?;
            torrent.on_message(context, now, conn, message)
        });
        result.unwrap_or(Ok(()))
    }

    /// Payload is parked.
    pub(crate) fn block(
        &mut self,
        now: Time,
        conn: ConnId,
        block: BlockRef,
    ) -> Result<(), Violation> {
        let result = self.with_conn(now, conn, |torrent, context| {
            torrent.on_block(context, now, conn, block)?;
            torrent.fill_from(context, now, Some(conn));
            Ok(())
        });
        result.unwrap_or_else(|| {
            self.context.out.push_back(SwarmOutput::Drop { conn, block });
            Ok(())
        })
    }

    pub(crate) fn torrent_mut(&mut self, id: TorrentId) -> Option<&mut Torrent> {
        self.torrents.get_mut(&id).map(Box::as_mut)
    }

    /// Sends our handshake, once.
    pub(crate) fn greet(&mut self, conn: ConnId) {
        let torrent = self.conns.get(&conn).and_then(|id| self.torrents.get_mut(id));
        if let Some(torrent) = torrent {
            torrent.greet(&mut self.context.out, conn);
        }
    }

    /// The peer is banned when the next step with a torrent is over.
    pub(crate) fn mark_banned(&mut self, remote: Endpoint) {
        self.context.ban(remote);
    }

    /// Asks the world to connect a torrent to a peer.
    pub(crate) fn dial(&mut self, id: TorrentId, remote: Endpoint) {
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.dial(&mut self.context, remote);
        }
    }

    /// Runs `f` on a torrent that it does not change.
    pub(crate) fn look<R>(
        &mut self,
        id: TorrentId,
        f: impl FnOnce(&Torrent, &mut SessionContext) -> R,
    ) -> Option<R> {
        Some(f(self.torrents.get(&id)?, &mut self.context))
    }

    /// Connections that stand, of all torrents.
    pub(crate) fn standing(&self) -> usize {
        self.context.connected
    }

    /// Whether any connection stands or waits for its handshake.
    pub(crate) fn has_connections(&self) -> bool {
        !self.pending.is_empty() || !self.conns.is_empty()
    }

    /// Hangs up on a peer.
    pub(crate) fn hang_up(&mut self, now: Time, conn: ConnId, reason: HangUpReason) {
        self.with_conn(now, conn, |torrent, context| torrent.hang_up(context, now, conn, reason));
        self.conns.remove(&conn);
    }

    /// A breach of the protocol ends the connection.
    pub(crate) fn violated(&mut self, now: Time, conn: ConnId, what: Violation) {
        self.hang_up(now, conn, HangUpReason::Violation(what));
    }

    /// The bytes of a connection make no sense.
    pub(crate) fn malformed(&mut self, now: Time, conn: ConnId) {
        let reason = HangUpReason::Violation("no handshake");
        if self.reject_pending(conn, reason).is_none() {
            self.violated(now, conn, "malformed bytes");
        }
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, now: Time, conn: ConnId) {
        self.pending.remove(&conn);
        self.with_conn(now, conn, |torrent, context| torrent.disconnected(context, now, conn));
        self.conns.remove(&conn);
    }
}
