//! What is wanted of a torrent, and how much: piece by piece, changed at run time. And the moment at
//! which a torrent that was added by its name alone is known.

use super::connect::uncount;
use super::{SessionContext, Torrent};
use crate::config::PieceOrder;
use crate::swarm::io::SwarmOutput;
use crate::swarm::partials::{Partials, Stage};
use crate::swarm::peer::Pieces;
use crate::swarm::picker::Picker;
use crate::swarm::priorities::PiecePriorities;
use dunlin_base::{Bitfield, ConnId, PieceIndex, Time};
use dunlin_metainfo::Geometry;
use dunlin_wire::Message;

impl Torrent {
    /// Whether nothing more is wanted (BEP 21).
    pub(crate) fn is_upload_only(&self) -> bool {
        !self.awaits_metadata && !self.downloads()
    }

    /// Other pieces are wanted from now on, and `have` is here.
    pub(crate) fn want(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        have: &Bitfield,
        wanted: &Bitfield,
        priorities: PiecePriorities,
    ) {
        let found: Vec<PieceIndex> = have.minus(&self.have).collect();
        for piece in found {
            self.drop_partial(shared, piece);
            self.picker.close(piece);
            self.have.set(piece);
            self.no_longer_missing(shared, piece);
            self.announce(shared, now, piece);
        }
        for piece in (0..self.geometry.pieces()).map(PieceIndex) {
            let should = wanted.has(piece) && !self.have.has(piece);
            if should {
                self.is_missing(piece);
            } else if self.missing.has(piece) && !self.have.has(piece) {
                self.is_unwanted(shared, piece);
            }
        }
        self.priorities = priorities;
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            self.update_interest(shared, conn);
        }
        self.fill(shared, now);
    }

    fn is_missing(&mut self, piece: PieceIndex) {
        if !self.missing.set(piece) {
            return;
        }
        for peer in self.peers.values_mut() {
            if let Pieces::Some(field) = &peer.pieces
                && field.has(piece)
            {
                peer.useful += 1;
            }
        }
        if self.partials.get(piece).is_none() {
            self.picker.open(piece);
        }
    }

    fn is_unwanted(&mut self, shared: &mut SessionContext, piece: PieceIndex) {
        let stage = self.partials.get(piece).map(|partial| partial.stage);
        if matches!(stage, Some(Stage::Storing { .. })) {
            return;
        }
        self.drop_partial(shared, piece);
        self.picker.close(piece);
        self.no_longer_missing(shared, piece);
    }

    /// Pieces in another order from now on.
    pub(crate) fn set_order(&mut self, shared: &mut SessionContext, now: Time, order: PieceOrder) {
        if self.picker.order() == order {
            return;
        }
        let open: Vec<PieceIndex> =
            self.missing.ones().filter(|piece| self.picker.is_open(*piece)).collect();
        let mut picker = Picker::new(order, self.geometry.pieces());
        for peer in self.peers.values() {
            match &peer.pieces {
                Pieces::Unknown => {}
                Pieces::All => picker.seed_came(),
                Pieces::Some(field) => field.ones().for_each(|piece| picker.gained(piece)),
            }
        }
        picker.open_all(open.into_iter(), &mut shared.rng);
        self.picker = picker;
        self.fill(shared, now);
    }

    /// The metadata is here at last. What peers announced of their pieces before counts for nothing: the
    /// driver kept it, and passes it on now.
    pub(crate) fn set_metadata(
        &mut self,
        shared: &mut SessionContext,
        now: Time,
        geometry: Geometry,
        have: Bitfield,
        wanted: &Bitfield,
        priorities: PiecePriorities,
    ) {
        self.awaits_metadata = false;
        self.priorities = priorities;
        for peer in self.peers.values_mut() {
            let old = std::mem::replace(&mut peer.pieces, Pieces::Unknown);
            uncount(&mut self.picker, &old);
            peer.useful = 0;
            peer.set_announced(false);
        }
        let order = self.picker.order();
        self.picker = Picker::new(order, geometry.pieces());
        self.partials = Partials::default();
        self.missing = Bitfield::new(geometry.pieces());
        wanted.minus(&have).for_each(|piece| _ = self.missing.set(piece));
        self.picker.open_all(self.missing.ones(), &mut shared.rng);
        (self.geometry, self.have, self.last_gain) = (geometry, have, now);
    }

    /// HAVE for everything that is here, to a peer that received a bitfield without it.
    pub(crate) fn send_haves(&self, shared: &mut SessionContext, conn: ConnId) {
        if self.peers.get(&conn).is_some_and(|peer| peer.is_established()) {
            for piece in self.have.ones() {
                let message = Message::Have { piece: piece.0 };
                shared.out.push_back(SwarmOutput::Send { conn, message });
            }
        }
    }
}
