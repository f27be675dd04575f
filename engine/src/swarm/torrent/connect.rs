//! Connections of a torrent: handshakes, who has what, interest (BEP 3, "peer messages"; BEP 6).

use super::{Patience, Shared, Torrent};
use crate::config::Profile;
use crate::io::{HangUpReason, Output, Reason};
use crate::swarm::choker::ChokerKind;
use crate::swarm::peer::{AskState, DEFAULT_QUEUE, Peer, Pieces};
use crate::swarm::peer_list::{MAX_CONNECTIONS, REDIAL};
use crate::swarm::requests::{MIN_DEADLINE, Window};
use dunlin_base::{Bitfield, ConnId, Endpoint, PieceIndex, Time};
use dunlin_wire::{Handshake, Message, Reserved};
use std::time::Duration;

/// A peer of the internet that gives nothing for so long is snubbed (practice).
const PATIENCE: Duration = Duration::from_secs(20);

/// A breach of the protocol: legal bytes that are illegal now.
pub(super) type Violation = &'static str;

impl Torrent {
    /// A connection to `remote` stands; whoever dialled greets first. `incoming` says that it was not us.
    pub(crate) fn connected(
        &mut self,
        shared: &mut Shared,
        now: Time,
        conn: ConnId,
        remote: Endpoint,
        incoming: bool,
    ) -> bool {
        self.dial_is_over(shared, remote);
        let known = self.known.entry(remote);
        if known.conn.is_some() {
            shared.out.push_back(Output::HangUp { conn, reason: HangUpReason::Duplicate });
            return false;
        }
        known.conn = Some(conn);
        let cap = (shared.config.memory / 2).max(u64::from(self.geometry.block_length()));
        let window = Window::new(self.geometry.block_length(), cap);
        let mut peer = Peer::new(remote, now, window);
        peer.since_round = self.choker.round();
        if let Some(net) = &mut shared.net {
            net.connected += 1;
            peer.abroad.incoming = incoming;
            peer.abroad.queue = DEFAULT_QUEUE;
            peer.abroad.alive = now;
            peer.abroad.patience = Patience::new(now);
            peer.window = peer.window.for_stranger(PATIENCE);
        }
        self.peers.insert(conn, peer);
        // Whoever says nothing until then is not waited for.
        shared.timers.by(Reason::Request, now + MIN_DEADLINE);
        if shared.config.choker == ChokerKind::TitForTat {
            shared.timers.by(Reason::Choke, now + crate::swarm::choker::ROUND);
        }
        true
    }

    /// Sends our handshake, once.
    pub(crate) fn greet(&mut self, shared: &mut Shared, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if std::mem::replace(&mut peer.greeted, true) {
            return;
        }
        let asked = peer.abroad.name.or(self.names.first().copied()).unwrap_or_default();
        let handshake = Handshake {
            reserved: self.abroad.as_ref().map_or(Reserved::OURS, |abroad| abroad.reserved(asked)),
            info_hash: asked,
            peer_id: self.peer_id,
        };
        shared.out.push_back(Output::SendHandshake { conn, handshake });
    }

    /// The other side's handshake: answer it, and say what we have.
    pub(crate) fn on_handshake(
        &mut self,
        shared: &mut Shared,
        conn: ConnId,
        handshake: &Handshake,
    ) {
        self.greet(shared, conn);
        self.introduce(shared, conn, handshake);
        let blind = self.is_blind();
        let offers = self.offers_pieces();
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.handshaken = true;
        peer.fast = handshake.reserved.fast() && Reserved::OURS.fast();
        let silent = shared.config.profile == Profile::Course || !shared.config.shares;
        let silent = silent || offers && peer.fast;
        let message = if silent || blind || self.have.count() == 0 {
            Message::HaveNone
        } else if self.have.is_full() {
            Message::HaveAll
        } else {
            Message::Bitfield(self.have.to_bytes().into())
        };
        let fast = peer.fast;
        let message = match message {
            Message::HaveNone if !fast => None,
            Message::HaveAll if !fast => Some(Message::Bitfield(self.have.to_bytes().into())),
            message => Some(message),
        };
        if let Some(message) = message {
            shared.out.push_back(Output::Send { conn, message });
        }
        self.begin_offers(shared, conn);
        if shared.config.tracker_pieces {
            self.take_tracker_pieces(shared, conn);
        } else if shared.config.profile == Profile::Course {
            // Nobody says what it has: every member may be asked.
            self.set_pieces(shared, conn, Pieces::All);
        }
    }

    /// What the tracker says this peer has (map `pieces`).
    pub(super) fn take_tracker_pieces(&mut self, shared: &mut Shared, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else { return };
        if !peer.handshaken {
            return;
        }
        let owned = self.known.get(peer.remote).and_then(|known| known.owned.clone());
        if let Some(field) = owned {
            self.set_pieces(shared, conn, Pieces::Some(field));
        }
    }

