//! The connections of a torrent and the peers that are known for it: who has what, who is
//! interested, and what is sent to one or to all of them. Knows nothing of started pieces, slots or
//! rates.

use crate::swarm::config::{Availability, SwarmConfig};
use crate::swarm::context::Outputs;
use crate::swarm::io::SwarmOutput;
use crate::swarm::peer::{Ask, AskState, Peer, Pieces};
use crate::swarm::peer_list::PeerList;
use crate::swarm::policy::gives_piece;
use crate::swarm::sources::SourceView;
use dunlin_base::{Bitfield, BlockRef, ConnId, Endpoint, PieceIndex, Time};
use dunlin_wire::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// The connections of a torrent, and everybody who is known for it.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) peers: BTreeMap<ConnId, Peer>,
    pub(crate) known: PeerList,
}

/// Whether the peer has yet to announce what it has, which the tracker does where availability is
/// reported, or to let us ask for it, which a cooperative peer does at once.
pub(crate) fn is_silent(config: &SwarmConfig, peer: &Peer) -> bool {
    let listens = config.availability != Availability::Reported;
    !peer.is_established()
        || listens && peer.pieces == Pieces::Unknown
        || config.choker.unchokes_all() && peer.am_interested && peer.peer_choking
}

impl Connections {
    /// Interested if and only if the peer has a wanted piece that we lack (BEP 3), also while
    /// choked.
    pub(crate) fn update_interest(&mut self, out: &mut Outputs, conn: ConnId, missing: &Bitfield) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let interested = match peer.pieces {
            Pieces::Unknown => false,
            Pieces::All => missing.count() > 0,
            Pieces::Some(_) => peer.useful > 0,
        };
        if peer.is_established() && interested != peer.am_interested {
            peer.am_interested = interested;
            let message = if interested { Message::Interested } else { Message::NotInterested };
            out.push_back(SwarmOutput::Send { conn, message });
        }
    }

    /// The same for everybody: what is missing has changed.
    pub(crate) fn update_interests(&mut self, out: &mut Outputs, missing: &Bitfield) {
        for conn in self.conns() {
            self.update_interest(out, conn, missing);
        }
    }

    /// Every connection, in order.
    pub(crate) fn conns(&self) -> Vec<ConnId> {
        self.peers.keys().copied().collect()
    }

    /// A dial has come to its end, one way or the other.
    pub(crate) fn dial_is_over(&mut self, dialling: &mut usize, remote: Endpoint) {
        let known = self.known.get_mut(remote);
        let was = known.is_some_and(|known| std::mem::replace(&mut known.dialling, false));
        *dialling -= usize::from(was);
    }

    /// Nobody waits for the dials that are under way.
    pub(crate) fn forget_dials(&mut self, dialling: &mut usize) {
        let dials = self.known.iter().filter(|(_, known)| known.dialling);
        let dials: Vec<Endpoint> = dials.map(|(remote, _)| remote).collect();
        for remote in dials {
            self.dial_is_over(dialling, remote);
        }
    }

    /// Dials that are under way.
    pub(crate) fn dials(&self) -> usize {
        self.known.iter().filter(|(_, known)| known.dialling).count()
    }

    /// Whether the peer has the piece and has not refused it since the last refresh.
    pub(crate) fn gives_piece(&self, conn: ConnId, piece: PieceIndex) -> bool {
        gives_piece(&self.peers, &self.known, conn, piece)
    }

    pub(crate) fn source(&mut self, conn: ConnId, now: Time) -> SourceView {
        let Some(peer) = self.peers.get_mut(&conn) else { return SourceView::default() };
        let (in_flight, rate) = (peer.window.in_flight() + peer.planned, peer.rate(now));
        let members = self.known.members();
        self.known.entry(peer.remote).source(members, in_flight, rate)
    }

    /// Until when a connection younger than `age` may yet announce what it has: a strict order does
    /// not begin without it.
    pub(crate) fn waits_for_answers(
        &self,
        config: &SwarmConfig,
        now: Time,
        age: Duration,
    ) -> Option<Time> {
        self.peers
            .values()
            .filter(|peer| now.since(peer.since) < age && is_silent(config, peer))
            .map(|peer| peer.since + age)
            .max()
    }

    /// Chokes a peer: with the fast extension every waiting request is rejected, after the choke.
    pub(crate) fn choke(&mut self, out: &mut Outputs, round: u64, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.am_choking = true;
        peer.slot.since_round = round;
        out.push_back(SwarmOutput::Send { conn, message: Message::Choke });
        let queue = std::mem::take(&mut peer.queue);
        if peer.is_fast() {
            for block in queue {
                let message = Message::RejectRequest(block);
                out.push_back(SwarmOutput::Send { conn, message });
            }
        }
    }

    pub(crate) fn unchoke(&mut self, out: &mut Outputs, round: u64, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.am_choking = false;
        (peer.slot.given, peer.slot.given_before, peer.slot.since) = (0, 0, None);
        peer.slot.since_round = round;
        out.push_back(SwarmOutput::Send { conn, message: Message::Unchoke });
    }

    /// A peer takes a request back. With the fast extension it still gets its one answer.
    pub(crate) fn on_cancel(&mut self, out: &mut Outputs, conn: ConnId, block: BlockRef) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(index) = peer.queue.iter().position(|queued| *queued == block) else { return };
        peer.queue.remove(index);
        if peer.is_fast() {
            let message = Message::RejectRequest(block);
            out.push_back(SwarmOutput::Send { conn, message });
        }
    }

    /// Blocks that others have asked for and not got: part of our load.
    pub(crate) fn owed(&self) -> u64 {
        self.peers.values().map(|peer| peer.owed() as u64).sum()
    }

    /// Takes one request back.
    pub(crate) fn cancel(&mut self, out: &mut Outputs, conn: ConnId, block: BlockRef) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let live = |ask: &&mut Ask| ask.block == block && ask.state != AskState::Cancelled;
        let Some(ask) = peer.asks.iter_mut().find(live) else { return };
        ask.state = AskState::Cancelled;
        peer.window.gave_up(block.len);
        let message = Message::Cancel(block);
        out.push_back(SwarmOutput::Send { conn, message });
    }

    /// Requests to a peer that were not taken back.
    pub(crate) fn asked_blocks(&self, conn: ConnId) -> Vec<BlockRef> {
        let asks = self.peers.get(&conn).into_iter().flat_map(|peer| &peer.asks);
        asks.filter(|ask| ask.state != AskState::Cancelled).map(|ask| ask.block).collect()
    }

    /// Whether any source that is alive could still give something: it is connected and chokes us.
    pub(crate) fn is_choked_by_somebody(&self) -> bool {
        self.peers
            .values()
            .any(|peer| peer.is_established() && peer.am_interested && peer.peer_choking)
    }

    /// Whether a connected peer has a missing piece, or may have one, that it has not
    /// refused. Files that come one after another may have their turn yet.
    pub(crate) fn is_offered(&self, missing: &Bitfield) -> bool {
        self.peers.values().any(|peer| {
            let rejected = self.known.get(peer.remote).map(|known| &known.rejected);
            let refused = |piece| rejected.is_some_and(|rejected| rejected.contains(&piece));
            let unknown = peer.pieces == Pieces::Unknown;
            missing.ones().any(|piece| (unknown || peer.pieces.has(piece)) && !refused(piece))
        })
    }

    /// HAVE for everything that is here, to a peer that received a bitfield without it.
    pub(crate) fn send_haves(&self, out: &mut Outputs, conn: ConnId, have: &Bitfield) {
        if self.peers.get(&conn).is_some_and(|peer| peer.is_established()) {
            for piece in have.ones() {
                let message = Message::Have { piece: piece.0 };
                out.push_back(SwarmOutput::Send { conn, message });
            }
        }
    }

    /// HAVE of these pieces to everybody who lacks them (BEP 3).
    pub(crate) fn announce(&self, out: &mut Outputs, pieces: &[PieceIndex]) {
        for (conn, peer) in self.peers.iter().filter(|(_, peer)| peer.is_established()) {
            for piece in pieces.iter().filter(|piece| !peer.pieces.has(**piece)) {
                let message = Message::Have { piece: piece.0 };
                out.push_back(SwarmOutput::Send { conn: *conn, message });
            }
        }
    }

    /// A piece is missing from now on.
    pub(crate) fn add_useful(&mut self, piece: PieceIndex) {
        for peer in self.peers.values_mut() {
            if let Pieces::Some(field) = &peer.pieces
                && field.has(piece)
            {
                peer.useful += 1;
            }
        }
    }

    /// A piece is missing no longer.
    pub(crate) fn remove_useful(
        &mut self,
        out: &mut Outputs,
        piece: PieceIndex,
        missing: &Bitfield,
    ) {
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
            self.update_interest(out, conn, missing);
        }
    }

    /// Whether there may be something to offer to this peer.
    pub(crate) fn may_offer(&self, remote: Endpoint) -> Option<ConnId> {
        let conn = self.known.get(remote)?.conn?;
        let peer = self.peers.get(&conn)?;
        let able = peer.is_established() && !peer.am_choking;
        peer.destination.as_deref().filter(|to| able && !to.exhausted).map(|_| conn)
    }

    /// Whether a peer is still able to give what was planned for it.
    pub(crate) fn keeps_plan(&self, conn: ConnId, piece: PieceIndex) -> bool {
        self.peers.get(&conn).is_some_and(|peer| peer.gives() && !peer.snubbed)
            && self.gives_piece(conn, piece)
    }
}
