//! What a seed gives first, among cooperating ranks: whatever the swarm has fewest copies of. It
//! says of no piece that it has it until it offers that piece to somebody (`suggest piece`, BEP 6),
//! so that its uplink, which is what everybody waits for at first, carries nothing twice before
//! everything once. The offer is answered by ordinary requests; the peers swap the rest among
//! themselves, rarest first.
//!
//! ```text
//!   seed ── have none, unchoke, suggest 7, suggest 3 ──▶ peer
//!        ◀─ interested, request 7 … ───────────────────
//!        ── piece 7 … (all of it has left) ────────────▶
//!        ── suggest 12 ────────────────────────────────▶   the next with the fewest copies
//! ```
//!
//! Which torrent's turn it is, is the session's business.

use super::SessionContext;
use super::connections::Connections;
use super::uploads::Uploads;
use crate::swarm::io::SwarmOutput;
use crate::swarm::requests::MIN_DEADLINE;
use crate::swarm::superseed::{Destination, Offer};
use crate::swarm::timer::Timers;
use crate::swarm::upload_scheduler::UploadScheduler;
use crate::wake::Reason;
use dunlin_base::{Bitfield, ConnId, Endpoint, PieceIndex, Time};
use dunlin_metainfo::Geometry;
use dunlin_wire::Message;
use std::collections::BTreeMap;
use std::time::Duration;

/// An offer that was not taken up after so long no longer keeps others back: the piece is on its
/// way from somebody else. It may still be taken.
const PATIENCE: Duration = Duration::from_millis(50);

impl Uploads {
    /// Whether we offer what we have, instead of saying it.
    pub(crate) fn offers_pieces(&self) -> bool {
        self.offers.is_some()
    }

    /// A connection to somebody who wants what we have: it is unchoked at once, so that it can ask
    /// as soon as it is offered something.
    pub(super) fn begin_offers(
        &mut self,
        connections: &mut Connections,
        context: &mut SessionContext,
        conn: ConnId,
        pieces: u32,
    ) {
        let Some(offers) = &mut self.offers else { return };
        let Some(peer) = connections.peers.get_mut(&conn) else { return };
        if !peer.is_fast() || peer.destination.is_some() {
            return;
        }
        offers.conns += 1;
        let none = Bitfield::new(pieces);
        peer.destination = Some(Box::new(Destination {
            counted: none.clone(),
            open: BTreeMap::new(),
            declined: none,
            exhausted: false,
        }));
        context.upload_scheduler.wait(peer.remote);
        if context.config.choker.unchokes_all() && peer.am_choking {
            connections.unchoke(&mut context.out, self.choker.round(), conn);
        }
    }

    /// A peer has a piece, from whomever.
    pub(super) fn copied(
        &mut self,
        connections: &mut Connections,
        have: &Bitfield,
        scheduler: &mut UploadScheduler,
        now: Time,
        conn: ConnId,
        piece: PieceIndex,
    ) {
        let Some(offers) = &mut self.offers else { return };
        let Some(peer) = connections.peers.get_mut(&conn) else { return };
        let Some(destination) = &mut peer.destination else { return };
        if let Some(offer) = destination.open.remove(&piece) {
            scheduler.gone(now, peer.remote, offer.ticket, false);
        }
        if have.has(piece) && destination.counted.set(piece) {
            offers.add_copy(piece);
        }
    }

    /// A connection is gone: its copies are, too.
    pub(super) fn end_offers(
        &mut self,
        scheduler: &mut UploadScheduler,
        now: Time,
        remote: Endpoint,
        to: &Destination,
    ) {
        let Some(offers) = &mut self.offers else { return };
        offers.conns -= 1;
        to.counted.ones().for_each(|piece| offers.remove_copy(piece));
        for offer in to.open.values() {
            scheduler.gone(now, remote, offer.ticket, false);
        }
    }

    /// The turn of this torrent: less is earlier.
    pub(crate) fn offer_share(&self) -> u128 {
        self.offers.as_ref().map_or(0, |offers| offers.share)
    }

