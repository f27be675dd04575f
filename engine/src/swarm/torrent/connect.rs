//! Connections of a torrent: handshakes, who has what, interest (BEP 3, "peer messages"; BEP 6).

use super::{DriverEvent, SessionContext, SwarmName, Torrent};
use crate::swarm::config::{Availability, HaveRule};
use crate::swarm::context::Outputs;
use crate::swarm::io::{HangUpReason, SwarmOutput};
use crate::swarm::patience::Patience;
use crate::swarm::peer::{Peer, PeerState, Pieces};
use crate::swarm::requests::{MIN_DEADLINE, Window};
use crate::wake::Reason;
use dunlin_base::{Bitfield, ConnId, Endpoint, PieceIndex, Time};
use dunlin_wire::{Handshake, Message, Reserved};

/// A breach of the protocol: legal bytes that are illegal now.
pub(crate) type Violation = &'static str;

impl Torrent {
    /// A connection to `remote` stands; the side that dialled sends its handshake first.
    /// `incoming`: the other side did.
    pub(crate) fn connected(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        remote: Endpoint,
        incoming: bool,
    ) -> bool {
        self.connections.dial_is_over(&mut context.dialling, remote);
        let known = self.connections.known.entry(remote);
        if known.conn.is_some() {
            context.out.push_back(SwarmOutput::HangUp { conn, reason: HangUpReason::Duplicate });
            return false;
        }
        known.conn = Some(conn);
        let cap = (context.config.memory / 2).max(u64::from(self.geometry.block_length()));
        let window = Window::new(self.geometry.block_length(), cap);
        let mut peer = Peer::new(remote, now, window);
        peer.slot.since_round = self.uploads.choker.round();
        peer.incoming = incoming;
        let rules = &context.config.peers;
        peer.queue_limit = rules.queue;
        if rules.counts_idle_messages {
            peer.patience = Patience::new(now);
        }
        if let Some(patience) = rules.patience {
            peer.window = peer.window.for_stranger(patience);
        }
        context.connected += 1;
        self.connections.peers.insert(conn, peer);
        // A connection that announces nothing by then is not waited for.
        context.timers.by(Reason::Request, now + MIN_DEADLINE);
        if !context.config.choker.unchokes_all() {
            context.timers.by(Reason::Choke, now + crate::swarm::choker::ROUND);
        }
        true
    }

    /// The name that our handshake has on a connection.
    pub(crate) fn name_on(&self, conn: ConnId) -> Option<SwarmName> {
        self.names.get(usize::from(self.connections.peers.get(&conn)?.name)).copied()
    }

    /// Sends our handshake, once.
    pub(crate) fn greet(&mut self, out: &mut Outputs, conn: ConnId) {
        let Some(SwarmName { info_hash, reserved }) = self.name_on(conn) else { return };
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        if peer.state != PeerState::Connected {
            return;
        }
        peer.state = PeerState::HandshakeSent;
        let handshake = Handshake { reserved, info_hash, peer_id: self.peer_id };
        out.push_back(SwarmOutput::SendHandshake { conn, handshake });
    }

