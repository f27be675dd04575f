//! Who makes room when all places are taken. Places are shared by source ([`source_of`]). Whoever moved
//! no payload for [`IDLE`] goes first, of a source that holds more places than the newcomer's would
//! before others. Only then a source that holds more gives up one that moves something.

use super::Torrent;
use crate::client::internet::source_of;
use crate::swarm::peer::Peer;
use dunlin_base::{ConnId, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A connection that moved no payload for so long may make room for any newcomer.
const IDLE: Duration = Duration::from_secs(30);

impl Torrent {
    /// Incoming connections of a source.
    pub(crate) fn places_of(&self, source: Option<IpAddr>) -> usize {
        let incoming = self.peers.values().filter(|peer| peer.abroad.incoming);
        incoming.filter(|peer| source_of(peer.remote) == source).count()
    }

    /// The connection of this source that goes when it has as many as it may.
    pub(crate) fn own_spare(&self, now: Time, source: Option<IpAddr>) -> Option<ConnId> {
        let own = self.peers.iter().filter(|(_, peer)| {
            peer.abroad.incoming && source_of(peer.remote) == source && idle(peer, now) >= IDLE
        });
        own.max_by_key(|(conn, peer)| (idle(peer, now), **conn)).map(|(conn, _)| *conn)
    }

    /// The connection that makes room for a newcomer of `source`; of incoming ones alone where those
    /// have taken all that they may.
    pub(crate) fn spare(
        &self,
        now: Time,
        source: Option<IpAddr>,
        incoming_only: bool,
    ) -> Option<ConnId> {
        let mut crowds: BTreeMap<Option<IpAddr>, usize> = BTreeMap::new();
        for peer in self.peers.values() {
            *crowds.entry(source_of(peer.remote)).or_default() += 1;
        }
        let own = crowds.get(&source).copied().unwrap_or(0);
        let candidates = self.peers.iter().filter_map(|(conn, peer)| {
            let crowd = crowds.get(&source_of(peer.remote)).copied().unwrap_or(0);
            // More than the newcomer's source would have with this one.
            let crowd = if crowd > own + 1 { crowd } else { 0 };
            let idle = idle(peer, now);
            // Whom we dialled is nobody's crowd.
            let goes = idle >= IDLE || crowd > 0 && peer.abroad.incoming;
            let may = goes && (peer.abroad.incoming || !incoming_only);
            may.then_some((idle >= IDLE, crowd, idle, *conn))
        });
        candidates.max().map(|(.., conn)| conn)
    }

    /// The connection that makes room for a newcomer of another torrent: one that moves nothing.
    pub(crate) fn idle_spare(&self, now: Time) -> Option<ConnId> {
        let idle_ones = self.peers.iter().filter(|(_, peer)| idle(peer, now) >= IDLE);
        idle_ones.max_by_key(|(conn, peer)| (idle(peer, now), **conn)).map(|(conn, _)| *conn)
    }
}

/// For how long no payload has moved.
fn idle(peer: &Peer, now: Time) -> Duration {
    now.since(peer.abroad.moved.unwrap_or(peer.since))
}
