//! What is offered to the peer whose turn it is: a seed of several torrents divides what it gives
//! by what the swarm of each still needs.

use super::Session;
use crate::swarm::torrent::Torrent;
use crate::wake::Reason;
use dunlin_base::{Endpoint, Time};

impl Session {
    /// Offers what may be offered now.
    pub(super) fn offer(&mut self, now: Time) {
        while let Some(remote) = self.context.upload_scheduler.turn(now) {
            if self.offer_to(now, remote) {
                self.context.upload_scheduler.wait(remote);
            }
        }
        if let Some(at) = self.context.upload_scheduler.next(now) {
            self.context.timers.by(Reason::Request, at);
        }
    }

    /// Whether something was, or may yet be, offered to this destination.
    fn offer_to(&mut self, now: Time, remote: Endpoint) -> bool {
        let able = |torrent: &&mut Box<Torrent>| {
            torrent.uploads.offers_pieces() && torrent.connections.may_offer(remote).is_some()
        };
        let next = self.torrents.values_mut().filter(able);
        let next = next.min_by_key(|torrent| (torrent.uploads.offer_share(), torrent.id));
        let Some(torrent) = next else { return false };
        // A torrent with nothing more to offer leaves the turn to the others.
        torrent.connections.may_offer(remote).is_some_and(|conn| {
            let Torrent { uploads, connections, geometry, .. } = &mut **torrent;
            uploads.offer_one(connections, geometry, &mut self.context, now, conn);
            true
        })
    }
}