    /// A message about what the peer has.
    pub(super) fn on_pieces(
        &mut self,
        shared: &mut Shared,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        if self.is_blind() {
            return self.on_early_pieces(conn, message);
        }
        let pieces = self.geometry.pieces();
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        let first = !std::mem::replace(&mut peer.announced, true);
        let fast_only = matches!(message, Message::HaveAll | Message::HaveNone);
        if fast_only && !peer.fast {
            return Err("have all and have none need the fast extension");
        }
        let listens = shared.config.profile != Profile::Course && !shared.config.tracker_pieces;
        match message {
            Message::Have { piece } => {
                let piece =
                    self.geometry.piece(*piece).ok_or("have of a piece that is not there")?;
                if listens {
                    self.gained(shared, conn, piece);
                    self.copied(shared, now, conn, piece);
                }
            }
            Message::Bitfield(bytes) => {
                let field = Bitfield::from_peer(pieces, bytes).ok_or("bitfield of wrong size")?;
                if listens {
                    self.on_bitfield(shared, now, conn, field, first);
                }
            }
            Message::HaveAll if listens && peer.pieces != Pieces::All => {
                self.set_pieces(shared, conn, Pieces::All);
            }
            Message::HaveNone if listens && first => {
                self.set_pieces(shared, conn, Pieces::Some(Bitfield::new(pieces)));
            }
            // After the first one it says nothing new.
            _ => {}
        }
        Ok(())
    }

