//! Whom a member dials: the members that the tracker named, in its order.

use super::Member;
use crate::swarm::context::SessionContext;
use crate::swarm::torrent::Torrent;
use crate::wake::Reason;
use dunlin_base::{Endpoint, Time, TorrentId};
use dunlin_control::Swarm;
use std::time::Duration;

/// Time before a peer that could not be reached, or hung up, is dialled again.
const REDIAL: Duration = Duration::from_secs(2);
/// Connections of one torrent up to which members are dialled: enough to find any piece, few enough
/// that a HAVE to all of them stays cheap (practice of the field: 50 to 100).
const MAX_CONNECTIONS: usize = 80;

/// Dials members that are not connected, in the tracker's order.
pub(super) fn dial_members(torrent: &mut Torrent, context: &mut SessionContext, now: Time) {
    let taken = torrent
        .connections
        .known
        .iter()
        .filter(|(_, known)| known.conn.is_some() || known.dialling);
    let mut free = MAX_CONNECTIONS.saturating_sub(taken.count());
    let mut wanted: Vec<(u32, Endpoint)> = Vec::new();
    for (remote, known) in torrent.connections.known.iter() {
        if known.conn.is_some() || known.dialling || known.place == u32::MAX {
            continue;
        }
        if context.is_banned(remote) {
            continue;
        }
        if known.redial_at > now {
            context.timers.by(Reason::Dial, known.redial_at);
            continue;
        }
        wanted.push((known.place, remote));
    }
    wanted.sort_unstable();
    for (_, remote) in wanted {
        if free == 0 {
            break;
        }
        free -= 1;
        torrent.dial(context, remote);
    }
}

impl Member {
    /// Takes the tracker's answer.
    pub(super) fn refreshed(&mut self, now: Time, id: TorrentId, swarm: &Swarm) {
        let own = Endpoint::Rank(self.config.rank);
        let at = |rank| Endpoint::Rank(rank);
        let members: Vec<(Endpoint, u64)> =
            swarm.members.iter().map(|member| (at(member.rank), member.load)).collect();
        let owners: Option<Vec<_>> = swarm.owners.as_ref().map(|owners| {
            owners.iter().map(|(rank, pieces)| (at(*rank), pieces.clone())).collect()
        });
        let dials = self.rules.dials_members;
        self.session.with(now, id, |torrent, context| {
            torrent.refreshed(context, own, &members, owners.as_deref());
            if dials && torrent.downloads.wants_pieces() {
                dial_members(torrent, context, now);
            }
            torrent.fill(context, now);
        });
    }

    /// A dial failed.
    pub(super) fn dial_failed(&mut self, now: Time, id: TorrentId, remote: Endpoint) {
        self.redial_later(now, id, remote);
        self.session.with(now, id, |torrent, context| {
            torrent.dial_failed(context, remote);
            torrent.fill(context, now);
        });
    }

    /// A connection is gone.
    pub(super) fn peer_gone(&mut self, now: Time, id: TorrentId, remote: Endpoint) {
        self.redial_later(now, id, remote);
    }

    fn redial_later(&mut self, now: Time, id: TorrentId, remote: Endpoint) {
        let at = now + REDIAL;
        let torrent = self.session.torrent_mut(id);
        if let Some(known) = torrent.and_then(|torrent| torrent.connections.known.get_mut(remote)) {
            known.redial_at = at;
        }
        self.session.timers().by(Reason::Dial, at);
    }
}
