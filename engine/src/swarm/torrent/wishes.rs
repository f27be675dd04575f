//! What is wanted of a torrent, and how much: piece by piece, changed at run time. And the moment
//! at which a torrent that was added by its name alone is known.

use super::connect::uncount;
use super::{SessionContext, Torrent};
use crate::config::PieceOrder;
use crate::swarm::partials::{Partials, Stage};
use crate::swarm::peer::Pieces;
use crate::swarm::picker::Picker;
use crate::swarm::priorities::PiecePriorities;
use dunlin_base::{Bitfield, PieceIndex, Time};
use dunlin_metainfo::Geometry;

impl Torrent {
    /// Whether nothing more is wanted (BEP 21).
    pub(crate) fn is_upload_only(&self) -> bool {
        !self.lifecycle.awaits_metadata() && !self.downloads.wants_pieces()
    }

    /// Other pieces are wanted from now on, and `have` is here.
    pub(crate) fn want(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        have: &Bitfield,
        wanted: &Bitfield,
        priorities: PiecePriorities,
    ) {
        let found: Vec<PieceIndex> = have.minus(&self.have).collect();
        for piece in found {
            self.drop_partial(context, piece);
            self.downloads.picker.close(piece);
            self.have.set(piece);
            self.downloads.no_longer_missing(&mut self.connections, &mut context.out, piece);
            self.announce(context, now, piece);
        }
        for piece in (0..self.geometry.pieces()).map(PieceIndex) {
            let should = wanted.has(piece) && !self.have.has(piece);
            if should {
                self.downloads.is_missing(&mut self.connections, piece);
            } else if self.downloads.missing.has(piece) && !self.have.has(piece) {
                self.is_unwanted(context, piece);
            }
        }
        self.downloads.priorities = priorities;
        self.connections.update_interests(&mut context.out, &self.downloads.missing);
        self.fill(context, now);
    }

    fn is_unwanted(&mut self, context: &mut SessionContext, piece: PieceIndex) {
        let stage = self.downloads.partials.get(piece).map(|partial| partial.stage);
        if matches!(stage, Some(Stage::Storing { .. })) {
            return;
        }
        self.drop_partial(context, piece);
        self.downloads.picker.close(piece);
        self.downloads.no_longer_missing(&mut self.connections, &mut context.out, piece);
    }

    /// Pieces in another order from now on.
    pub(crate) fn set_order(&mut self, context: &mut SessionContext, now: Time, order: PieceOrder) {
        if self.downloads.picker.order() == order {
            return;
        }
        let open: Vec<PieceIndex> = self
            .downloads
            .missing
            .ones()
            .filter(|piece| self.downloads.picker.is_open(*piece))
            .collect();
        let mut picker = Picker::new(order, self.geometry.pieces());
        for peer in self.connections.peers.values() {
            match &peer.pieces {
                Pieces::Unknown => {}
                Pieces::All => picker.add_seed(),
                Pieces::Some(field) => {
                    field.ones().for_each(|piece| picker.inc_availability(piece))
                }
            }
        }
        picker.open_all(open.into_iter(), &mut context.rng);
        self.downloads.picker = picker;
        self.fill(context, now);
    }

    /// The metadata is here at last. What peers announced of their pieces before counts for
    /// nothing: the driver kept it, and passes it on now.
    pub(crate) fn set_metadata(
        &mut self,
        context: &mut SessionContext,
        now: Time,
        geometry: Geometry,
        have: Bitfield,
        wanted: &Bitfield,
        priorities: PiecePriorities,
    ) {
        self.lifecycle.set_metadata();
        self.downloads.priorities = priorities;
        for peer in self.connections.peers.values_mut() {
            let old = std::mem::replace(&mut peer.pieces, Pieces::Unknown);
            uncount(&mut self.downloads.picker, &old);
            peer.useful = 0;
            peer.set_announced(false);
        }
        let order = self.downloads.picker.order();
        self.downloads.picker = Picker::new(order, geometry.pieces());
        self.downloads.partials = Partials::default();
        self.downloads.missing = Bitfield::new(geometry.pieces());
        wanted.minus(&have).for_each(|piece| _ = self.downloads.missing.set(piece));
        self.downloads.picker.open_all(self.downloads.missing.ones(), &mut context.rng);
        (self.geometry, self.have, self.downloads.last_gain) = (geometry, have, now);
    }
}
