//! Which connection makes room when all are taken. They are shared by source ([`source_of`]). One
//! that moved no payload for [`IDLE`] goes first, of a source that holds more places than the
//! newcomer's would before others. Only then a source that holds more gives up one that moves
//! something.

use crate::swarm::address::source_of;
use crate::swarm::peer::Peer;
use crate::swarm::torrent::Torrent;
use dunlin_base::{ConnId, Time};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// A connection that moved no payload for so long may make room for any newcomer.
const IDLE: Duration = Duration::from_secs(30);

/// Incoming connections of a source.
pub(super) fn incoming_of(torrent: &Torrent, source: Option<IpAddr>) -> usize {
    let incoming = torrent.connections.peers.values().filter(|peer| peer.incoming);
    incoming.filter(|peer| source_of(peer.remote) == source).count()
}

/// The connection of this source that goes when it has as many as it may.
pub(super) fn own_victim(torrent: &Torrent, now: Time, source: Option<IpAddr>) -> Option<ConnId> {
    let own = torrent.connections.peers.iter().filter(|(_, peer)| {
        peer.incoming && source_of(peer.remote) == source && idle(peer, now) >= IDLE
    });
    own.max_by_key(|(conn, peer)| (idle(peer, now), **conn)).map(|(conn, _)| *conn)
}

/// The connection that makes room for a newcomer of `source`; of incoming ones alone where those
/// have taken all that they may.
pub(super) fn victim(
    torrent: &Torrent,
    now: Time,
    source: Option<IpAddr>,
    incoming_only: bool,
) -> Option<ConnId> {
    let mut crowds: BTreeMap<Option<IpAddr>, usize> = BTreeMap::new();
    for peer in torrent.connections.peers.values() {
        *crowds.entry(source_of(peer.remote)).or_default() += 1;
    }
    let own = crowds.get(&source).copied().unwrap_or(0);
    let candidates = torrent.connections.peers.iter().filter_map(|(conn, peer)| {
        let crowd = crowds.get(&source_of(peer.remote)).copied().unwrap_or(0);
        // More than the newcomer's source would have with this one.
        let crowd = if crowd > own + 1 { crowd } else { 0 };
        let idle = idle(peer, now);
        // Whom we dialled is nobody's crowd.
        let goes = idle >= IDLE || crowd > 0 && peer.incoming;
        let may = goes && (peer.incoming || !incoming_only);
        may.then_some((idle >= IDLE, crowd, idle, *conn))
    });
    candidates.max().map(|(.., conn)| conn)
}

/// The connection that makes room for a newcomer of another torrent: one that moves nothing.
pub(super) fn idle_victim(torrent: &Torrent, now: Time) -> Option<ConnId> {
    let idle_ones = torrent.connections.peers.iter().filter(|(_, peer)| idle(peer, now) >= IDLE);
    idle_ones.max_by_key(|(conn, peer)| (idle(peer, now), **conn)).map(|(conn, _)| *conn)
}

/// For how long no payload has moved.
fn idle(peer: &Peer, now: Time) -> Duration {
    now.since(peer.moved.unwrap_or(peer.since))
}
