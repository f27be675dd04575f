//! Connections of a torrent: handshakes, who has what, interest (BEP 3, "peer messages"; BEP 6).

use super::{SessionContext, SwarmEvent, SwarmName, Torrent};
use crate::io::{HangUpReason, Output, Reason};
use crate::swarm::choker::ChokerKind;
use crate::swarm::config::{Availability, HaveRule};
use crate::swarm::io::{HangUpReason, SwarmOutput};
use crate::swarm::patience::Patience;
use crate::swarm::peer::{AskState, Peer, PeerState, Pieces};
use crate::swarm::requests::{MIN_DEADLINE, Window};
use crate::wake::Reason;
use dunlin_base::{Bitfield, ConnId, Endpoint, PieceIndex, Time};
use dunlin_wire::{Handshake, Message, Reserved};

/// A breach of the protocol: legal bytes that are illegal now.
pub(crate) type Violation = &'static str;

impl Torrent {
    /// A connection to `remote` stands; whoever dialled greets first. `incoming` says that it was not us.
    pub(crate) fn connected(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        remote: Endpoint,
        incoming: bool,
    ) -> bool {
        self.dial_is_over(shared, remote);
        let known = self.known.entry(remote);
        if known.conn.is_some() {
            shared.out.push_back(SwarmOutput::HangUp { conn, reason: HangUpReason::Duplicate });
            return false;
        }
        known.conn = Some(conn);
        let cap = (shared.config.memory / 2).max(u64::from(self.geometry.block_length()));
        let window = Window::new(self.geometry.block_length(), cap);
        let mut peer = Peer::new(remote, now, window);
        peer.slot.since_round = self.choker.round();
        peer.incoming = incoming;
        let rules = &shared.config.peers;
        peer.queue_limit = rules.queue;
        if rules.counts_idle_messages {
            peer.patience = Patience::new(now);
        }
        if let Some(patience) = rules.patience {
            peer.window = peer.window.for_stranger(patience);
        }
        shared.connected += 1;
        self.peers.insert(conn, peer);
        // A connection that announces nothing by then is not waited for.
        shared.timers.by(Reason::Request, now + MIN_DEADLINE);
        if shared.config.choker == ChokerKind::TitForTat {
            shared.timers.by(Reason::Choke, now + crate::swarm::choker::ROUND);
        }
        true
    }

    /// The name that our handshake has on a connection.
    pub(crate) fn name_on(&self, conn: ConnId) -> Option<SwarmName> {
        self.names.get(usize::from(self.peers.get(&conn)?.name)).copied()
    }

    /// Sends our handshake, once.
    pub(crate) fn greet(&mut self, shared: &mut SessionContext, conn: ConnId) {
        let Some(SwarmName { info_hash, reserved }) = self.name_on(conn) else { return };
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        if peer.state != PeerState::Connected {
            return;
        }
        peer.state = PeerState::HandshakeSent;
        let handshake = Handshake { reserved, info_hash, peer_id: self.peer_id };
        shared.out.push_back(SwarmOutput::SendHandshake { conn, handshake });
    }

    /// The other side's handshake: answer it, and say what we have.
    pub(crate) fn on_handshake(
        &mut self,
        shared: &mut SessionContext,
        conn: ConnId,
        handshake: &Handshake,
    ) {
        self.greet(shared, conn);
        let offers = self.offers_pieces();
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let fast = handshake.reserved.fast() && Reserved::OURS.fast();
        peer.state = PeerState::Established { fast, announced: false };
        let silent = shared.config.haves == HaveRule::Never || !shared.config.shares;
        let silent = silent || offers && fast;
        let message = if silent || self.have.count() == 0 {
            Message::HaveNone
        } else if self.have.is_full() {
            Message::HaveAll
        } else {
            Message::Bitfield(self.have.to_bytes().into())
        };
        let message = match message {
            Message::HaveNone if !fast => None,
            Message::HaveAll if !fast => Some(Message::Bitfield(self.have.to_bytes().into())),
            message => Some(message),
        };
        if let Some(message) = message {
            shared.out.push_back(SwarmOutput::Send { conn, message });
        }
        self.begin_offers(shared, conn);
        match shared.config.availability {
            Availability::Announced => {}
            Availability::Reported => self.take_tracker_pieces(shared, conn),
            Availability::Assumed => self.set_pieces(shared, conn, Pieces::All),
        }
    }

    /// What the tracker says this peer has (map `pieces`).
    pub(super) fn take_tracker_pieces(&mut self, shared: &mut SessionContext, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else { return };
        if !peer.is_established() {
            return;
        }
        let owned = self.known.get(peer.remote).and_then(|known| known.owned.clone());
        if let Some(field) = owned {
            self.set_pieces(shared, conn, Pieces::Some(field));
        }
    }

