//! Connections of a client: from the handshake to the end. The core keeps requests and payload;
//! here is who is who, who is of no use, and who gives no sign of life.

use super::Client;
use super::candidates::Ended;
use super::internet_peer::{Early, InternetPeer};
use super::internet_torrent::{has_all, is_useless};
use crate::swarm::address::{canonical, ip_of};
use crate::swarm::io::{HangUpReason, SwarmOutput};
use crate::swarm::peer::Peer;
use crate::swarm::torrent::{Violation, spend};
use crate::wake::Reason;
use dunlin_base::{BlockRef, ConnId, Endpoint, Time, TorrentId};
use dunlin_metainfo::MAX_PIECES;
use dunlin_wire::{Handshake, Message};
use std::net::SocketAddr;
use std::time::Duration;

/// A connection that stood so long was worth its dial.
const WORTH: Duration = Duration::from_secs(30);
/// A connection that sends no handshake by then is closed (our own choice; the field has 10 to
/// 30 s).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);
/// A keep-alive is sent so often (BEP 3 wants two minutes), whatever else was sent: four bytes cost
/// less than keeping book.
const KEEP_ALIVE: Duration = Duration::from_secs(90);
/// A peer that sends nothing for so long is gone (practice: two minutes, and a little patience).
const SILENCE: Duration = Duration::from_secs(180);
/// How often connections are looked at for signs of life.
const ROUNDS: Duration = Duration::from_secs(5);

impl Client {
    /// A dial came through.
    pub(super) fn connected(&mut self, now: Time, id: TorrentId, conn: ConnId, remote: Endpoint) {
        if self.session.connected(now, id, conn, remote) {
            self.peers.insert(conn, InternetPeer::new(now));
            self.watch_idle(now);
        }
    }

    /// A dial failed.
    pub(super) fn dial_failed(&mut self, now: Time, id: TorrentId, remote: Endpoint) {
        let Some(entry) = self.torrents.get_mut(&id) else { return };
        self.session.with(now, id, |torrent, context| {
            torrent.dial_failed(context, remote);
            entry.internet.candidates.dial_failed(&mut torrent.connections.known, now, remote);
            context.dials_possible = true;
        });
    }

    /// A peer connected to us.
    pub(super) fn incoming(&mut self, now: Time, conn: ConnId, remote: Endpoint) {
        self.session.expire_bans(now);
        if !self.session.shuts_out(remote) && !self.makes_room(now, remote) {
            let reason = HangUpReason::Crowded;
            self.session.push(SwarmOutput::HangUp { conn, reason });
            return;
        }
        if self.session.incoming(now, conn, remote) {
            self.watch_idle(now);
        }
    }

    /// A handshake: of a dial of ours, or of a connection that states with it what it is for.
    pub(super) fn handshake(&mut self, now: Time, conn: ConnId, handshake: &Handshake) {
        if let Some((remote, _)) = self.session.pending().get(&conn).copied() {
            let Some(id) = self.session.find(&handshake.info_hash) else {
                self.internet.knocks(now, remote);
                self.session.reject_pending(conn, HangUpReason::UnknownTorrent);
                return;
            };
            // It may have been banned, by another connection of its, after this one was made.
            let banned = self.session.shuts_out(remote).then_some(HangUpReason::Banned);
            if let Some(reason) = banned.or_else(|| self.refuses(now, id, remote)) {
                self.session.reject_pending(conn, reason);
                return;
            }
            if !self.session.accept(now, conn, id, handshake.info_hash) {
                return;
            }
            self.peers.insert(conn, InternetPeer::new(now));
        }
        match self.session.check_handshake(conn, handshake) {
            Err(what) => self.breached(now, conn, what),
            Ok(()) => match self.recognise(now, conn, handshake) {
                Ok(()) => {
                    self.introduce(conn, handshake);
                    self.session.with_conn(now, conn, |torrent, context| {
                        torrent.on_handshake(context, conn, handshake);
                    });
                }
                Err(reason) => self.session.hang_up(now, conn, reason),
            },
        }
        self.session.forget_closed();
    }