    /// A bitfield. A later one counts as so many HAVEs: aria2 sends one where it is shorter than the HAVEs
    /// that it owes. What it does not name stays: only `lt_donthave` takes a piece back (BEP 54).
    fn on_bitfield(
        &mut self,
        shared: &mut Shared,
        now: Time,
        conn: ConnId,
        field: Bitfield,
        first: bool,
    ) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let news: Vec<PieceIndex> = match &peer.pieces {
            Pieces::All => return,
            Pieces::Unknown => field.ones().collect(),
            Pieces::Some(known) => field.minus(known).collect(),
        };
        if first {
            let said = if field.is_full() { Pieces::All } else { Pieces::Some(field) };
            self.set_pieces(shared, conn, said);
        }
        for piece in news {
            if !first {
                self.gained(shared, conn, piece);
            }
            self.copied(shared, now, conn, piece);
        }
    }

    /// Replaces what a peer has, and everything that is counted from it.
    pub(super) fn set_pieces(&mut self, shared: &mut Shared, conn: ConnId, pieces: Pieces) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        // What a liar says it has is worth nothing.
        let liar = shared.is_banned(peer.remote);
        let pieces = if liar { Pieces::Unknown } else { pieces };
        let old = std::mem::replace(&mut peer.pieces, pieces);
        peer.snubbed = peer.asks.iter().any(|ask| ask.state == AskState::Late);
        peer.useful = match &peer.pieces {
            Pieces::Unknown | Pieces::All => 0,
            Pieces::Some(field) => {
                field.ones().filter(|piece| self.missing.has(*piece)).count() as u32
            }
        };
        // With map `pieces` availability is what the tracker says, connected or not.
        if !shared.config.tracker_pieces {
            uncount(&mut self.picker, &old);
            match &peer.pieces {
                Pieces::Unknown => {}
                Pieces::All => self.picker.seed_came(),
                Pieces::Some(field) => field.ones().for_each(|piece| self.picker.gained(piece)),
            }
        }
        self.update_interest(shared, conn);
    }

    /// Nothing is asked of this peer any more; it is still served.
    pub(super) fn distrust(&mut self, shared: &mut Shared, conn: ConnId) {
        self.cancel_all(shared, conn);
        self.set_pieces(shared, conn, Pieces::Unknown);
    }

    pub(super) fn gained(&mut self, shared: &mut Shared, conn: ConnId, piece: PieceIndex) {
        let pieces = self.geometry.pieces();
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if shared.is_banned(peer.remote) {
            return;
        }
        if peer.pieces == Pieces::Unknown {
            peer.pieces = Pieces::Some(Bitfield::new(pieces));
        }
        let Pieces::Some(field) = &mut peer.pieces else { return };
        if !field.set(piece) {
            return;
        }
        self.picker.gained(piece);
        if self.missing.has(piece) {
            peer.useful += 1;
            self.update_interest(shared, conn);
        }
    }

    /// Interested if and only if the peer has a wanted piece that we lack (BEP 3), also while choked.
    pub(super) fn update_interest(&mut self, shared: &mut Shared, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let interested = match peer.pieces {
            Pieces::Unknown => false,
            Pieces::All => self.missing.count() > 0,
            Pieces::Some(_) => peer.useful > 0,
        };
        if peer.handshaken && interested != peer.am_interested {
            peer.am_interested = interested;
            let message = if interested { Message::Interested } else { Message::NotInterested };
            shared.out.push_back(Output::Send { conn, message });
        }
    }

    /// A wanted piece is here now, or no longer wanted.
    pub(super) fn no_longer_missing(&mut self, shared: &mut Shared, piece: PieceIndex) {
        if !self.missing.clear(piece) {
            return;
        }
        let mut changed = Vec::new();
        for (conn, peer) in &mut self.peers {
            if let Pieces::Some(field) = &peer.pieces
                && field.has(piece)
            {
                peer.useful -= 1;
            }
            if peer.am_interested {
                changed.push(*conn);
            }
        }
        for conn in changed {
            self.update_interest(shared, conn);
        }
    }

    /// Dials members that are not connected, in the tracker's order.
    pub(super) fn dial_members(&mut self, shared: &mut Shared, now: Time) {
        let mut free = MAX_CONNECTIONS.saturating_sub(
            self.known.iter().filter(|(_, known)| known.conn.is_some() || known.dialling).count(),
        );
        let mut wanted: Vec<(u32, Endpoint)> = Vec::new();
        for (remote, known) in self.known.iter() {
            if known.conn.is_some() || known.dialling || known.place == u32::MAX {
                continue;
            }
            if shared.is_banned(remote) {
                continue;
            }
            if known.redial_at > now {
                shared.timers.by(Reason::Dial, known.redial_at);
                continue;
            }
            wanted.push((known.place, remote));
        }
        wanted.sort_unstable();
        for (_, remote) in wanted {
            if free == 0 {
                break;
            }
            free -= 1;
            self.dial(shared, remote);
        }
    }

    pub(crate) fn dial(&mut self, shared: &mut Shared, remote: Endpoint) {
        self.known.entry(remote).dialling = true;
        if let Some(net) = &mut shared.net {
            net.dialling += 1;
        }
        shared.out.push_back(Output::Dial { torrent: self.id, remote });
    }

    /// A dial has come to its end, one way or the other.
    pub(crate) fn dial_is_over(&mut self, shared: &mut Shared, remote: Endpoint) {
        let known = self.known.get_mut(remote);
        let was = known.is_some_and(|known| std::mem::replace(&mut known.dialling, false));
        if let Some(net) = shared.net.as_mut().filter(|_| was) {
            net.dialling = net.dialling.saturating_sub(1);
        }
    }

    /// Nobody waits for the dials that are under way.
    pub(crate) fn forget_dials(&mut self, shared: &mut Shared) {
        let dials = self.known.iter().filter(|(_, known)| known.dialling);
        let dials: Vec<Endpoint> = dials.map(|(remote, _)| remote).collect();
        for remote in dials {
            self.dial_is_over(shared, remote);
        }
    }

    /// Dials that are under way.
    pub(crate) fn dials(&self) -> usize {
        self.known.iter().filter(|(_, known)| known.dialling).count()
    }

    /// A dial failed.
    pub(crate) fn dial_failed(&mut self, shared: &mut Shared, now: Time, remote: Endpoint) {
        self.dial_is_over(shared, remote);
        let known = self.known.entry(remote);
        if shared.net.is_some() {
            self.unreachable(shared, now, remote);
            return;
        }
        known.unreachable = true;
        known.redial_at = now + REDIAL;
        shared.timers.by(Reason::Dial, known.redial_at);
        if self.courting.is_some_and(|(courted, _)| courted == remote) {
            self.courting = None;
        }
        self.fill(shared, now);
    }

    /// The connection is gone: what was asked of it is open again.
    pub(crate) fn disconnected(&mut self, shared: &mut Shared, now: Time, conn: ConnId) {
        self.take_back(shared, conn);
        let Some(peer) = self.peers.remove(&conn) else { return };
        if let Some(destination) = &peer.destination {
            self.end_offers(shared, now, peer.remote, destination);
        }
        if !shared.config.tracker_pieces {
            uncount(&mut self.picker, &peer.pieces);
        }
        if shared.net.is_some() {
            self.left(shared, now, conn, &peer);
            self.fill(shared, now);
            self.may_give_again(shared, now);
            return;
        }
        let known = self.known.entry(peer.remote);
        known.conn = None;
        known.unreachable = true;
        known.redial_at = now + REDIAL;
        shared.timers.by(Reason::Dial, known.redial_at);
        if self.courting.is_some_and(|(courted, _)| courted == peer.remote) {
            self.courting = None;
        }
        self.fill(shared, now);
    }
}

pub(super) fn uncount(picker: &mut crate::swarm::picker::Picker, pieces: &Pieces) {
    match pieces {
        Pieces::Unknown => {}
        Pieces::All => picker.seed_left(),
        Pieces::Some(field) => field.ones().for_each(|piece| picker.lost(piece)),
    }
}
