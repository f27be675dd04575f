//! Whose turn it is to offer: a seed of several torrents divides what it gives to a destination by what
//! the swarm of each still needs, and offers no more than is soon asked for.

use super::Session;
use crate::torrent::Torrent;
use dunlin_base::{Endpoint, Time};

impl Session {
    /// Offers what may be offered now.
    pub(super) fn offer(&mut self, now: Time) {
        while let Some(remote) = self.shared.offer_to.pop_first() {
            while self.offer_to(now, remote) {}
        }
    }

    /// One offer to one destination; false if there is none to make now.
    fn offer_to(&mut self, now: Time, remote: Endpoint) -> bool {
        if !self.shared.offered.get(&remote).copied().unwrap_or_default().has_room() {
            return false;
        }
        let able =
            |torrent: &&mut Torrent| torrent.offers_pieces() && torrent.may_offer(remote).is_some();
        let next = self.torrents.values_mut().filter(able);
        let next = next.min_by_key(|torrent| (torrent.offer_share(), torrent.id));
        let Some(torrent) = next else { return false };
        // A torrent with nothing more to offer leaves the turn to the others.
        torrent.may_offer(remote).is_some_and(|conn| {
            torrent.offer_one(&mut self.shared, now, conn);
            true
        })
    }
}
