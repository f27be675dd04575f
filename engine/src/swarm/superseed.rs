//! What a seed that offers pieces one by one keeps of the copies in its swarm, and of each peer.

use crate::config::PieceOrder;
use crate::swarm::picker::Picker;
use crate::swarm::upload_scheduler::Ticket;
use dunlin_base::{Bitfield, PieceIndex, Rng, Time};
use std::collections::BTreeMap;

/// What a seed keeps of the copies in its swarm.
#[derive(Debug)]
pub(crate) struct Offers {
    /// Availability is how many peers have a piece or are offered it; all of ours may be offered.
    pub(super) copies: Picker,
    /// Copies that are counted, over all connections.
    pub(super) counted: u64,
    /// Connections whose copies are counted.
    pub(super) conns: u64,
    /// Pieces of which there is no copy but ours.
    pub(super) only_ours: u32,
    /// What was offered, over what was needed: the torrent with the least has its turn.
    pub(crate) share: u128,
}

/// What a seed keeps of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// Pieces that it has or is offered.
    pub(super) counted: Bitfield,
    /// Offers on their way.
    pub(super) open: BTreeMap<PieceIndex, Offer>,
    /// Pieces that it was offered and did not take: who shares nothing does not say what it has, so
    /// everything else comes first.
    pub(super) declined: Bitfield,
    /// Everything is counted: nothing is left to offer.
    pub(super) exhausted: bool,
}

/// A piece on offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// Bytes that have not left yet.
    pub(super) left: u32,
    /// Whether it was asked for.
    pub(super) taken: bool,
    /// Whether it was not asked for in time.
    pub(super) old: bool,
    /// What keeps other offers back.
    pub(super) ticket: Ticket,
    /// Until when something has to happen.
    pub(super) until: Time,
}

impl Offers {
    /// The offers of a torrent that has `have` and wants nothing.
    pub(super) fn new(rng: &mut Rng, have: &Bitfield) -> Offers {
        let mut copies = Picker::new(PieceOrder::Rarest, have.len());
        // Ourselves: without a seed, what nobody has would never be picked.
        copies.add_seed();
        copies.open_all(have.ones(), rng);
        Offers { copies, counted: 0, conns: 0, only_ours: have.count(), share: 0 }
    }

    /// There is one copy more.
    pub(super) fn add_copy(&mut self, piece: PieceIndex) {
        self.only_ours -= u32::from(self.copies.availability(piece) == 1);
        self.copies.inc_availability(piece);
        self.counted += 1;
    }

    /// There is one copy less.
    pub(super) fn remove_copy(&mut self, piece: PieceIndex) {
        self.copies.dec_availability(piece);
        self.only_ours += u32::from(self.copies.availability(piece) == 1);
        self.counted -= 1;
    }

    /// Pieces that all peers together still lack.
    pub(super) fn need(&self) -> u64 {
        (self.conns * u64::from(self.copies.open_pieces())).saturating_sub(self.counted)
    }
}