    /// Looks at who has sent its handshake: ourselves, or a peer that is connected already.
    fn recognise(
        &mut self,
        now: Time,
        conn: ConnId,
        handshake: &Handshake,
    ) -> Result<(), HangUpReason> {
        let Some(id) = self.session.torrent_of(conn) else { return Ok(()) };
        let (Some(entry), peers) = (self.torrents.get_mut(&id), &self.peers) else { return Ok(()) };
        let candidates = &mut entry.internet.candidates;
        let result = self.session.with(now, id, |torrent, context| {
            let Some(peer) = torrent.connections.peers.get(&conn) else { return Ok(()) };
            let (remote, incoming) = (peer.remote, peer.incoming);
            if handshake.peer_id == torrent.peer_id {
                if incoming {
                    // Our own dial learns from the answer whom it has reached.
                    torrent.greet(&mut context.out, conn);
                } else {
                    candidates.set_ourselves(remote);
                }
                return Err(HangUpReason::Ourselves);
            }
            // Anybody may send any id: two connections are of one peer if they lead to one address,
            // too. Otherwise a peer that copies an id could have its owner hung up on.
            let twin = torrent.connections.peers.iter().find(|(other, peer)| {
                let same = peers.get(other).and_then(|known| known.peer_id);
                let same = same == Some(handshake.peer_id);
                **other != conn
                    && peer.is_established()
                    && same
                    && ip_of(peer.remote) == ip_of(remote)
            });
            let Some((twin, other)) = twin.map(|(twin, peer)| (*twin, peer)) else { return Ok(()) };
            // The greater id keeps the connection that it made; of two alike the older one stays.
            let ours_stays = torrent.peer_id > handshake.peer_id;
            let new_stays = incoming != other.incoming && incoming != ours_stays;
            let (stays, goes) = if new_stays { (conn, twin) } else { (twin, conn) };
            let address = torrent.connections.peers.get(&goes).filter(|peer| !peer.incoming);
            if let Some(remote) = address.map(|peer| peer.remote) {
                candidates.set_twin(remote, stays);
            }
            if new_stays {
                torrent.hang_up(context, now, goes, HangUpReason::SamePeer);
                return Ok(());
            }
            Err(HangUpReason::SamePeer)
        });
        result.unwrap_or(Ok(()))
    }

    /// A message.
    pub(super) fn message(&mut self, now: Time, conn: ConnId, message: &Message) {
        let reason = HangUpReason::Violation("a message before the handshake");
        if let Some(remote) = self.session.reject_pending(conn, reason) {
            self.internet.knocks(now, remote);
            return;
        }
        let mut agreed = None;
        match self.try_message(now, conn, message) {
            Ok(event) => agreed = event,
            Err(what) => self.breached(now, conn, what),
        }
        self.drop_if_useless(now, conn);
        if let Some(event) = agreed {
            self.on_extension_event(now, conn, event);
        }
    }

