//! What is wanted of a torrent, and how much: piece by piece, changed at run time. And the moment at
//! which a torrent that was added by its name alone is known.

use super::connect::uncount;
use super::{Shared, Torrent};
use crate::config::PieceOrder;
use crate::io::{HangUpReason, Output};
use crate::swarm::partials::{Partials, Stage};
use crate::swarm::peer::{Early, Pieces};
use crate::swarm::picker::Picker;
use dunlin_base::{Bitfield, ConnId, PieceIndex, Rng, Time};
use dunlin_metainfo::Geometry;
use dunlin_wire::Message;

/// How much each piece is wanted: the higher, the sooner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    /// One a piece; empty where all are wanted alike.
    of: Vec<u8>,
    /// The levels that there are, the highest first.
    used: Vec<u8>,
}

impl Levels {
    /// The levels of every piece.
    pub(crate) fn new(of: Vec<u8>) -> Levels {
        let mut used = of.clone();
        used.sort_unstable_by(|a, b| b.cmp(a));
        used.dedup();
        if used.len() < 2 { Levels::default() } else { Levels { of, used } }
    }
}

/// The next piece to start: of the highest level at which anybody gives one.
pub(super) fn pick(
    picker: &Picker,
    abroad: Option<&super::Abroad>,
    random_first: Option<&mut Rng>,
    gives: impl Fn(PieceIndex) -> bool,
) -> Option<PieceIndex> {
    let levels = abroad.map(|abroad| &abroad.levels).filter(|levels| !levels.used.is_empty());
    let Some(levels) = levels else { return picker.pick(random_first, gives) };
    levels.used.iter().find_map(|level| {
        let here = |piece: PieceIndex| levels.of.get(piece.index()) == Some(level);
        picker.pick(None, |piece| here(piece) && gives(piece))
    })
}

impl Torrent {
    /// Whether the torrent is known by its name alone.
    pub(crate) fn is_blind(&self) -> bool {
        self.abroad.as_ref().is_some_and(|abroad| abroad.blind)
    }

    /// Whether nothing more is wanted (BEP 21).
    pub(crate) fn is_upload_only(&self) -> bool {
        !self.is_blind() && !self.downloads()
    }

    /// Other pieces are wanted from now on, and `have` is here.
    pub(crate) fn want(
        &mut self,
        shared: &mut Shared,
        now: Time,
        have: &Bitfield,
        wanted: &Bitfield,
        levels: Levels,
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
        if let Some(abroad) = &mut self.abroad {
            abroad.levels = levels;
        }
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

    fn is_unwanted(&mut self, shared: &mut Shared, piece: PieceIndex) {
        let stage = self.partials.get(piece).map(|partial| partial.stage);
        if matches!(stage, Some(Stage::Storing { .. })) {
            return;
        }
        self.drop_partial(shared, piece);
        self.picker.close(piece);
        self.no_longer_missing(shared, piece);
    }

    /// Pieces in another order from now on.
    pub(crate) fn set_order(&mut self, shared: &mut Shared, now: Time, order: PieceOrder) {
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

    /// The torrent is known at last: what peers said of their pieces counts from now on.
    pub(crate) fn reveal(
        &mut self,
        shared: &mut Shared,
        now: Time,
        geometry: Geometry,
        have: Bitfield,
        wanted: &Bitfield,
        levels: Levels,
    ) {
        let Some(abroad) = &mut self.abroad else { return };
        abroad.blind = false;
        abroad.levels = levels;
        for peer in self.peers.values_mut() {
            let old = std::mem::replace(&mut peer.pieces, Pieces::Unknown);
            uncount(&mut self.picker, &old);
            peer.useful = 0;
        }
        let order = self.picker.order();
        self.picker = Picker::new(order, geometry.pieces());
        self.partials = Partials::default();
        self.missing = Bitfield::new(geometry.pieces());
        wanted.minus(&have).for_each(|piece| _ = self.missing.set(piece));
        self.picker.open_all(self.missing.ones(), &mut shared.rng);
        (self.geometry, self.have, self.last_gain) = (geometry, have, now);
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        for conn in conns {
            self.introduce_again(shared, conn);
            self.say_haves(shared, conn);
            if let Err(what) = self.replay_early(shared, now, conn) {
                self.hang_up(shared, now, conn, HangUpReason::Violation(what));
            }
        }
        self.fill(shared, now);
    }

    /// We said that we have nothing, before we knew.
    fn say_haves(&self, shared: &mut Shared, conn: ConnId) {
        if self.peers.get(&conn).is_some_and(|peer| peer.handshaken) {
            for piece in self.have.ones() {
                let message = Message::Have { piece: piece.0 };
                shared.out.push_back(Output::Send { conn, message });
            }
        }
    }

    fn replay_early(
        &mut self,
        shared: &mut Shared,
        now: Time,
        conn: ConnId,
    ) -> Result<(), &'static str> {
        let Some(peer) = self.peers.get_mut(&conn) else { return Ok(()) };
        let early = std::mem::take(&mut peer.abroad.early);
        let haves = std::mem::take(&mut peer.abroad.early_haves);
        let first = match early {
            Early::Silent => None,
            Early::All => Some(Message::HaveAll),
            Early::None => Some(Message::HaveNone),
            Early::Bits(bits) => Some(Message::Bitfield(bits)),
        };
        peer.announced = false;
        for message in
            first.into_iter().chain(haves.into_iter().map(|piece| Message::Have { piece }))
        {
            self.on_pieces(shared, now, conn, &message)?;
        }
        Ok(())
    }
}