    /// The other side's handshake: the answer is ours, and what we have.
    pub(crate) fn on_handshake(
        &mut self,
        context: &mut SessionContext,
        conn: ConnId,
        handshake: &Handshake,
    ) {
        self.greet(&mut context.out, conn);
        let offers = self.uploads.offers_pieces();
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        let fast = handshake.reserved.fast() && Reserved::OURS.fast();
        peer.state = PeerState::Established { fast, announced: false };
        let silent = context.config.haves == HaveRule::Never || !context.config.shares;
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
            context.out.push_back(SwarmOutput::Send { conn, message });
        }
        self.uploads.begin_offers(&mut self.connections, context, conn, self.have.len());
        match context.config.availability {
            Availability::Announced => {}
            Availability::Reported => self.take_tracker_pieces(context, conn),
            Availability::Assumed => self.set_pieces(context, conn, Pieces::All),
        }
    }

    /// What the tracker reports of this peer (map `pieces`).
    pub(super) fn take_tracker_pieces(&mut self, context: &mut SessionContext, conn: ConnId) {
        let Some(peer) = self.connections.peers.get(&conn) else { return };
        if !peer.is_established() {
            return;
        }
        let owned = self.connections.known.get(peer.remote).and_then(|known| known.owned.clone());
        if let Some(field) = owned {
            self.set_pieces(context, conn, Pieces::Some(field));
        }
    }

    /// A message about what the peer has.
    pub(crate) fn on_pieces(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        message: &Message,
    ) -> Result<(), Violation> {
        let pieces = self.geometry.pieces();
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return Ok(()) };
        let first = !peer.set_announced(true);
        let fast_only = matches!(message, Message::HaveAll | Message::HaveNone);
        if fast_only && !peer.is_fast() {
            return Err("have all and have none need the fast extension");
        }
        let listens = context.config.availability == Availability::Announced;
        match message {
            Message::Have { piece } => {
                let piece =
                    self.geometry.piece(*piece).ok_or("have of a piece that is not there")?;
                if listens {
                    self.add_piece(context, conn, piece);
                    self.uploads.copied(
                        &mut self.connections,
                        &self.have,
                        &mut context.upload_scheduler,
                        now,
                        conn,
                        piece,
                    );
                }
            }
            Message::Bitfield(bytes) => {
                let field = Bitfield::from_peer(pieces, bytes).ok_or("bitfield of wrong size")?;
                if listens {
                    self.on_bitfield(context, now, conn, field, first);
                }
            }
            Message::HaveAll if listens && peer.pieces != Pieces::All => {
                self.set_pieces(context, conn, Pieces::All);
            }
            Message::HaveNone if listens && first => {
                self.set_pieces(context, conn, Pieces::Some(Bitfield::new(pieces)));
            }
            // After the first one it is no news.
            _ => {}
        }
        Ok(())
    }

    /// A bitfield. A later one counts as so many HAVEs: aria2 sends one where it is shorter than
    /// the HAVEs that it owes. What it does not name stays: only `lt_donthave` takes a piece back
    /// (BEP 54).
    fn on_bitfield(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        field: Bitfield,
        first: bool,
    ) {
        let Some(peer) = self.connections.peers.get(&conn) else { return };
        let news: Vec<PieceIndex> = match &peer.pieces {
            Pieces::All => return,
            Pieces::Unknown => field.ones().collect(),
            Pieces::Some(known) => field.minus(known).collect(),
        };
        if first {
            let said = if field.is_full() { Pieces::All } else { Pieces::Some(field) };
            self.set_pieces(context, conn, said);
        }
        for piece in news {
            if !first {
                self.add_piece(context, conn, piece);
            }
            self.uploads.copied(
                &mut self.connections,
                &self.have,
                &mut context.upload_scheduler,
                now,
                conn,
                piece,
            );
        }
    }

    /// Replaces what a peer has, and everything that is counted from it.
    pub(crate) fn set_pieces(
        &mut self,
        context: &mut SessionContext,
        conn: ConnId,
        pieces: Pieces,
    ) {
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        // What a banned peer announces counts for nothing.
        let liar = context.is_banned(peer.remote);
        let pieces = if liar { Pieces::Unknown } else { pieces };
        let old = std::mem::replace(&mut peer.pieces, pieces);
        peer.snubbed = peer.owes_late();
        peer.useful = match &peer.pieces {
            Pieces::Unknown | Pieces::All => 0,
            Pieces::Some(field) => {
                field.ones().filter(|piece| self.downloads.missing.has(*piece)).count() as u32
            }
        };
        // With map `pieces` availability is what the tracker reports, connected or not.
        if context.config.availability != Availability::Reported {
            uncount(&mut self.downloads.picker, &old);
            match &peer.pieces {
                Pieces::Unknown => {}
                Pieces::All => self.downloads.picker.add_seed(),
                Pieces::Some(field) => {
                    field.ones().for_each(|piece| self.downloads.picker.inc_availability(piece))
                }
            }
        }
        self.connections.update_interest(&mut context.out, conn, &self.downloads.missing);
    }

    /// Nothing is asked of this peer any more; it is still served.
    pub(super) fn distrust(&mut self, context: &mut SessionContext, conn: ConnId) {
        self.downloads.cancel_all(&mut self.connections, &self.geometry, &mut context.out, conn);
        self.set_pieces(context, conn, Pieces::Unknown);
    }

    /// The peer has one piece more. Of a banned peer nothing is noted.
    pub(super) fn add_piece(
        &mut self,
        context: &mut SessionContext,
        conn: ConnId,
        piece: PieceIndex,
    ) {
        let SessionContext { banned, out, .. } = context;
        self.downloads.add_piece(&mut self.connections, banned, out, conn, piece);
    }

    /// The peer has a piece no longer (BEP 54).
    pub(crate) fn remove_piece(&mut self, context: &mut SessionContext, conn: ConnId, piece: u32) {
        let Some(piece) = self.geometry.piece(piece) else { return };
        let Some(peer) = self.connections.peers.get_mut(&conn) else { return };
        match &mut peer.pieces {
            Pieces::Unknown => return,
            Pieces::All => {
                let mut field = Bitfield::full(self.geometry.pieces());
                field.clear(piece);
                self.set_pieces(context, conn, Pieces::Some(field));
                return;
            }
            Pieces::Some(field) => {
                if !field.clear(piece) {
                    return;
                }
            }
        }
        if self.downloads.missing.has(piece) {
            peer.useful -= 1;
            self.connections.update_interest(&mut context.out, conn, &self.downloads.missing);
        }
        self.downloads.picker.dec_availability(piece);
    }

    /// Asks the world to connect to a peer.
    pub(crate) fn dial(&mut self, context: &mut SessionContext, remote: Endpoint) {
        self.connections.known.entry(remote).dialling = true;
        context.dialling += 1;
        context.out.push_back(SwarmOutput::Dial { torrent: self.id, remote });
    }

    /// A dial failed.
    pub(crate) fn dial_failed(&mut self, context: &mut SessionContext, remote: Endpoint) {
        self.connections.dial_is_over(&mut context.dialling, remote);
        self.connections.known.entry(remote);
        self.unreachable(remote);
    }

    /// An offer: we may ask for the piece, and should soon.
    pub(super) fn on_suggest(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
        piece: u32,
    ) -> Result<(), Violation> {
        if !context.config.superseeds {
            return Ok(());
        }
        let piece = self.geometry.piece(piece).ok_or("suggestion of a piece that is not there")?;
        self.add_piece(context, conn, piece);
        self.fill_from(context, now, Some(conn));
        Ok(())
    }

    /// The connection is gone: what was asked of it is open again.
    pub(crate) fn disconnected(&mut self, context: &mut SessionContext, now: Time, conn: ConnId) {
        self.take_back(context, conn);
        let Some(peer) = self.connections.peers.remove(&conn) else { return };
        context.connected -= 1;
        if let Some(destination) = &peer.destination {
            self.uploads.end_offers(&mut context.upload_scheduler, now, peer.remote, destination);
        }
        if context.config.availability != Availability::Reported {
            uncount(&mut self.downloads.picker, &peer.pieces);
        }
        let serving: u64 = peer.serving.iter().map(|block| u64::from(block.len)).sum();
        self.uploads.giving.ends(serving);
        if let Some(known) = self.connections.known.get_mut(peer.remote)
            && known.conn == Some(conn)
        {
            known.conn = None;
        }
        self.unreachable(peer.remote);
        context.notify(DriverEvent::Gone { torrent: self.id, conn, peer: Box::new(peer) });
        self.fill(context, now);
        self.may_give_again(context, now);
    }
}

pub(super) fn uncount(picker: &mut crate::swarm::picker::Picker, pieces: &Pieces) {
    match pieces {
        Pieces::Unknown => {}
        Pieces::All => picker.remove_seed(),
        Pieces::Some(field) => field.ones().for_each(|piece| picker.dec_availability(piece)),
    }
}