    /// A message about what the peer has.
    pub(crate) fn on_pieces(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let pieces = self.geometry.pieces();
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        let first = !peer.set_announced(true);
        let fast_only = matches!(message, Message::HaveAll | Message::HaveNone);
        if fast_only && !peer.is_fast() {
            return Err("have all and have none need the fast extension");
        }
        let listens = shared.config.availability == Availability::Announced;
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
        shared: &mut SessionContext,
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
    pub(crate) fn set_pieces(&mut self, shared: &mut SessionContext, conn: ConnId, pieces: Pieces) {
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
        if shared.config.availability != Availability::Reported {
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
    pub(super) fn distrust(&mut self, shared: &mut SessionContext, conn: ConnId) {
        self.cancel_all(shared, conn);
        self.set_pieces(shared, conn, Pieces::Unknown);
    }

    pub(super) fn gained(&mut self, shared: &mut SessionContext, conn: ConnId, piece: PieceIndex) {
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

    /// The peer has a piece no longer (BEP 54).
    pub(crate) fn lost(&mut self, shared: &mut SessionContext, conn: ConnId, piece: u32) {
        let Some(piece) = self.geometry.piece(piece) else { return };
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        match &mut peer.pieces {
            Pieces::Unknown => return,
            Pieces::All => {
                let mut field = Bitfield::full(self.geometry.pieces());
                field.clear(piece);
                self.set_pieces(shared, conn, Pieces::Some(field));
                return;
            }
            Pieces::Some(field) => {
                if !field.clear(piece) {
                    return;
                }
            }
        }
        if self.missing.has(piece) {
            peer.useful -= 1;
            self.update_interest(shared, conn);
        }
        self.picker.lost(piece);
    }

    /// Interested if and only if the peer has a wanted piece that we lack (BEP 3), also while choked.
    pub(crate) fn update_interest(&mut self, shared: &mut SessionContext, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let interested = match peer.pieces {
            Pieces::Unknown => false,
            Pieces::All => self.missing.count() > 0,
            Pieces::Some(_) => peer.useful > 0,
        };
        if peer.is_established() && interested != peer.am_interested {
            peer.am_interested = interested;
            let message = if interested { Message::Interested } else { Message::NotInterested };
            shared.out.push_back(SwarmOutput::Send { conn, message });
        }
    }

    /// A wanted piece is here now, or no longer wanted.
    pub(super) fn no_longer_missing(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
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

    /// Asks the world to connect to a peer.
    pub(crate) fn dial(&mut self, shared: &mut SessionContext, remote: Endpoint) {
        self.known.entry(remote).dialling = true;
        shared.dialling += 1;
        shared.out.push_back(SwarmOutput::Dial { torrent: self.id, remote });
    }

    /// A dial has come to its end, one way or the other.
    pub(crate) fn dial_is_over(&mut self, shared: &mut SessionContext, remote: Endpoint) {
        let known = self.known.get_mut(remote);
        let was = known.is_some_and(|known| std::mem::replace(&mut known.dialling, false));
        shared.dialling -= usize::from(was);
    }

    /// Nobody waits for the dials that are under way.
    pub(crate) fn forget_dials(&mut self, shared: &mut SessionContext) {
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
    pub(crate) fn dial_failed(&mut self, shared: &mut SessionContext, remote: Endpoint) {
        self.dial_is_over(shared, remote);
        self.known.entry(remote);
        self.unreachable(remote);
    }

    /// The connection is gone: what was asked of it is open again.
    pub(crate) fn disconnected(&mut self, shared: &mut SessionContext, now: Time, conn: ConnId) {
        self.take_back(shared, conn);
        let Some(peer) = self.peers.remove(&conn) else { return };
        shared.connected -= 1;
        if let Some(destination) = &peer.destination {
            self.end_offers(shared, now, peer.remote, destination);
        }
        if shared.config.availability != Availability::Reported {
            uncount(&mut self.picker, &peer.pieces);
        }
        let serving: u64 = peer.serving.iter().map(|block| u64::from(block.len)).sum();
        self.giving.on_its_way = self.giving.on_its_way.saturating_sub(serving);
        if let Some(known) = self.known.get_mut(peer.remote)
            && known.conn == Some(conn)
        {
            known.conn = None;
        }
        self.unreachable(peer.remote);
        shared.notify(DriverEvent::Gone { torrent: self.id, conn, peer: Box::new(peer) });
        self.fill(shared, now);
        self.may_give_again(shared, now);
    }
}

pub(super) fn uncount(picker: &mut crate::swarm::picker::Picker, pieces: &Pieces) {
    match pieces {
        Pieces::Unknown => {}
        Pieces::All => picker.seed_left(),
        Pieces::Some(field) => field.ones().for_each(|piece| picker.lost(piece)),
    }
}