    fn try_message(
        &mut self,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<Option<super::extension::ExtensionEvent>, Violation> {
        let Some(id) = self.session.torrent_of(conn) else { return Ok(None) };
        self.is_heard(now, conn);
        match message {
            Message::Extended { .. }
            | Message::HashRequest(_)
            | Message::Hashes { .. }
            | Message::HashReject(_) => {
                self.session
                    .with(now, id, |torrent, _| {
                        torrent.connections.may_send(torrent.geometry.pieces(), now, conn, message)
                    })
                    .unwrap_or(Ok(()))?;
                self.on_extension(now, id, conn, message)
            }
            Message::Have { .. } | Message::Bitfield(_) | Message::HaveAll | Message::HaveNone
                if self
                    .session
                    .torrent(id)
                    .is_some_and(|torrent| torrent.lifecycle.awaits_metadata()) =>
            {
                self.on_early_pieces(now, id, conn, message).map(|()| None)
            }
            _ => self.session.try_message(now, conn, message).map(|()| None),
        }
    }

    /// What a peer has, announced before we know how many pieces there are.
    fn on_early_pieces(
        &mut self,
        now: Time,
        id: TorrentId,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let Some(known) = self.peers.get_mut(&conn) else { return Ok(()) };
        let result = self.session.with(now, id, |torrent, _| {
            let Some(peer) = torrent.connections.peers.get_mut(&conn) else { return Ok(()) };
            if !peer.is_established() {
                return Err("a message before the handshake");
            }
            let idle = match message {
                Message::Have { .. } => known.has_many_early(),
                _ => known.announced,
            };
            if idle {
                spend(peer, now, 1)?;
            }
            if matches!(message, Message::HaveAll | Message::HaveNone) && !peer.is_fast() {
                return Err("have all and have none need the fast extension");
            }
            Ok(())
        });
        known.announced = true;
        result.unwrap_or(Ok(()))?;
        match message {
            Message::Have { piece } => known.has_early(*piece),
            Message::HaveAll => known.early = Early::All,
            Message::Bitfield(bits) => {
                let fits = bits.len() <= MAX_PIECES.div_ceil(8) as usize;
                if !fits || !known.early.has_bits(bits) {
                    return Err("bitfield of wrong size");
                }
            }
            // It is no news, unless it is the first.
            Message::HaveNone if known.early == Early::Silent => known.early = Early::None,
            _ => {}
        }
        Ok(())
    }

    /// The metadata is here: what peers announced of their pieces counts from now on.
    pub(super) fn replay_early(&mut self, now: Time, id: TorrentId) {
        let Some(torrent) = self.session.torrent(id) else { return };
        let conns: Vec<ConnId> = torrent.connections.peers.keys().copied().collect();
        for conn in conns {
            self.send_extension_handshake(id, conn);
            let Some(known) = self.peers.get_mut(&conn) else { continue };
            let early = std::mem::take(&mut known.early);
            let haves = std::mem::take(&mut known.early_haves);
            let first = match early {
                Early::Silent => None,
                Early::All => Some(Message::HaveAll),
                Early::None => Some(Message::HaveNone),
                Early::Bits(bits) => Some(Message::Bitfield(bits)),
            };
            let haves = haves.into_iter().map(|piece| Message::Have { piece });
            self.session.with(now, id, |torrent, context| {
                torrent.connections.send_haves(&mut context.out, conn, &torrent.have);
                let mut all = first.into_iter().chain(haves);
                let result =
                    all.try_for_each(|message| torrent.on_pieces(context, now, conn, &message));
                if let Err(what) = result {
                    torrent.hang_up(context, now, conn, HangUpReason::Violation(what));
                }
            });
        }
        self.session.with(now, id, |torrent, context| torrent.fill(context, now));
        self.session.forget_closed();
    }

    /// Payload is parked.
    pub(super) fn block(&mut self, now: Time, conn: ConnId, block: BlockRef) {
        self.is_heard(now, conn);
        if let Err(what) = self.session.block(now, conn, block) {
            self.breached(now, conn, what);
        }
    }

    fn is_heard(&mut self, now: Time, conn: ConnId) {
        if let Some(known) = self.peers.get_mut(&conn) {
            known.heard = now;
        }
    }

    /// The bytes of a connection make no sense.
    pub(super) fn malformed(&mut self, now: Time, conn: ConnId) {
        let reason = HangUpReason::Violation("no handshake");
        if let Some(remote) = self.session.reject_pending(conn, reason) {
            self.internet.knocks(now, remote);
        } else if self.peer(conn).is_some_and(|peer| peer.is_established()) {
            self.breached(now, conn, "malformed bytes");
        } else {
            // Something else than BitTorrent answers there: no breach of a protocol that it never
            // spoke.
            self.session.hang_up(now, conn, reason);
        }
    }

    /// A connection is gone.
    pub(super) fn disconnected(&mut self, now: Time, conn: ConnId) {
        if let Some(remote) = self.session.forget_pending(conn) {
            self.internet.knocks(now, remote);
        }
        self.session.disconnected(now, conn);
    }

    /// The peer of a connection.
    pub(super) fn peer(&self, conn: ConnId) -> Option<&Peer> {
        let id = self.session.torrent_of(conn)?;
        self.session.torrent(id)?.connections.peers.get(&conn)
    }

    /// A breach of the protocol ends the connection; a source that does it often is banned.
    pub(super) fn breached(&mut self, now: Time, conn: ConnId, what: Violation) {
        let remote = self.peer(conn).map(|peer| peer.remote);
        if let Some(remote) = remote
            && self.internet.breached(now, remote)
        {
            self.session.mark_banned(remote);
        }
        self.session.violated(now, conn, what);
    }

    /// A peer has sent something that is wrong and harms nobody; sent too often, it ends the
    /// connection.
    pub(super) fn tolerate(&mut self, now: Time, id: TorrentId, conn: ConnId, what: &'static str) {
        let over = self.session.with(now, id, |torrent, _| {
            torrent.connections.peers.get_mut(&conn).and_then(|peer| peer.tolerate(what).err())
        });
        if let Some(what) = over.flatten() {
            self.session.violated(now, conn, what);
        }
    }

    /// A peer sent wrong data that is no payload: it is banned.
    pub(super) fn ban(&mut self, now: Time, id: TorrentId, conn: ConnId) {
        self.session.with(now, id, |torrent, context| {
            if let Some(peer) = torrent.connections.peers.get(&conn) {
                context.ban(peer.remote);
            }
        });
    }

    /// A connection is gone, with what the core kept of its peer.
    pub(super) fn peer_gone(&mut self, now: Time, id: TorrentId, conn: ConnId, peer: &Peer) {
        let known = self.peers.remove(&conn);
        self.internet.dials_possible = true;
        if peer.incoming {
            self.internet.goes(now, peer.remote);
        }
        if let (Some(entry), Some(known)) = (self.torrents.get_mut(&id), known) {
            entry.internet.transfers.add(peer, &known);
            let candidates = &mut entry.internet.candidates;
            self.session.with(now, id, |torrent, _| {
                let mut remote = peer.remote;
                if peer.incoming {
                    // Nobody listens at the port that it came from.
                    candidates.remove(&mut torrent.connections.known, remote);
                    let Endpoint::Socket(address) = remote else { return };
                    let Some(port) = known.port else { return };
                    remote = Endpoint::Socket(canonical(SocketAddr::new(address.ip(), port)));
                }
                let worth = peer.is_established() && now.since(peer.since) >= WORTH;
                let seed =
                    has_all(peer) && !torrent.lifecycle.awaits_metadata() || known.upload_only;
                let ended = Ended { incoming: peer.incoming, worth, seed };
                candidates.ended(&mut torrent.connections.known, now, remote, ended);
            });
        }
        self.no_longer_asked(now, id, conn);
    }

    /// Closes connections that are of no use now.
    pub(super) fn drop_useless(&mut self, now: Time, id: TorrentId) {
        let peers = &self.peers;
        self.session.with(now, id, |torrent, context| {
            let useless: Vec<ConnId> = torrent
                .connections
                .peers
                .keys()
                .copied()
                .filter(|conn| is_useless(torrent, peers, *conn))
                .collect();
            for conn in useless {
                torrent.hang_up(context, now, conn, HangUpReason::Useless);
            }
        });
        self.session.forget_closed();
    }

    /// Hangs up where neither side wants anything of the other, now that it is known.
    fn drop_if_useless(&mut self, now: Time, conn: ConnId) {
        let torrent = self.session.torrent_of(conn).and_then(|id| self.session.torrent(id));
        if torrent.is_some_and(|torrent| is_useless(torrent, &self.peers, conn)) {
            self.session.hang_up(now, conn, HangUpReason::Useless);
        }
    }

    /// Connections are looked at again before long.
    fn watch_idle(&mut self, now: Time) {
        self.session.timers().by(Reason::Idle, now + ROUNDS);
    }

    /// Sends keep-alives, and hangs up on peers that send nothing.
    pub(super) fn keep_alive(&mut self, now: Time) {
        let late: Vec<ConnId> = self
            .session
            .pending()
            .iter()
            .filter(|(_, (_, since))| now.since(*since) >= HANDSHAKE_TIMEOUT)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in late {
            if let Some(remote) = self.session.reject_pending(conn, HangUpReason::Dead) {
                self.internet.knocks(now, remote);
            }
        }
        let ids: Vec<TorrentId> = self.session.torrents().map(|torrent| torrent.id).collect();
        for id in ids {
            let peers = &mut self.peers;
            self.session.with(now, id, |torrent, context| {
                let mut dead = Vec::new();
                for (conn, peer) in &torrent.connections.peers {
                    let Some(known) = peers.get_mut(conn) else { continue };
                    let late = !peer.is_established() && now.since(peer.since) >= HANDSHAKE_TIMEOUT;
                    if late || now.since(known.heard) >= SILENCE {
                        dead.push(*conn);
                    } else if peer.is_established() && now.since(known.alive) >= KEEP_ALIVE {
                        known.alive = now;
                        context.send(*conn, Message::KeepAlive);
                    }
                }
                for conn in dead {
                    torrent.hang_up(context, now, conn, HangUpReason::Dead);
                }
            });
        }
        self.session.forget_closed();
        if self.session.has_connections() {
            self.watch_idle(now);
        }
    }
}