    /// Offers the piece with the fewest copies that this peer lacks; false if it lacks none.
    pub(crate) fn offer_one(
        &mut self,
        connections: &mut Connections,
        geometry: &Geometry,
        context: &mut SessionContext,
        now: Time,
        conn: ConnId,
    ) -> bool {
        let Some(offers) = &mut self.offers else { return false };
        let Some(peer) = connections.peers.get_mut(&conn) else { return false };
        let Some(destination) = &mut peer.destination else { return false };
        let (counted, declined) = (&destination.counted, &mut destination.declined);
        let lacks = |piece: PieceIndex| !counted.has(piece) && !declined.has(piece);
        let piece = offers.copies.pick(None, lacks).or_else(|| {
            *declined = Bitfield::new(counted.len());
            offers.copies.pick(None, |piece| !counted.has(piece))
        });
        let Some(piece) = piece else {
            destination.exhausted = true;
            return false;
        };
        let bytes = geometry.data_len(piece);
        // Shares are in units of a 2³²th of the need: whole numbers decide the same everywhere.
        let need = u128::from(offers.need().max(1)) * u128::from(geometry.piece_length().max(1));
        offers.share = offers.share.max(context.offer_clock);
        context.offer_clock = offers.share;
        offers.share += (u128::from(bytes) << 32) / need;
        destination.counted.set(piece);
        offers.add_copy(piece);
        let until = now + PATIENCE;
        let ticket = context.upload_scheduler.offered(now, peer.remote);
        let offer = Offer { left: bytes, taken: false, old: false, ticket, until };
        destination.open.insert(piece, offer);
        context.timers.by(Reason::Request, until);
        let message = Message::SuggestPiece { piece: piece.0 };
        context.out.push_back(SwarmOutput::Send { conn, message });
        true
    }

    /// Offers that nobody took up may be made again.
    pub(super) fn expire_offers(
        &mut self,
        connections: &mut Connections,
        scheduler: &mut UploadScheduler,
        timers: &mut Timers,
        now: Time,
    ) {
        let Some(offers) = &mut self.offers else { return };
        for peer in connections.peers.values_mut() {
            let Some(destination) = &mut peer.destination else { continue };
            let late =
                |(piece, offer): (&PieceIndex, &Offer)| (offer.until <= now).then_some(*piece);
            let expired: Vec<PieceIndex> = destination.open.iter().filter_map(late).collect();
            for piece in expired {
                let Some(offer) = destination.open.get_mut(&piece) else { continue };
                if !offer.taken && !offer.old {
                    (offer.old, offer.until) = (true, now + MIN_DEADLINE);
                    // While anything is scarce, who waits for its window comes back to the offer.
                    if offers.only_ours == 0 {
                        scheduler.gone(now, peer.remote, offer.ticket, false);
                    }
                    continue;
                }
                scheduler.gone(now, peer.remote, offer.ticket, false);
                if !offer.taken {
                    destination.declined.set(piece);
                }
                destination.open.remove(&piece);
                destination.exhausted = false;
                if destination.counted.clear(piece) {
                    offers.remove_copy(piece);
                }
            }
            if let Some(next) = destination.open.values().map(|offer| offer.until).min() {
                timers.by(Reason::Request, next);
            }
        }
    }

    /// Asserts that the copies are those of the connections.
    ///
    /// # Panics
    /// If they are not.
    pub(super) fn check_offers(&self, connections: &Connections, have: &Bitfield) {
        let Some(offers) = &self.offers else { return };
        offers.copies.check();
        let to = || connections.peers.values().filter_map(|peer| peer.destination.as_deref());
        assert_eq!(offers.conns, to().count() as u64);
        assert_eq!(offers.counted, to().map(|to| u64::from(to.counted.count())).sum::<u64>());
        for piece in have.ones() {
            let copies = to().filter(|to| to.counted.has(piece)).count();
            assert_eq!(offers.copies.availability(piece) as usize, copies + 1, "{piece:?}");
        }
        let ours = have.ones().filter(|piece| offers.copies.availability(*piece) == 1);
        assert_eq!(offers.only_ours as usize, ours.count());
        for destination in to() {
            assert!(destination.open.keys().all(|piece| destination.counted.has(*piece)));
        }
    }
}
